"""Pages of tasks, under /tasks/."""

from django.urls import path

from tasks import views

urlpatterns = [
    path("", views.task_list, name="task-list"),
    path("<slug:slug>/", views.task_detail, name="task-detail"),
]
