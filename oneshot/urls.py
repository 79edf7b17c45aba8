"""Where every page lives. Each app lists its own pages in its `urls.py`."""

from django.contrib import admin
from django.urls import path

urlpatterns = [
    path("admin/", admin.site.urls),
]
