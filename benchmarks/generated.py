"""Made-up runs in any number, for measuring pages and trying statistics; a team of its own holds them all."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.utils import timezone

from benchmarks.bulk import insert_rows
from benchmarks.models import Board
from benchmarks.rollup import rebuild_versions
from oneshot.accounts.models import Team
from runs.models import AgentConfig, Outcome, Run, Status
from tasks.models import Task, TaskVersion

SLUG = "generated"
SPAN = timedelta(days=90)
MODELS = ("amber-large", "amber-small", "birch-2", "cedar-pro", "cedar-mini", "dune-coder", "elm-70b", "fir-next")
EFFORTS = ("low", "medium", "high")
# How an unsolved attempt ends, with how often of a hundred.
FAILURES = (
    (Outcome.UNRESOLVED, 82),
    (Outcome.TIMEOUT, 7),
    (Outcome.EMPTY_PATCH, 5),
    (Outcome.PATCH_FAILED, 3),
    (Outcome.BUDGET_EXHAUSTED, 2),
    (Outcome.REFUSED, 1),
)
UNGRADED_SHARE, CANCELLED_SHARE = 0.012, 0.005

COLUMNS = [
    "id", "task_version_id", "task_id", "team_id", "agent_id", "attempt", "sandbox", "isolation", "status", "outcome",
    "fault", "error", "created_at", "queued_at", "preparing_at", "running_at", "collecting_at", "grading_at",
    "finished_at", "tries", "seconds", "tokens_input", "tokens_cached", "tokens_output", "cost_usd", "diff_bytes",
    "lines_added", "lines_removed", "fail_to_pass_passed", "fail_to_pass_failed", "pass_to_pass_passed",
    "pass_to_pass_failed",
]  # fmt: skip


class AlreadyThere(Exception):
    """Generated data exists; remove it first."""


def generate(
    *, runs: int, tasks: int, agents: int, seed: int = 1, on_progress: Callable[[int], None] = lambda made: None
) -> Team:
    """Make `runs` ended runs of `agents` agents at `tasks` tasks, a board over them, and their cells.

    The same numbers and seed give the same data, but for times and ids. Raises AlreadyThere when there is some.
    """
    if Team.objects.filter(slug=SLUG).exists():
        raise AlreadyThere
    chance = random.Random(seed)  # noqa: S311
    with transaction.atomic():
        team = Team.objects.create(slug=SLUG, name="Generated data", is_demo=True)
        versions = _make_tasks(team, tasks)
        configs = [_make_agent(number) for number in range(agents)]
        board = Board.objects.create(slug=SLUG, title="Generated board", team=team)
        board.tasks.set([version.task for version in versions])
        insert_rows(Run, COLUMNS, _runs(chance, team, versions, configs, runs, on_progress))
    rebuild_versions([version.pk for version in versions])
    _renew_statistics()
    return team


def _renew_statistics() -> None:
    """Let PostgreSQL look at what was loaded: until its own time for that comes, it plans as if tables were small."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")


def remove() -> int:
    """Remove all generated data and return how many runs that were; agents that others use stay."""
    team = Team.objects.filter(slug=SLUG).first()
    if not team:
        return 0
    agents = list(AgentConfig.objects.filter(settings__has_key="generated").values_list("pk", flat=True))
    removed = 0
    for task in Task.objects.filter(team=team).iterator():
        with transaction.atomic():
            runs = Run.objects.filter(task=task)
            # A run that was only generated has no rows that hang on it, so its own table is all there is to clear.
            removed += runs._raw_delete(runs.db)
            task.delete()
    team.delete()
    AgentConfig.objects.filter(pk__in=agents, runs__isnull=True).delete()
    return removed


def _make_tasks(team: Team, number: int) -> list[TaskVersion]:
    width = max(3, len(str(number)))
    tasks = Task.objects.bulk_create(
        [
            Task(
                slug=f"{SLUG}-{place:0{width}d}",
                title=f"Generated task {place}",
                team=team,
                state=Task.State.PUBLISHED,
                tags=["generated"],
            )
            for place in range(1, number + 1)
        ]
    )
    versions = TaskVersion.objects.bulk_create(
        [
            TaskVersion(task=task, number=1, digest=f"{place:064x}", title=task.title, instructions="Nothing to do.")
            for place, task in enumerate(tasks)
        ]
    )
    for task, version in zip(tasks, versions, strict=True):
        task.current_version = version
    Task.objects.bulk_update(tasks, ["current_version"], batch_size=500)
    return versions


