"""Compares judges with people. A change of model, prompts or parameters is another judge, so it starts uncalibrated."""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations
from typing import Any

from runs.judging.agreement import Agreement, agreement
from runs.judging.models import HIDDEN_KEY, Calibration, JudgeConfig, Label, Verdict
from runs.judging.scoring import majority, test_retest

ALL = "all"


def is_calibrated(judge: JudgeConfig, scope: str = ALL) -> bool:
    """Return whether the newest comparison of this judge with people was good enough."""
    newest = judge.calibrations.filter(scope=scope).order_by("-computed_at", "-pk").first()
    return newest is not None and newest.is_enough


def calibrate(judge: JudgeConfig, scope: str = ALL, by: Any = None) -> Calibration:
    """Compare a judge's verdicts with people's blind labels of the same run and criterion, and keep the result.

    `scope` is "all", or a task's slug. Where several people labelled one item, their majority counts.
    """
    labels = Label.objects.filter(blind=True)
    verdicts = Verdict.objects.filter(judgement__judge=judge).exclude(key=HIDDEN_KEY)
    if scope != ALL:
        labels = labels.filter(run__task__slug=scope)
        verdicts = verdicts.filter(judgement__run__task__slug=scope)
    people: dict[tuple[Any, int], list[str]] = defaultdict(list)
    for run, criterion, answer in labels.order_by("pk").values_list("run", "criterion", "answer"):
        people[run, criterion].append(answer)
    samples: dict[tuple[Any, int | None], list[str]] = defaultdict(list)
    for run, criterion, answer in verdicts.order_by("pk").values_list("judgement__run", "criterion", "answer"):
        samples[run, criterion].append(answer)
    pairs = []
    for item, answers in people.items():
        said = majority(samples.get(item, [])).answer
        truth = majority(answers).answer
        if said is not None and truth is not None:
            pairs.append((str(truth), str(said)))
    found = agreement(pairs)
    return Calibration.objects.create(
        judge=judge,
        scope=scope,
        n=found.n,
        left_out=len(pairs) - found.n,
        agreement=found.observed,
        kappa=found.kappa,
        kappa_low=found.low,
        kappa_high=found.high,
        per_class=found.per_class,
        confusion=_confusion(pairs),
        test_retest=test_retest(samples.values()),
        human_kappa=between_people(people.values()).kappa,
        computed_by=by,
    )


def _confusion(pairs: list[tuple[str, str]]) -> dict[str, dict[str, int]]:
    table: dict[str, dict[str, int]] = {}
    for truth, said in pairs:
        row = table.setdefault(truth, {})
        row[said] = row.get(said, 0) + 1
    return table


def between_people(answers: Any) -> Agreement:
    """Return how people agree with each other, over every pair of labels of the same item, both ways round."""
    pairs = [pair for item in answers for a, b in combinations(item, 2) for pair in ((a, b), (b, a))]
    return agreement(pairs)
