"""Pages of tasks, under /tasks/."""

from django.urls import path

from tasks import views, views_sessions

urlpatterns = [
    path("", views.task_list, name="task-list"),
    path("from-session/<uuid:pk>/", views_sessions.task_from_session, name="task-from-session"),
    path("curate/", desk.curation_queue, name="curation-queue"),
    path("<slug:slug>/", views.task_detail, name="task-detail"),
    path("<slug:slug>/curate/", desk.task_curate, name="task-curate"),
    path("<slug:slug>/curate/rail/", desk.curation_rail, name="curation-rail"),
    path("<slug:slug>/curate/preview/", desk.curation_preview, name="curation-preview"),
    path("<slug:slug>/curate/edit/", acts.curation_edit, name="curation-edit"),
    path("<slug:slug>/curate/tests/", acts.curation_tests, name="curation-tests"),
    path("<slug:slug>/curate/rubric/", acts.curation_rubric, name="curation-rubric"),
    path("<slug:slug>/curate/undo/", acts.curation_undo, name="curation-undo"),
    path("<slug:slug>/curate/claim/", acts.curation_claim, name="curation-claim"),
    path("<slug:slug>/curate/move/", acts.curation_move, name="curation-move"),
    path("<slug:slug>/curate/findings/<uuid:pk>/mend/", acts.finding_mend, name="finding-mend"),
    path("<slug:slug>/curate/findings/<uuid:pk>/waive/", acts.finding_waive, name="finding-waive"),
    path("<slug:slug>/rubric.<str:form>", acts.rubric_file, name="rubric-file"),
    path("<slug:slug>/changes/<int:number>/", desk.version_changes, name="version-changes"),
    path("<slug:slug>/visibility/", views.task_visibility, name="task-visibility"),
    path("<slug:slug>/v<int:number>/reference.diff", views.reference_diff, name="task-reference-diff"),
    path("<slug:slug>/v<int:number>/tests/<int:position>/", views.hidden_test, name="task-hidden-test"),
]
