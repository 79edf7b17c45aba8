"""The page of one run, its live part, its diff and its manifest."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from oneshot import diffs, store
from runs.models import AgentKind, Run
from runs.queries import FAULTS
from runs.views import manifest, results
from runs.views.access import is_inside, may_edit, sees_answers, sees_work, visible_run
from runs.views.phases import phases_of

# Attempts beside this one in the switcher; the rest is a link to the list.
NEIGHBOURS = 5


@require_GET
def run_detail(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Show a run: how it went so far, and all that it left."""
    run = visible_run(request, pk)
    context = _status_context(request, run)
    context |= _rest_context(request, run, context) | {"nav": "runs"}
    return render(request, "runs/run_detail.html", context)


@require_GET
def run_status(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Renew the live part: 204 while it is what the page has (`?v=`); with the end comes the rest of the page."""
    run = visible_run(request, pk)
    if request.GET.get("v") == stamp(run):
        return HttpResponse(status=204)
    context = _status_context(request, run)
    if run.is_over:
        context |= _rest_context(request, run, context)
    return render(request, "runs/_status_renewed.html", context)


def stamp(run: Run) -> str:
    """Return a name for what the live part shows of a run."""
    shown = (run.status, run.outcome, run.tries, run.retry_at, run.cancel_requested_at, run.error, run.isolation)
    return hashlib.sha256(repr(shown).encode()).hexdigest()[:12]


def _status_context(request: HttpRequest, run: Run) -> dict[str, Any]:
    inside = is_inside(request.user, run)
    answers = sees_answers(run, inside=inside)
    siblings, attempts = _siblings(request, run)
    return {
        "run": run,
        "may_edit": may_edit(request.user, run),
        "inside": inside,
        "answers": answers,
        "work": sees_work(run, answers=answers),
        "stamp": stamp(run),
        "phases": phases_of(run),
        "siblings": siblings,
        "attempts": attempts,
        "effort": run.agent.settings.get("reasoning_effort") or run.agent.settings.get("effort") or "",
        "at_fault": FAULTS.get(run.fault, ""),
        "command": manifest.command(run) if answers else "",
        "tries_left": max(0, settings.MAX_TRIES - run.detail.get("failures", 0)),
        "excluded": run.task_version.excluded_count,
        "rubric": run.task.rubrics.exists(),
    }


def _siblings(request: HttpRequest, run: Run) -> tuple[list[Run], int]:
    """Return the attempts around this one, and the number of the last attempt."""
    same = Run.objects.visible_to(request.user).filter(
        task_version=run.task_version_id, agent=run.agent_id, purpose=run.purpose
    )
    around = same.filter(attempt__gte=run.attempt - NEIGHBOURS, attempt__lte=run.attempt + NEIGHBOURS)
    last = same.order_by("-attempt").values_list("attempt", flat=True).first() or run.attempt
    return list(around.only("attempt", "status", "outcome").order_by("attempt")[: 2 * NEIGHBOURS + 1]), last


def _rest_context(request: HttpRequest, run: Run, shown: dict[str, Any]) -> dict[str, Any]:
    """Return what a run left: diff beside the reference, tests, artifacts, manifest."""
    answers = shown["answers"]
    groups = results.test_groups(run, with_lines=answers)
    return {
        **_diffs(request, run, shown),
        "groups": groups,
        "tests": sum(group.total for group in groups),
        "artifacts": [(row, results.is_text(row)) for row in run.artifacts.all()] if answers else [],
        "manifest": manifest.rows(run, answers=answers, inside=shown["inside"]),
        "said": str(run.detail.get("final_message") or "") if shown["work"] else "",
        "shares": token_shares(run),
        "trace": run.session if shown["work"] and run.session_id else None,
        "lost_exchanges": run.detail.get("exchanges_not_recorded", 0),
    }


@dataclass(frozen=True)
class Share:
    """A part of a run's tokens: its label, how many, and its place in the drawing as SVG percentages."""

    label: str
    tokens: int
    css: str
    x: str
    width: str


def token_shares(run: Run) -> list[Share]:
    """Return where the tokens of a run went; [] when that is not known."""
    if run.tokens_input is None or run.tokens_output is None:
        return []
    cached = run.tokens_cached or 0
    parts = [
        ("Cached input", "q1", cached),
        ("New input", "q2", max(0, run.tokens_input - cached)),
        ("Output", "q3", run.tokens_output),
    ]
    total, x, shares = sum(tokens for _, _, tokens in parts), 0.0, []
    for label, css, tokens in parts:
        share = tokens / total if total else 0.0
        shares.append(Share(label, tokens, css, f"{x * 100:.1f}%", f"{share * 100:.1f}%"))
        x += share
    return shares if total else []


def _diffs(request: HttpRequest, run: Run, shown: dict[str, Any]) -> dict[str, Any]:
    """Return the run's diff, and beside it the reference's where the reader may see that and did not turn it off."""
    found: dict[str, Any] = {"diff": None, "pairs": None, "lost": "", "comparable": False}
    if not shown["work"] or (not run.diff_digest and run.diff_bytes is None):
        return found
    reference_digest = run.task_version.reference_diff_digest
    comparable = bool(shown["answers"] and reference_digest and run.agent.kind != AgentKind.ORACLE and run.diff_digest)
    try:
        found["diff"] = diffs.of(run.diff_digest)
        if comparable and request.GET.get("view") != "alone":
            reference = diffs.of(reference_digest)
            found["pairs"] = diffs.side_by_side(found["diff"], reference)
            found["reference"] = reference
    except store.ContentMissing as error:
        found["lost"] = str(error)
    found["comparable"] = comparable
    return found


@require_GET
def run_diff_file(request: HttpRequest, pk: UUID, side: str) -> HttpResponse:
    """Send one file of the run's diff or of the reference (`side`), however long, as a fragment."""
    digest = _digest_of(request, visible_run(request, pk), side)
    position = request.GET.get("file", "")
    file = diffs.file_of(digest, int(position)) if position.isdecimal() and len(position) < 7 else None
    if file is None:
        raise Http404
    return render(request, "partials/_diff_body.html", {"file": file})


@require_GET
def run_diff(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Send the diff as a file that `git apply` takes."""
    run = visible_run(request, pk)
    data = results.stored_bytes(_digest_of(request, run, "run"))
    return results.attachment(data, f"{run.task.slug}-{run.attempt}.patch")


def _digest_of(request: HttpRequest, run: Run, side: str) -> str:
    answers = sees_answers(run, inside=is_inside(request.user, run))
    digest = ""
    if side == "run" and sees_work(run, answers=answers):
        digest = run.diff_digest
    elif side == "reference" and answers:
        digest = run.task_version.reference_diff_digest
    if not digest:
        raise Http404
    return digest


@require_GET
def run_manifest(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Send the manifest as JSON."""
    run = visible_run(request, pk)
    inside = is_inside(request.user, run)
    document = manifest.as_json(run, answers=sees_answers(run, inside=inside), inside=inside)
    return results.attachment(document.encode(), f"run-{run.pk}.json")
