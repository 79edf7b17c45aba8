"""Pages of curation, under /tasks/."""

from django.urls import path

from tasks.curation import acts, desk

urlpatterns = [
    path("curate/", desk.curation_queue, name="curation-queue"),
    path("<slug:slug>/curate/", desk.task_curate, name="task-curate"),
    path("<slug:slug>/curate/rail/", desk.curation_rail, name="curation-rail"),
    path("<slug:slug>/curate/preview/", desk.curation_preview, name="curation-preview"),
    path("<slug:slug>/curate/edit/", acts.curation_edit, name="curation-edit"),
    path("<slug:slug>/curate/tests/", acts.curation_tests, name="curation-tests"),
    path("<slug:slug>/curate/rubric/", acts.curation_rubric, name="curation-rubric"),
    path("<slug:slug>/curate/undo/", acts.curation_undo, name="curation-undo"),
    path("<slug:slug>/curate/claim/", acts.curation_claim, name="curation-claim"),
    path("<slug:slug>/curate/move/", acts.curation_move, name="curation-move"),
    path("<slug:slug>/curate/findings/<str:fingerprint>/mend/", acts.finding_mend, name="finding-mend"),
    path("<slug:slug>/curate/findings/<str:fingerprint>/waive/", acts.finding_waive, name="finding-waive"),
    path("<slug:slug>/rubric.<str:form>", acts.rubric_file, name="rubric-file"),
    path("<slug:slug>/changes/<int:number>/", desk.version_changes, name="version-changes"),
]