def _make_agent(number: int) -> AgentConfig:
    return AgentConfig.obtain(
        kind="command",
        name=f"loop-{number // (len(MODELS) * len(EFFORTS)) + 1}",
        version="1.0",
        model=MODELS[number % len(MODELS)],
        settings={"reasoning_effort": EFFORTS[number // len(MODELS) % len(EFFORTS)], "generated": True},
    )


def _runs(
    chance: random.Random,
    team: Team,
    versions: list[TaskVersion],
    agents: list[AgentConfig],
    number: int,
    on_progress: Callable[[int], None],
) -> Iterator[tuple[Any, ...]]:
    """Yield runs in the order of their making: round after round, each agent at each task."""
    difficulty = [chance.gauss(0, 1.6) for _ in versions]
    traits = [_traits(chance, place, len(agents)) for place in range(len(agents))]
    start, step = timezone.now() - SPAN, SPAN / max(number, 1)
    pairs = [(task, agent) for task in range(len(versions)) for agent in range(len(agents))]
    for made in range(number):
        if made % len(pairs) == 0:
            chance.shuffle(pairs)
        task, agent = pairs[made % len(pairs)]
        attempt = made // len(pairs) + 1
        solves = chance.random() < 1 / (1 + math.exp(difficulty[task] - traits[agent]["skill"]))
        yield _run(chance, team, versions[task], agents[agent], traits[agent], attempt, solves, start + step * made)
        if made % 10_000 == 0:
            on_progress(made)


def _traits(chance: random.Random, place: int, agents: int) -> dict[str, Any]:
    """Return what makes one agent differ from another: skill, speed, appetite, price (None is unknown), isolation."""
    return {
        "skill": chance.gauss(0, 1.2),
        "pace_s": chance.lognormvariate(5.2, 0.5),
        "tokens": chance.lognormvariate(12.4, 0.5),
        "price": None if place % 7 == 6 else Decimal(chance.choice(("0.4", "1.1", "2.5", "6"))) / 1_000_000,
        "isolation": "none" if place % 11 == 10 else "container",
    }


def _run(
    chance: random.Random,
    team: Team,
    version: TaskVersion,
    agent: AgentConfig,
    traits: dict[str, Any],
    attempt: int,
    solves: bool,
    made_at: datetime,
) -> tuple[Any, ...]:
    luck = chance.random()
    ungraded = luck < UNGRADED_SHARE
    cancelled = UNGRADED_SHARE <= luck < UNGRADED_SHARE + CANCELLED_SHARE
    graded = not (ungraded or cancelled)
    status = Status.FINISHED if graded else Status.INFRA_FAILED if ungraded else Status.CANCELLED
    outcome = (Outcome.RESOLVED if solves else _failure(chance)) if graded else ""
    work = traits["pace_s"] * chance.lognormvariate(0, 0.4) * (1 if graded else 0.3)
    at = [made_at + timedelta(seconds=offset) for offset in (0, 1, 2, 2 + work, 3 + work, 9 + work)]
    tokens_in = int(traits["tokens"] * chance.lognormvariate(0, 0.35))
    tokens_out = tokens_in // 40
    price = traits["price"]
    cost = round(price * (tokens_in + 4 * tokens_out), 6) if price is not None and graded else None
    fixed, to_fix, to_keep = (3 if solves else chance.randrange(3)), 3, 24
    return (
        _uuid7(made_at, chance), version.pk, version.task_id, team.pk, agent.pk, attempt, "docker",
        traits["isolation"], status, outcome, "infra" if ungraded else "",
        "Docker stopped answering. Start it and run this again." if ungraded else "", made_at, *at[:5],
        at[5], 3 if ungraded else 1, work + 8,
        tokens_in if graded else None, tokens_in * 8 // 10 if graded else None, tokens_out if graded else None, cost,
        chance.randrange(300, 20_000) if graded else None, chance.randrange(1, 200) if graded else None,
        chance.randrange(0, 80) if graded else None, fixed if graded else None, to_fix - fixed if graded else None,
        to_keep if graded else None, 0 if graded else None,
    )  # fmt: skip


def _failure(chance: random.Random) -> str:
    return chance.choices([name for name, _ in FAILURES], [weight for _, weight in FAILURES])[0]


def _uuid7(moment: datetime, chance: random.Random) -> UUID:
    """Return an id as it would have been made at `moment`, so that generated rows lie in an index as real ones do."""
    value = int(moment.timestamp() * 1000) << 80 | chance.getrandbits(80)
    return UUID(int=value & ~(0xF << 76) & ~(0x3 << 62) | 0x7 << 76 | 0x2 << 62)
