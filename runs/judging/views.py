"""What pages show of judges: verdicts on a run's page, judging again, and suggestions for a rubric at the desk."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from oneshot import store
from runs.judging import actions, line, suggesting
from runs.judging.calibration import ALL, is_calibrated
from runs.judging.models import Calibration, JudgeConfig, Judgement, RunScore, Suggestion
from runs.judging.scores import Judged, judged
from runs.models import Run
from runs.views.access import back_to, editable_run, is_inside, may_edit, sees_answers, sees_work, visible_run
from tasks.curation.desk import editable_task
from tasks.curation.editing import look_at
from tasks.models import Task
from tasks.patches import touched_paths
from tasks.rubrics.lint import Remark, lint

MARKS = {
    "met": ("ok", "ok", "Met"),
    "not_met": ("no", "bad", "Not met"),
    "cannot_assess": ("unknown", "dim", "Cannot assess"),
}
# The same for a pitfall, where met is bad.
PITFALL_MARKS = MARKS | {"met": ("no", "bad", "Happened"), "not_met": ("ok", "ok", "Avoided")}
MOST_EARLIER = 10
FOLLOW_S = 20
# Older suggestions were about another rubric than the one that stands there now.
SUGGESTIONS_FRESH_H = 24


@dataclass(kw_only=True)
class Row:
    """One criterion as the page shows it."""

    judged: Judged
    icon: str
    tone: str
    words: str
    share: float | None

    @property
    def samples(self) -> str:
        result, dissent = self.judged.result, len(self.judged.dissent)
        if not result.samples:
            return ""
        same = result.samples - dissent
        words = f"{same} of {result.samples} sample{'s' if result.samples > 1 else ''}"
        return f"{words}, tied" if result.tied else words


@dataclass(kw_only=True)
class Block:
    """One judge's judgement as the page shows it."""

    judgement: Judgement
    rows: list[Row] = field(default_factory=list)
    calibrated: bool = False
    calibration: Calibration | None = None

    @property
    def answered(self) -> int:
        return sum(row.judged.answer is not None for row in self.rows)


