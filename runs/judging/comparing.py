"""Sets what people said beside what a judge said, item by item: for its page, and to know what is still to label."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Count
from django.utils import timezone

from runs.judging.calibration import calibrate, is_calibrated
from runs.judging.models import Answer, Calibration, JudgeConfig, Label, RunScore, Verdict
from runs.judging.scoring import majority

DECIDED = (Answer.MET, Answer.NOT_MET)
CHUNK = 500


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One run and criterion that people labelled and the judge answered; each side is its majority."""

    run_id: UUID
    criterion_id: int
    people: str
    judge: str
    labels: int

    @property
    def counts(self) -> bool:
        """Whether both say met or not met: only such pairs enter κ."""
        return self.people in DECIDED and self.judge in DECIDED

    @property
    def differs(self) -> bool:
        return self.people != self.judge


def pairs(judge: JudgeConfig) -> list[Pair]:
    """Return every item that people labelled blind and this judge answered, in the order of the labels."""
    blind = Label.objects.filter(blind=True)
    said: dict[tuple[UUID, int | None], list[str]] = defaultdict(list)
    # By run as well as by criterion: each alone would find what nobody has labelled.
    answers = Verdict.objects.filter(judgement__judge=judge, judgement__run__in=blind.values("run"))
    answers = answers.filter(criterion__in=blind.values("criterion")).order_by("pk")
    for run, criterion, answer in answers.values_list("judgement__run", "criterion", "answer"):
        said[run, criterion].append(answer)
    people: dict[tuple[UUID, int], list[str]] = defaultdict(list)
    for run, criterion, answer in blind.order_by("created_at", "pk").values_list("run", "criterion", "answer"):
        people[run, criterion].append(answer)
    return [
        Pair(
            run_id=run,
            criterion_id=criterion,
            people=str(majority(labels).answer),
            judge=str(majority(said[run, criterion]).answer),
            labels=len(labels),
        )
        for (run, criterion), labels in people.items()
        if (run, criterion) in said
    ]


def labelled_twice() -> int:
    """Return how many items more than one person labelled blind."""
    items = Label.objects.filter(blind=True).order_by().values("run", "criterion")
    return items.annotate(people=Count("pk")).filter(people__gt=1).count()


def recalibrate(judge: JudgeConfig, by: Any = None) -> Calibration:
    """Compare a judge with people anew, and when that changes whether it counts, renew the mark of its scores."""
    before = is_calibrated(judge)
    found = calibrate(judge, by=by)
    if found.is_enough != before:
        renew_marks(judge)
    return found


def renew_marks(judge: JudgeConfig) -> int:
    """Bring the mark of every score that this judge had a part in up to date; return how many changed.

    Boards follow: their roll-up looks for scores that are newer than itself (benchmarks/rollup.py).
    """
    calibrated: dict[str, bool] = {}

    def holds(judges: Iterable[dict[str, Any]]) -> bool:
        ids = [given["id"] for given in judges]
        for row in JudgeConfig.objects.filter(pk__in=[pk for pk in ids if pk not in calibrated]):
            calibrated[str(row.pk)] = is_calibrated(row)
        return bool(ids) and all(calibrated.get(pk, False) for pk in ids)

    rows = RunScore.objects.filter(run__judgements__judge=judge).distinct()
    changed: dict[bool, list[int]] = {True: [], False: []}
    for pk, judges, was in rows.values_list("pk", "judges", "calibrated"):
        now = holds(judges)
        if now != was:
            changed[now].append(pk)
    for now, found in changed.items():
        for start in range(0, len(found), CHUNK):
            part = RunScore.objects.filter(pk__in=found[start : start + CHUNK])
            part.update(calibrated=now, updated_at=timezone.now())
    return sum(map(len, changed.values()))
