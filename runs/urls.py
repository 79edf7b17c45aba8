"""Pages of runs, under /runs/."""

from django.urls import path

from runs.judging import views as judging
from runs.views import acting, detail, fragments, judges, labelling, listing, log, results

urlpatterns = [
    path("", listing.run_list, name="run-list"),
    path("rows/", listing.run_rows, name="run-rows"),
    path("filters/", listing.run_filters, name="run-filters"),
    path("cancel-queued/", listing.cancel_queued, name="run-cancel-queued"),
    path("pulse/", fragments.run_pulse, name="run-pulse"),
    path("of-task/<slug:slug>/", fragments.runs_of_task, name="runs-of-task"),
    path("validation/<slug:slug>/", fragments.validation_of_task, name="validation-of-task"),
    path("validation/<slug:slug>/start/", fragments.run_validate, name="run-validate"),
    path("quarantine/<slug:slug>/", acting.quarantine_test, name="test-quarantine"),
    path("suggestions/<slug:slug>/", judging.rubric_suggestions, name="rubric-suggestions"),
    path("suggestions/<slug:slug>/ask/", judging.rubric_suggest, name="rubric-suggest"),
    path("new/<slug:slug>/", fragments.run_new, name="run-new"),
    path("label/", labelling.label_next, name="label-next"),
    path("label/undo/", labelling.label_undo, name="label-undo"),
    path("label/<uuid:pk>/<int:criterion>/", labelling.label_give, name="label-give"),
    path("label/<uuid:pk>/<int:criterion>/skip/", labelling.label_skip, name="label-skip"),
    path("judges/", judges.judge_list, name="judge-list"),
    path("judges/<uuid:pk>/", judges.judge_detail, name="judge-detail"),
    path("judges/<uuid:pk>/recompute/", judges.judge_recompute, name="judge-recompute"),
    path("<uuid:pk>/", detail.run_detail, name="run-detail"),
    path("<uuid:pk>/status/", detail.run_status, name="run-status"),
    path("<uuid:pk>/cancel/", acting.run_cancel, name="run-cancel"),
    path("<uuid:pk>/again/", acting.run_again, name="run-again"),
    path("<uuid:pk>/verdicts/", judging.run_verdicts, name="run-verdicts"),
    path("<uuid:pk>/rescore/", judging.run_rescore, name="run-rescore"),
    path("<uuid:pk>/log/", log.run_log, name="run-log"),
    path("<uuid:pk>/log.txt", log.whole_log, name="run-log-whole"),
    path("<uuid:pk>/diff.patch", detail.run_diff, name="run-diff"),
    path("<uuid:pk>/diff/<str:side>/", detail.run_diff_file, name="run-diff-file"),
    path("<uuid:pk>/manifest.json", detail.run_manifest, name="run-manifest"),
    path("<uuid:pk>/tests/<str:group>/", results.run_tests, name="run-tests"),
    path("<uuid:pk>/test/<int:result>/", results.test_output, name="run-test"),
    path("<uuid:pk>/artifacts/<int:artifact>/", results.run_artifact, name="run-artifact"),
    path("<uuid:pk>/artifacts/<int:artifact>/preview/", results.artifact_preview, name="run-artifact-preview"),
]
