"""The page on which people answer a judge's questions blind: one criterion of one run at a time."""

from __future__ import annotations

import contextlib
import math
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_GET, require_POST

from oneshot import diffs, store
from oneshot.accounts.models import Role, Team
from runs.judging import labels, sampling
from runs.judging.comparing import DECIDED, Pair, pairs
from runs.judging.models import Answer, JudgeConfig, Label
from runs.models import Run, Status
from runs.views import results
from tasks.models import Criterion

SKIPPED, TAKEN_BACK = "labels_skipped", "label_taken_back"
MOST_SKIPPED = 200
KEYS = {
    Answer.MET: ("m", "ok", "t-ok"),
    Answer.NOT_MET: ("n", "no", "t-bad"),
    Answer.CANNOT_ASSESS: ("c", "unknown", "dim"),
}


@login_required
@require_GET
def label_next(request: HttpRequest) -> HttpResponse:
    """Show the next item that waits for this person, or the one that `?run=` and `?criterion=` name."""
    judge = _judge(request)
    named = request.GET.get("run") and request.GET.get("criterion")
    known = pairs(judge) if judge else []
    found: tuple[Run, Criterion] | None = None
    if named:
        found = _item(request, request.GET["run"], request.GET["criterion"])
    elif judge is not None and (key := sampling.next_item(request.user, judge, known, _skipped(request))):
        found = _item(request, str(key[0]), str(key[1]))
    context = _progress(request.user, known) | {"judge": judge, "chosen": request.GET.get("judge", ""), "nav": "runs"}
    if found is None:
        context |= {"skipped": len(_skipped(request)), "curates": sampling.teams_of(request.user).exists()}
        return render(request, "labelling/empty.html", context)
    return render(request, "labelling/label.html", context | _item_context(request, *found))


@login_required
@require_POST
def label_give(request: HttpRequest, pk: UUID, criterion: int) -> HttpResponse:
    """Keep an answer and go on."""
    run, asked = _item(request, str(pk), str(criterion))
    answer = request.POST.get("answer", "")
    if answer not in Answer.values:
        messages.error(request, "Choose met, not met or cannot assess.")
        return _onward(request, run=pk, criterion=criterion)
    labels.give(
        user=request.user,
        run=run,
        criterion=asked,
        answer=answer,
        note=request.POST.get("note", ""),
        blind=not request.POST.get("seen"),
        seconds=_seconds(request.POST.get("seconds", "")),
    )
    request.session.pop(TAKEN_BACK, None)
    return _onward(request)


@login_required
@require_POST
def label_skip(request: HttpRequest, pk: UUID, criterion: int) -> HttpResponse:
    """Leave an item to others; it does not come again in this session."""
    _item(request, str(pk), str(criterion))
    skipped = [key for key in request.session.get(SKIPPED, []) if key != [str(pk), criterion]]
    request.session[SKIPPED] = [*skipped, [str(pk), criterion]][-MOST_SKIPPED:]
    request.session.pop(TAKEN_BACK, None)
    return _onward(request)


@login_required
@require_POST
def label_undo(request: HttpRequest) -> HttpResponse:
    """Take one's last answer back, and show its item again with what had been said."""
    if request.POST.get("skipped"):
        request.session.pop(SKIPPED, None)
        return _onward(request)
    label = labels.take_back(request.user)
    if label is None:
        messages.info(request, "There is no answer of yours to take back")
        return _onward(request)
    request.session[TAKEN_BACK] = {
        "run": str(label.run_id),
        "criterion": label.criterion_id,
        "answer": label.answer,
        "note": label.note,
    }
    if not _labelled_by(request.user).filter(pk=label.run_id).exists():
        return _onward(request)
    return _onward(request, run=label.run_id, criterion=label.criterion_id)


def _onward(request: HttpRequest, **item: Any) -> HttpResponse:
    judge = request.POST.get("judge", "")
    query = {**({"judge": judge} if judge else {}), **item}
    return redirect(reverse("label-next") + (f"?{urlencode(query)}" if query else ""))


def _judge(request: HttpRequest) -> JudgeConfig | None:
    """Return the judge that `?judge=` names, else the one that people check first."""
    named = request.GET.get("judge", "")
    if not named:
        return sampling.judge_to_check(request.user)
    with contextlib.suppress(ValueError):
        return get_object_or_404(JudgeConfig, pk=UUID(named))
    raise Http404


def _labelled_by(user: Any) -> Any:
    return Run.objects.filter(team__in=Team.objects.of(user, Role.CURATOR), status=Status.FINISHED)


def _item(request: HttpRequest, run: str, criterion: str) -> tuple[Run, Criterion]:
    """Return a run that the user may label and a criterion of its task, or raise Http404."""
    if not (criterion.isascii() and criterion.isdecimal() and len(criterion) < 18):
        raise Http404
    try:
        wanted = UUID(run)
    except ValueError as error:
        raise Http404 from error
    runs = _labelled_by(request.user).select_related("task", "task_version", "team", "agent", "session")
    row = get_object_or_404(runs, pk=wanted)
    return row, get_object_or_404(Criterion, pk=int(criterion), rubric__task=row.task_id)


def _skipped(request: HttpRequest) -> list[sampling.Key]:
    return [(UUID(run), int(criterion)) for run, criterion in request.session.get(SKIPPED, [])]


def _seconds(given: str) -> float | None:
    """Return how long the page was looked at; None when the browser did not say."""
    with contextlib.suppress(ValueError):
        value = float(given)
        return value if math.isfinite(value) else None
    return None


def _progress(user: Any, known: list[Pair]) -> dict[str, Any]:
    # Counted by what people said alone: a count that went by the judge would tell what it said.
    return {
        "done": sum(pair.people in DECIDED for pair in known),
        "wanted": settings.JUDGE_LEAST_LABELS,
        "mine": Label.objects.filter(user=user).count(),
    }


def _item_context(request: HttpRequest, run: Run, criterion: Criterion) -> dict[str, Any]:
    """Return what a criterion's `sees` allows of a run, and nothing that a judge or another person said."""
    sees = set(criterion.sees) or {"diff", "tests"}
    before = request.session.get(TAKEN_BACK) or {}
    same = before.get("run") == str(run.pk) and before.get("criterion") == criterion.pk
    context: dict[str, Any] = {
        "run": run,
        "criterion": criterion,
        "pitfall": criterion.kind == Criterion.Kind.PITFALL,
        "sees": sees,
        "before": before if same else None,
        "answers": [(value, Answer(value).label, *KEYS[value]) for value in KEYS],
        "diff": None,
        "lost": "",
    }
    if "diff" in sees:
        try:
            context["diff"] = diffs.of(run.diff_digest)
        except store.ContentMissing as error:
            context["lost"] = str(error)
    if "tests" in sees:
        context["groups"] = results.test_groups(run, with_lines=True)
    if "final_message" in sees:
        context["final_message"] = str(run.detail.get("final_message") or "")
    return context
