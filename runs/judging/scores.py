"""From the verdicts of judgements to the score of a run."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Count, Sum

from runs import events
from runs.judging import reports
from runs.judging.calibration import is_calibrated
from runs.judging.models import HIDDEN_KEY, Answer, Judgement, RunScore, Verdict
from runs.judging.scoring import Majority, Weighed, is_settled, majority, score
from tasks.models import Criterion


@dataclass(kw_only=True)
class Judged:
    """One criterion with what a judge's samples came to, and the samples themselves."""

    criterion: Criterion
    result: Majority
    samples: list[Verdict] = field(default_factory=list)

    @property
    def answer(self) -> str | None:
        return self.result.answer

    @property
    def label(self) -> str:
        return Answer(self.result.answer).label if self.result.answer else "Unknown"

    @property
    def dissent(self) -> list[Verdict]:
        """Return the samples that say something else than the majority."""
        return [sample for sample in self.samples if sample.answer != self.result.answer]

    @property
    def speaker(self) -> Verdict | None:
        """Return the sample whose evidence and reasons are shown first: the first one of the majority."""
        agreeing = [sample for sample in self.samples if sample.answer == self.result.answer]
        return next(iter(agreeing or self.samples), None)


def judged(judgement: Judgement) -> list[Judged]:
    """Return each criterion of the rubric with its answer, in the rubric's order; unanswered ones are unknown."""
    samples: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in judgement.verdicts.exclude(key=HIDDEN_KEY).order_by("key", "sample"):
        samples[verdict.key].append(verdict)
    wanted = int(judgement.judge.parameter("samples"))
    return [
        Judged(
            criterion=criterion,
            result=_result([verdict.answer for verdict in samples[criterion.key]], wanted),
            samples=samples[criterion.key],
        )
        for criterion in judgement.rubric.criteria.order_by("position")
    ]


def _result(answers: list[str], wanted: int) -> Majority:
    """Return the majority, unknown as long as samples that are missing could still change it."""
    found = majority(answers)
    return found if is_settled(answers, wanted) else replace(found, answer=None, tied=False)


def outcome_of(judgement: Judgement) -> tuple[dict[str, Any], int]:
    """Return the columns that the verdicts so far give a judgement, and how many criteria have an answer."""
    rows = judged(judgement)
    found = score(
        Weighed(key=row.criterion.key, kind=row.criterion.kind, weight=float(row.criterion.weight), answer=row.answer)
        for row in rows
    )
    columns = ("tokens_input", "tokens_cached", "tokens_output", "cost_usd")
    sums = judgement.verdicts.aggregate(**{f"sum_{name}": Sum(name) for name in (*columns, "requests")})
    known = judgement.verdicts.aggregate(n=Count("pk"), **{f"n_{name}": Count(name) for name in columns})
    hidden = judgement.verdicts.filter(key=HIDDEN_KEY).values_list("answer", flat=True).first()
    # A sum over what is known would pass for the whole.
    return {
        "score": found.value,
        "ungated_score": found.ungated,
        "coverage": found.coverage,
        "score_note": found.note[:300],
        "addressed": {Answer.MET: True, Answer.NOT_MET: False}.get(Answer(hidden)) if hidden else None,
        "requests": sums["sum_requests"] or 0,
        **{name: sums[f"sum_{name}"] if known["n"] and known[f"n_{name}"] == known["n"] else None for name in columns},
    }, sum(row.answer is not None for row in rows)


def settle(run_id: UUID) -> RunScore | None:
    """Recompute the score of a run from its judgements, and its two evaluation files; None while none has ended.

    The newest rubric that was judged counts; of its judges the default ones, or without any the one that ended last.
    """
    over = (
        Judgement.objects.filter(run=run_id)
        .exclude(status__in=(Judgement.Status.QUEUED, Judgement.Status.RUNNING))
        .select_related("rubric", "judge")
        .order_by("-rubric__number", "-finished_at")
    )
    found = list(over)
    if not found:
        return None
    newest = [row for row in found if row.rubric_id == found[0].rubric_id]
    counted = [row for row in newest if row.judge.enabled and row.judge.is_default] or newest[:1]
    known = [row.score for row in counted if row.score is not None]
    coverages = [row.coverage for row in counted if row.coverage is not None]
    notes = [row.score_note or row.error for row in counted if row.score is None]
    addressed = [row.addressed for row in counted]
    # A mean over those judges that happened to answer would compare unlike with unlike.
    whole = len(known) == len(counted)
    row, _ = RunScore.objects.update_or_create(
        run_id=run_id,
        defaults={
            "rubric": found[0].rubric,
            "score": fmean(known) if whole else None,
            "coverage": min(coverages) if len(coverages) == len(counted) else None,
            "spread": max(known) - min(known) if whole and len(known) > 1 else None,
            "judges": [{"id": str(row.judge_id), "name": row.judge.name, "score": row.score} for row in counted],
            "calibrated": all(is_calibrated(row.judge) for row in counted),
            "addressed": True if True in addressed else None if None in addressed else False,
            "note": (notes[0] if notes else counted[0].score_note)[:300],
        },
    )
    reports.write(row, counted)
    transaction.on_commit(lambda: events.announce_judged(run_id))
    return row


def rubric_score(run: Any) -> float | None:
    """Return the rubric score of a run for lists and JSON; None is unknown or not judged."""
    row = RunScore.objects.filter(run=run).only("score").first()
    return row.score if row else None
