"""Pages of judges: which there are, and how far each one agrees with people."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Count, Max
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from oneshot.accounts.models import Role, Team
from runs.judging import prompts, sampling
from runs.judging.calibration import ALL
from runs.judging.comparing import DECIDED, Pair, labelled_twice, pairs, recalibrate
from runs.judging.models import DEFAULTS, Answer, Calibration, JudgeConfig, Judgement, Label
from runs.models import Run
from tasks.models import Criterion

MOST_DIFFERENCES = 50
MOST_JUDGES = 200


@dataclass(kw_only=True)
class Listed:
    """A judge as lists show it. `calibration` is the newest comparison with people, None before the first."""

    judge: JudgeConfig
    calibration: Calibration | None
    judgements: int = 0
    last: Any = None

    @property
    def calibrated(self) -> bool:
        return self.calibration is not None and self.calibration.is_enough

    @property
    def is_outdated(self) -> bool:
        """Whether its prompts are those of another version of OneShot: the next judgement makes another judge."""
        return self.judge.prompt_version != prompts.version()


@login_required
@require_GET
def judge_list(request: HttpRequest) -> HttpResponse:
    """List the judges, those in use first; what was replaced stands below."""
    judges = list(JudgeConfig.objects.order_by("-enabled", "-is_default", "name", "-created_at")[:MOST_JUDGES])
    rows = _listed(judges)
    context = {
        "rows": [row for row in rows if row.judge.enabled],
        "replaced": [row for row in rows if not row.judge.enabled],
        "least_labels": settings.JUDGE_LEAST_LABELS,
        "least_kappa": settings.JUDGE_LEAST_KAPPA,
        "curates": sampling.teams_of(request.user).exists(),
        "nav": "runs",
    }
    return render(request, "judges/judge_list.html", context)


@login_required
@require_GET
def judge_detail(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Show how a judge agrees with people, what is missing until it counts, and where they differ."""
    judge = get_object_or_404(JudgeConfig, pk=pk)
    found = pairs(judge)
    row = _listed([judge])[0]
    context = {
        "row": row,
        "judge": judge,
        "calibration": row.calibration,
        "earlier_results": judge.calibrations.filter(scope=ALL).order_by("-computed_at", "-pk")[1:11],
        "missing": missing(row.calibration, found),
        "compared_now": sum(pair.counts for pair in found),
        "classes": _classes(row.calibration),
        "confusion": _confusion(row.calibration),
        "twice": labelled_twice(),
        "least_labels": settings.JUDGE_LEAST_LABELS,
        "least_kappa": settings.JUDGE_LEAST_KAPPA,
        "differences": _differences(request.user, found),
        "relatives": _relatives(judge),
        "parameters": sorted((DEFAULTS | judge.parameters).items()),
        "curates": sampling.teams_of(request.user).exists(),
        "may_recompute": _maintains(request.user),
        "nav": "runs",
    }
    return render(request, "judges/judge_detail.html", context)


