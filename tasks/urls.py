"""Pages of tasks, under /tasks/."""

from django.urls import path

from tasks import views

urlpatterns = [
    path("", views.task_list, name="task-list"),
    path("<slug:slug>/", views.task_detail, name="task-detail"),
    path("<slug:slug>/visibility/", views.task_visibility, name="task-visibility"),
    path("<slug:slug>/v<int:number>/reference.diff", views.reference_diff, name="task-reference-diff"),
    path("<slug:slug>/v<int:number>/tests/<int:position>/", views.hidden_test, name="task-hidden-test"),
]
