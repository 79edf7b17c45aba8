"""Chooses what a person labels next: spread over tasks and over the judge's answers, some of it for two people.

The order follows from ids alone, so everybody meets the same items, and nothing has to be stored to make it so. What a
judge said decides only which item comes, and never leaves this module.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from oneshot.accounts.models import Role, Team
from runs.judging.comparing import Pair
from runs.judging.models import Answer, JudgeConfig, Judgement, Label, Verdict
from runs.judging.scoring import majority

# Items are drawn from so many of the judge's newest judgements.
POOL = 1_000
# Judgements whose answers are looked at together.
LOOK = 40
# One item of so many goes to a second person.
DOUBLE = 5
PEOPLE_OF_DOUBLE = 2
# What the judge could not assess says nothing about its agreement, so fewer of these are asked.
SELDOM = 4
JUDGED = (Judgement.Status.DONE, Judgement.Status.PARTIAL)

Key = tuple[UUID, int]


@dataclass(frozen=True)
class _Judged:
    """A judgement as far as choosing needs it."""

    id: UUID
    run_id: UUID
    task_id: UUID


def teams_of(user: Any) -> QuerySet[Team]:
    """Return the teams whose runs this person may label."""
    return Team.objects.of(user, Role.CURATOR)


def judge_to_check(user: Any) -> JudgeConfig | None:
    """Return the judge whose answers people check first: a default one before others. None when nothing is judged."""
    teams = teams_of(user).values("pk")
    for judge in JudgeConfig.objects.filter(enabled=True).order_by("-is_default", "name"):
        if _judgements(judge, teams).exists():
            return judge
    return None


def next_item(user: Any, judge: JudgeConfig, known: Iterable[Pair], skipped: Collection[Key] = ()) -> Key | None:
    """Return the run and criterion that this person labels next, or None when there is nothing left for them.

    `known` is what people labelled already of what the judge answered (`comparing.pairs`).
    What waits for a second person comes first. Else it is of the task, and of the answer of the judge, that has the
    fewest labels so far.
    """
    pool = _pool(judge, user)
    if not pool:
        return None
    runs = {judged.run_id for judged in pool}
    mine: set[Key] = set(skipped)
    others: Counter[Key] = Counter()
    labels = Label.objects.filter(run__team__in=teams_of(user).values("pk")).order_by("created_at", "pk")
    for run, criterion, who, blind in labels.values_list("run", "criterion", "user", "blind"):
        if who == user.pk:
            mine.add((run, criterion))
        elif blind:
            others[run, criterion] += 1
    waiting = [key for key, people in others.items() if key[0] in runs and key not in mine and _wants(key, people)]
    if waiting:
        return waiting[0]
    return _fresh(pool, Counter(pair.judge for pair in known), mine, others)


def is_double(key: Key) -> bool:
    """Whether two people are asked about this item."""
    return _chance("double", *key) % DOUBLE == 0


def waits_for_another(key: Key, people: int) -> bool:
    """Whether somebody may still be asked about an item that so many people have labelled."""
    return people == 0 or _wants(key, people)


def _wants(key: Key, people: int) -> bool:
    return is_double(key) and people < PEOPLE_OF_DOUBLE


def _judgements(judge: JudgeConfig, teams: Any) -> QuerySet[Judgement]:
    return Judgement.objects.filter(judge=judge, status__in=JUDGED, run__team__in=teams)


def _pool(judge: JudgeConfig, user: Any) -> list[_Judged]:
    rows = _judgements(judge, teams_of(user).values("pk")).order_by("-finished_at")
    return [_Judged(*row) for row in rows.values_list("pk", "run_id", "run__task_id")[:POOL]]


def _fresh(pool: list[_Judged], of_answer: Counter[str], mine: set[Key], others: Counter[Key]) -> Key | None:
    """Return the best item that nobody has labelled, from the first judgements that have one."""
    task_of = {judged.run_id: judged.task_id for judged in pool}
    taken = {*mine, *others}
    of_task = Counter(task_of[run] for run, _ in taken if run in task_of)
    of_run = Counter(run for run, _ in taken)
    for part in _in_parts(_spread(pool, of_task, of_run)):
        found = []
        for key, answer in _answers(part).items():
            if key not in taken:
                seldom = SELDOM if answer == Answer.CANNOT_ASSESS else 1
                rank = ((of_answer[answer] + 1) * seldom, of_task[task_of[key[0]]], _chance(*key))
                found.append((rank, key))
        if found:
            return min(found)[1]
    return None


def _spread(pool: list[_Judged], of_task: Counter[UUID], of_run: Counter[UUID]) -> list[_Judged]:
    """Return the pool with one judgement of each task first, then a second one of each, and so on."""
    tasks: dict[UUID, list[_Judged]] = defaultdict(list)
    for judged in sorted(pool, key=lambda judged: (of_run[judged.run_id], _chance(judged.run_id))):
        tasks[judged.task_id].append(judged)
    order = sorted(tasks, key=lambda task: (of_task[task], _chance(task)))
    places = [(depth, place) for place, task in enumerate(order) for depth in range(len(tasks[task]))]
    return [tasks[order[place]][depth] for depth, place in sorted(places)]


def _in_parts(judgements: list[_Judged]) -> Iterator[list[_Judged]]:
    for start in range(0, len(judgements), LOOK):
        yield judgements[start : start + LOOK]


def _answers(part: list[_Judged]) -> dict[Key, str]:
    """Return what the judge said in the end about each criterion of these judgements."""
    run_of = {judged.id: judged.run_id for judged in part}
    samples: dict[Key, list[str]] = defaultdict(list)
    rows = Verdict.objects.filter(judgement__in=list(run_of), criterion__isnull=False).order_by("judgement", "key")
    for judgement, criterion, answer in rows.values_list("judgement", "criterion", "answer"):
        samples[run_of[judgement], criterion].append(answer)
    return {key: str(majority(answers).answer) for key, answers in samples.items()}


def _chance(*parts: UUID | int | str) -> int:
    """Return a number that looks like chance and is the same for everybody."""
    data = b"\0".join(part.bytes if isinstance(part, UUID) else str(part).encode() for part in parts)
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest())
