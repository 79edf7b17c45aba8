"""Pages of tasks, under /tasks/."""

from django.urls import include, path

from tasks import views, views_captures, views_history, views_sessions

urlpatterns = [
    path("", views.task_list, name="task-list"),
    path("from-session/<uuid:pk>/", views_sessions.task_from_session, name="task-from-session"),
    path("captures/<uuid:pk>/finish/", views_captures.capture_finish, name="capture-finish"),
    path("captures/<uuid:pk>/drop/", views_captures.capture_drop, name="capture-drop"),
    path("", include("tasks.curation.urls")),
    path("<slug:slug>/", views.task_detail, name="task-detail"),
    path("<slug:slug>/history/", views_history.task_history, name="task-history"),
    path("<slug:slug>/visibility/", views.task_visibility, name="task-visibility"),
    path("<slug:slug>/v<int:number>/reference.diff", views.reference_diff, name="task-reference-diff"),
    path("<slug:slug>/v<int:number>/tests/<int:position>/", views.hidden_test, name="task-hidden-test"),
]
