"""Where every page lives. Each app lists its own pages in its `urls.py`."""

from django.contrib import admin
from django.urls import include, path, re_path

from oneshot import health
from oneshot.api import door
from oneshot.pages import overview, search

urlpatterns = [
    path("", overview.overview, name="overview"),
    path("overview/now/", overview.now, name="overview-now"),
    path("overview/machine/", overview.machine, name="overview-machine"),
    path("overview/ungraded/again/", overview.run_ungraded_again, name="ungraded-again"),
    path("overview/demo/remove/", overview.remove_demo, name="demo-remove"),
    path("search/", search.search, name="search"),
    path("health/live", health.live, name="health-live"),
    path("health/ready", health.ready, name="health-ready"),
    path("admin/", admin.site.urls),
    path("api/v1/docs", door.docs, name="api-docs"),
    path("api/v1/openapi.json", door.openapi, name="api-openapi"),
    re_path(r"^api/v1/(?P<rest>.*)$", door.api, name="api"),
    path("", include("oneshot.accounts.urls")),
    path("sessions/", include("traces.urls")),
    path("tasks/", include("tasks.urls")),
    path("runs/", include("runs.urls")),
    path("", include("benchmarks.urls")),
]