@login_required
@require_POST
def judge_recompute(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Compare a judge with the labels that there are now."""
    if not _maintains(request.user):
        raise Http404
    judge = get_object_or_404(JudgeConfig, pk=pk)
    found = recalibrate(judge, by=request.user)
    word = "calibrated" if found.is_enough else "not calibrated"
    messages.success(request, f"Compared {found.n} answers: {judge.name} is {word}")
    return redirect("judge-detail", pk=judge.pk)


def _maintains(user: Any) -> bool:
    return Team.objects.of(user, Role.MAINTAINER).exists()


def _listed(judges: list[JudgeConfig]) -> list[Listed]:
    ids = [judge.pk for judge in judges]
    newest: dict[Any, Calibration] = {}
    for row in Calibration.objects.filter(judge__in=ids, scope=ALL).order_by("computed_at", "pk"):
        newest[row.judge_id] = row
    used = Judgement.objects.filter(judge__in=ids).order_by().values("judge")
    counts = {
        judge: (number, last)
        for judge, number, last in used.annotate(n=Count("pk"), last=Max("finished_at")).values_list(
            "judge", "n", "last"
        )
    }
    rows = []
    for judge in judges:
        number, last = counts.get(judge.pk, (0, None))
        rows.append(Listed(judge=judge, calibration=newest.get(judge.pk), judgements=number, last=last))
    return rows


def missing(calibration: Calibration | None, found: Iterable[Pair]) -> list[str]:
    """Return in sentences what keeps a judge from counting as calibrated; nothing when it counts."""
    now = sum(pair.counts for pair in found)
    compared = calibration.n if calibration else 0
    lacking = settings.JUDGE_LEAST_LABELS - now
    sentences = []
    if lacking > 0:
        sentences.append(f"{lacking} more {'label' if lacking == 1 else 'labels'} that say met or not met.")
    if calibration is None:
        sentences.append("It was never compared with people.")
    elif calibration.is_enough:
        return []
    elif calibration.kappa is None and compared:
        sentences.append("κ is not defined: people or judge always said the same. Label items of the other kind.")
    elif calibration.kappa_low is not None and calibration.kappa_low < settings.JUDGE_LEAST_KAPPA:
        sentences.append(
            f"The lower bound of κ is {calibration.kappa_low:.2f} and must be {settings.JUDGE_LEAST_KAPPA:.2f}. "
            "More labels make the interval narrower; where it is wrong again and again, another model, other "
            "parameters or clearer criteria help."
        )
    if now != compared and calibration is not None:
        sentences.append(f"Labels have changed since: {now} answers can be compared now. Compute it again.")
    return sentences


def _classes(calibration: Calibration | None) -> list[dict[str, Any]]:
    per_class = calibration.per_class if calibration else {}
    return [{"name": Answer(name).label, **per_class[name]} for name in DECIDED if name in per_class]


def _confusion(calibration: Calibration | None) -> list[tuple[str, list[tuple[int, bool]]]]:
    """Return a row for each answer of people: (its name, [(count of the judge's answer, whether they agree)])."""
    table = calibration.confusion if calibration else {}
    if not table:
        return []
    return [(truth.label, [(table.get(truth, {}).get(said, 0), truth == said) for said in Answer]) for truth in Answer]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """An item on which people and a judge differ, as the page lists it."""

    run: Run
    criterion: Criterion
    people: str
    judge: str
    labels: int


def _differences(user: Any, found: list[Pair]) -> list[Difference]:
    """Return where people and judge differ in runs of this person's teams, the newest labels first.

    What this person may still be asked to label is left out: they must not know what the judge said.
    """
    differing = [pair for pair in reversed(found) if pair.differs]
    mine = set(Label.objects.filter(user=user).values_list("run", "criterion"))
    teams = Team.objects.of(user)
    runs = {
        run.pk: run
        for run in Run.objects.filter(pk__in=[pair.run_id for pair in differing[:1000]], team__in=teams).select_related(
            "task"
        )
    }
    open_to_me = [
        pair
        for pair in differing
        if pair.run_id in runs
        and (
            (pair.run_id, pair.criterion_id) in mine
            or not sampling.waits_for_another((pair.run_id, pair.criterion_id), pair.labels)
        )
    ][:MOST_DIFFERENCES]
    criteria = Criterion.objects.in_bulk([pair.criterion_id for pair in open_to_me])
    return [
        Difference(
            run=runs[pair.run_id],
            criterion=criteria[pair.criterion_id],
            people=Answer(pair.people).label,
            judge=Answer(pair.judge).label,
            labels=pair.labels,
        )
        for pair in open_to_me
    ]


def _relatives(judge: JudgeConfig) -> list[dict[str, Any]]:
    """Return the other configurations of the same name, each with what differs from this one."""
    rows = _listed(list(JudgeConfig.objects.filter(name=judge.name).exclude(pk=judge.pk).order_by("-created_at")[:20]))
    return [{"row": row, "changes": _changes(row.judge, judge)} for row in rows]


def _changes(other: JudgeConfig, judge: JudgeConfig) -> list[str]:
    """Return in words what the other configuration has where this one has something else."""
    words = [f"model {other.model}"] if other.model != judge.model else []
    if other.base_url != judge.base_url:
        words.append("another endpoint")
    if other.prompt_version != judge.prompt_version:
        words.append(f"prompts {other.prompt_version}")
    names = sorted({*other.parameters, *judge.parameters})
    return words + [
        f"{name} {other.parameter(name)}" for name in names if other.parameter(name) != judge.parameter(name)
    ]