@require_GET
def run_verdicts(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Show what judges said about a run, as a fragment; 204 while it is what the page has (`?v=`)."""
    run = visible_run(request, pk)
    # Criteria say what to look for, so they are shown to those who may see the other answers.
    answers = sees_answers(run, inside=is_inside(request.user, run))
    found = list(
        run.judgements.select_related("rubric", "judge").order_by(
            "-rubric__number", "-judge__is_default", "judge__name"
        )
    )
    stamp = _stamp(run, found)
    if request.GET.get("v") == stamp:
        return HttpResponse(status=204)
    newest = [row for row in found if row.rubric_id == found[0].rubric_id] if found else []
    score = RunScore.objects.filter(run=run).select_related("rubric").first()
    context = {
        "run": run,
        "answers": answers and sees_work(run, answers=answers),
        "score": score,
        "blocks": [_block(row) for row in newest] if answers else [],
        "earlier": [row for row in found if row not in newest][:MOST_EARLIER],
        "live": any(not row.is_over for row in found) or _may_follow(run),
        "stamp": stamp,
        "may_edit": may_edit(request.user, run),
        "judges": _judges(run, request),
        "rubric": actions.rubric_of(run.task),
    }
    return render(request, "runs/_verdicts.html", context)


def _judges(run: Run, request: HttpRequest) -> list[JudgeConfig]:
    if not run.is_graded or not may_edit(request.user, run):
        return []
    return list(JudgeConfig.objects.filter(enabled=True).order_by("-is_default", "name"))


def _may_follow(run: Run) -> bool:
    """Whether a judgement may still come by itself: the run goes on, or has ended a moment ago."""
    if not run.is_over:
        return True
    just = run.finished_at is not None and run.finished_at > timezone.now() - timedelta(seconds=FOLLOW_S)
    return just and JudgeConfig.objects.filter(enabled=True, is_default=True).exists()


def _stamp(run: Run, found: list[Judgement]) -> str:
    shown = [(row.pk, row.status, row.finished_at, row.tries, row.verdicts.count()) for row in found[:20]]
    return hashlib.sha256(repr((run.status, _may_follow(run), shown)).encode()).hexdigest()[:12]


def _block(judgement: Judgement) -> Block:
    rows = judged(judgement)
    whole = sum(abs(float(row.criterion.weight)) for row in rows if row.criterion.kind != "pitfall")
    block = Block(judgement=judgement, calibrated=is_calibrated(judgement.judge))
    block.calibration = judgement.judge.calibrations.filter(scope=ALL).order_by("-computed_at", "-pk").first()
    for row in rows:
        pitfall = row.criterion.kind == "pitfall"
        waiting = ("unknown", "dim", "Unknown") if judgement.is_over else ("judging", "dim", "Waiting")
        icon, tone, words = (PITFALL_MARKS if pitfall else MARKS).get(row.answer or "", waiting)
        share = None if pitfall or not whole else float(row.criterion.weight) / whole
        block.rows.append(Row(judged=row, icon=icon, tone=tone, words=words, share=share))
    return block


@require_POST
def run_rescore(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Have a run judged by its task's newest rubric and the judge that the form names, or the default ones."""
    run = editable_run(request, pk)
    name = request.POST.get("judge", "")
    try:
        if actions.rubric_of(run.task) is None:
            raise actions.CannotJudge("Its task has no rubric.")
        judges = actions.judges_named([name] if name else [])
        rows = actions.start(actions.plan([run], judges))
        if not rows:
            raise actions.CannotJudge("It was not graded: there is nothing to judge.")
    except actions.CannotJudge as error:
        messages.error(request, str(error))
        return back_to(request, run.get_absolute_url())
    if all(row.status == Judgement.Status.DONE for row in rows):
        messages.info(request, "It is judged by this rubric and judge already")
    else:
        messages.success(request, "Judging queued")
    return back_to(request, f"{run.get_absolute_url()}#rubric")


@dataclass(kw_only=True)
class Suggested:
    """One suggested criterion as the desk shows it. `taken` says that the rubric has it."""

    text: str
    kind: str
    weight: str
    sees: list[str]
    reason: str
    remarks: list[Remark]
    taken: bool


@login_required
@require_GET
def rubric_suggestions(request: HttpRequest, slug: str) -> HttpResponse:
    """Show what a judge's model suggests for the rubric of a task, or how far it is."""
    return _suggestions(request, editable_task(request, slug))


@login_required
@require_POST
def rubric_suggest(request: HttpRequest, slug: str) -> HttpResponse:
    """Ask a judge's model for criteria; nothing is written into the rubric."""
    task, problem = editable_task(request, slug), ""
    try:
        suggesting.ask_for(task, by=request.user)
    except actions.CannotJudge as error:
        problem = str(error)
    if request.headers.get("HX-Request"):
        return _suggestions(request, task, problem)
    if problem:
        messages.error(request, problem)
    return redirect("task-curate", slug=slug)


def _suggestions(request: HttpRequest, task: Task, problem: str = "") -> HttpResponse:
    judge = suggesting.judge_for_suggestions()
    since = timezone.now() - timedelta(hours=SUGGESTIONS_FRESH_H)
    row = task.suggestions.filter(created_at__gte=since).select_related("judge", "by").order_by("-created_at").first()
    going = row is not None and not row.is_over
    context = {
        "task": task,
        "judge": judge,
        "row": row,
        "going": going,
        "problem": problem,
        "unserved": going and not line.has_workers(),
        "suggested": _suggested(task, row) if row is not None else [],
    }
    return render(request, "runs/_suggestions.html", context)


def _suggested(task: Task, row: Suggestion) -> list[Suggested]:
    """Return the suggestions of a row with what lint says of each beside the rubric that the draft has."""
    try:
        content = look_at(task).content
        digest = content["reference_diff"]
        paths = touched_paths(store.get(digest)) if digest else []
    except (ValueError, store.ContentMissing) as error:
        raise Http404 from error
    have = {criterion["text"] for criterion in content["criteria"]}
    remarks: dict[str, list[Remark]] = {}
    named = [item | {"key": f"suggested {number}"} for number, item in enumerate(row.items)]
    for remark in lint([*content["criteria"], *named], paths):
        remarks.setdefault(remark.key, []).append(remark)
    return [
        Suggested(**item, remarks=remarks.get(f"suggested {number}", []), taken=item["text"] in have)
        for number, item in enumerate(row.items)
    ]
