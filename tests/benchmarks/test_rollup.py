"""Cells and tallies hold what the runs say, whatever happened to the runs and in which order it was heard."""

from __future__ import annotations

import math
import random
import threading
from datetime import timedelta
from decimal import Decimal
from importlib import import_module
from statistics import fmean, median

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection, connections
from django.utils import timezone

from benchmarks import rollup
from benchmarks.cells import table_of, tasks_of
from benchmarks.models import Cell, Tally
from runs.events import announce_end, announce_judged, announce_sweep
from runs.models import AgentConfig, Run, RunScore
from tasks.models import Task, TaskVersion
from tests.builders import make_agent, make_rubric, make_run, make_task, make_team, make_version

pytestmark = pytest.mark.django_db


def by_hand(version: TaskVersion, agent: AgentConfig) -> dict:
    """Count the runs of one cell in the plainest way."""
    runs = [run for run in Run.objects.all() if run.task_version_id == version.pk and run.agent_id == agent.pk]
    runs = [run for run in runs if run.purpose == "trial"]
    graded = [run for run in runs if run.status == "finished"]
    seconds = [run.seconds for run in graded if run.seconds is not None]
    tokens = [
        run.tokens_input + run.tokens_output for run in graded if None not in (run.tokens_input, run.tokens_output)
    ]
    costs = [run.cost_usd for run in graded if run.cost_usd is not None]
    scores = list(RunScore.objects.filter(run__in=graded, score__isnull=False))
    return {
        "graded": len(graded),
        "resolved": len([run for run in graded if run.outcome == "resolved"]),
        "ungraded": len([run for run in runs if run.status == "infra_failed"]),
        "not_isolated": len([run for run in graded if run.isolation == "none"]),
        "seconds_median": pytest.approx(median(seconds)) if seconds else None,
        "tokens_mean": pytest.approx(fmean(tokens)) if tokens else None,
        "tokens_known": len(tokens),
        "cost_sum_usd": sum(costs) if costs else None,
        "cost_known": len(costs),
        "judged": len([run for run in graded if RunScore.objects.filter(run=run).exists()]),
        "scored": len(scores),
        "calibrated": len([score for score in scores if score.calibrated]),
        "score_sum": pytest.approx(sum(score.score for score in scores)) if scores else None,
    }


def cell_of(version: TaskVersion, agent: AgentConfig) -> dict:
    return Cell.objects.filter(task_version=version, agent=agent).values(*rollup.FIGURES).get()


def a_random_run(chance: random.Random, version: TaskVersion, agent: AgentConfig) -> Run:
    fields: dict = chance.choice(
        [
            {"outcome": "resolved"},
            {"outcome": "unresolved"},
            {"outcome": "timeout"},
            {"status": "infra_failed"},
            {"status": "cancelled"},
            {"status": "queued"},
            {"status": "running"},
            {"outcome": "resolved", "purpose": "validation"},
        ]
    )
    if chance.random() < 0.7:
        fields |= {"tokens_input": chance.randrange(10**6), "tokens_output": chance.randrange(10**4)}
    if chance.random() < 0.7:
        fields["cost_usd"] = Decimal(chance.randrange(10**6)) / 10**6
    if chance.random() < 0.3:
        fields["seconds"] = None
    run = make_run(version=version, agent=agent, isolation=chance.choice(["none", "container"]), **fields)
    if chance.random() < 0.5:
        score(run, chance.choice([None, 0.0, 0.25, 1.0]), calibrated=chance.random() < 0.5)
    return run


def score(run: Run, value: float | None, *, calibrated: bool = False) -> RunScore:
    """Give a run a rubric score, as judges do."""
    rubric = run.task.rubrics.first() or make_rubric(run.task)
    row, _ = RunScore.objects.update_or_create(
        run=run, defaults={"rubric": rubric, "score": value, "calibrated": calibrated}
    )
    return row


@pytest.mark.parametrize("seed", range(4))
def test_after_any_sequence_of_events_cells_and_tallies_are_what_the_runs_say(seed):
    chance = random.Random(seed)
    team = make_team()
    versions = [make_task(team=team).current_version for _ in range(2)]
    agents = [make_agent(name=f"agent{number}") for number in range(2)]
    made: list[Run] = []
    for _ in range(30):
        event = chance.random()
        if event < 0.1 and made:
            made.pop(chance.randrange(len(made))).delete()
            rollup.rebuild()
            continue
        if event < 0.8 or not made:
            made.append(a_random_run(chance, chance.choice(versions), chance.choice(agents)))
            run = made[-1]
        else:
            run = chance.choice(made)  # heard of again, or late
        announce_end(run)
    for version in versions:
        for agent in agents:
            if Cell.objects.filter(task_version=version, agent=agent).exists():
                assert cell_of(version, agent) == by_hand(version, agent)
            else:
                assert not Run.objects.trials().filter(
                    task_version=version, agent=agent, status__in=("finished", "infra_failed")
                )
    assert_tallies_repeat_the_cells()


def assert_tallies_repeat_the_cells() -> None:
    tasks = tasks_of(Task.objects.all())
    table = table_of(tasks)
    seen = 0
    for column, task in enumerate(tasks):
        for line, agent in enumerate(table.agents):
            cell = Cell.objects.filter(task_version_id=task.version_id, agent_id=agent).first()
            for name in rollup.PACKED_COUNTS:
                assert table.counts[name][line, column] == (getattr(cell, name) if cell else 0)
            for name in rollup.PACKED_VALUES:
                expected = getattr(cell, name) if cell else None
                packed = table.values[name][line, column]
                assert packed != packed if expected is None else packed == pytest.approx(float(expected))
            seen += bool(cell and cell.graded + cell.ungraded)
    assert seen == Cell.objects.filter(task_version__current_of__isnull=False).exclude(graded=0, ungraded=0).count()


def test_the_end_of_a_trial_is_on_the_board_at_once():
    run = make_run(outcome="resolved")
    announce_end(run)
    assert cell_of(run.task_version, run.agent)["resolved"] == 1
    assert Tally.objects.get(pk=run.task_version_id).attempts == 1


def test_the_end_of_a_validation_run_changes_no_board():
    announce_end(make_run(outcome="resolved", purpose="validation"))
    assert not Cell.objects.exists()
    assert not Tally.objects.exists()


def test_hearing_of_an_end_twice_counts_once():
    run = make_run(outcome="resolved")
    announce_end(run)
    announce_end(run)
    assert cell_of(run.task_version, run.agent)["graded"] == 1


def test_an_agent_whose_id_ends_with_zero_bytes_keeps_it():
    agent = make_agent(name="odd")
    AgentConfig.objects.filter(pk=agent.pk).update(id="01234567-89ab-7def-8123-456789ab0000")
    agent = AgentConfig.objects.get(name="odd")
    announce_end(make_run(agent=agent, outcome="resolved"))
    assert table_of(tasks_of(Task.objects.all())).agents == [agent.pk]


def test_a_new_version_starts_from_nothing_and_the_old_one_keeps_its_cells():
    run = make_run(outcome="resolved")
    announce_end(run)
    make_version(run.task)
    tasks = tasks_of(Task.objects.all())
    assert table_of(tasks).agents == []
    assert Cell.objects.count() == 1


def test_rebuild_mends_wrong_cells_makes_missing_ones_and_drops_empty_ones():
    kept, missing, gone = make_run(outcome="resolved"), make_run(outcome="timeout"), make_run(outcome="resolved")
    announce_end(kept)
    announce_end(gone)
    Cell.objects.filter(agent=kept.agent).update(graded=99)
    gone.delete()
    call_command("rebuild_rollups")
    assert cell_of(kept.task_version, kept.agent)["graded"] == 1
    assert cell_of(missing.task_version, missing.agent)["graded"] == 1
    assert not Cell.objects.filter(task_version=gone.task_version).exists()
    assert_tallies_repeat_the_cells()


def test_catching_up_refreshes_only_what_was_missed():
    heard, missed = make_run(outcome="resolved"), make_run(outcome="resolved")
    announce_end(heard)
    assert rollup.catch_up() == 1
    assert cell_of(missed.task_version, missed.agent)["graded"] == 1
    assert rollup.catch_up() == 0


def test_a_sweep_catches_up_but_not_every_time(monkeypatch):
    monkeypatch.setattr(rollup, "_caught_up_at", None)
    first = make_run(outcome="resolved")
    assert announce_sweep() == 1
    assert cell_of(first.task_version, first.agent)["graded"] == 1
    make_run(outcome="resolved")
    assert announce_sweep() == 0


def test_catching_up_sees_a_later_attempt_in_a_cell_that_is_there():
    run = make_run(outcome="resolved")
    announce_end(run)
    make_run(version=run.task_version, agent=run.agent, outcome="timeout", finished_at=timezone.now())
    assert rollup.catch_up() == 1
    assert cell_of(run.task_version, run.agent)["graded"] == 2


def test_catching_up_leaves_the_distant_past_alone():
    run = make_run(outcome="resolved")
    Run.objects.filter(pk=run.pk).update(created_at=timezone.now() - timedelta(days=30))
    assert rollup.catch_up() == 0


def test_a_refresh_takes_as_many_queries_for_fifty_attempts_as_for_one(django_assert_max_num_queries):
    run = make_run(outcome="resolved")
    with django_assert_max_num_queries(10) as first:
        rollup.refresh(run.task_version_id, run.agent_id)
    for _ in range(10):
        make_run(version=run.task_version, agent=run.agent, outcome="timeout")
    with django_assert_max_num_queries(len(first)):
        rollup.refresh(run.task_version_id, run.agent_id)


@pytest.mark.django_db(transaction=True)
def test_workers_that_end_runs_at_the_same_moment_lose_none():
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one writer at a time, and the tests' database lives in memory.")
    version, agents = make_task().current_version, [make_agent(name=f"agent{number}") for number in range(2)]
    runs = [make_run(version=version, agent=agents[number % 2], status="grading") for number in range(12)]
    start = threading.Barrier(len(runs))

    def end(run: Run) -> None:
        try:
            start.wait(timeout=30)
            run.transition("finished", outcome="resolved")
            announce_end(run)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=end, args=[run]) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert [cell_of(version, agent)["resolved"] for agent in agents] == [6, 6]
    assert Tally.objects.get(pk=version.pk).attempts == 12


def test_a_score_that_comes_after_the_end_is_counted_when_it_is_told():
    run = make_run(outcome="unresolved")
    announce_end(run)
    assert Cell.objects.get().judged == 0
    score(run, 0.5)
    announce_judged(run.pk)
    cell = Cell.objects.get()
    assert (cell.judged, cell.scored, cell.calibrated, cell.score_sum) == (1, 1, 0, 0.5)
    assert_tallies_repeat_the_cells()


def test_an_unknown_score_is_judged_and_never_a_zero():
    run = make_run(outcome="resolved")
    score(run, None)
    announce_judged(run.pk)
    cell = Cell.objects.get()
    assert (cell.judged, cell.scored, cell.score_sum) == (1, 0, None)


def test_the_score_of_a_deleted_run_is_nobodys():
    run = make_run(outcome="resolved")
    gone = run.pk
    run.delete()
    announce_judged(gone)
    assert not Cell.objects.exists()


def test_a_sweep_renews_cells_whose_marks_have_changed_since():
    old = timezone.now() - timedelta(days=40)
    run = make_run(outcome="resolved")
    Run.objects.filter(pk=run.pk).update(created_at=old)
    row = score(run, 1.0)
    rollup.rebuild()
    assert rollup.catch_up() == 0
    RunScore.objects.filter(pk=row.pk).update(calibrated=True, updated_at=timezone.now())
    assert rollup.catch_up() == 1
    assert Cell.objects.get().calibrated == 1
    assert rollup.catch_up() == 0


def test_a_tally_of_before_grows_by_its_migration():
    grow = import_module("benchmarks.migrations.0004_count_rubric_scores")
    version = make_version()
    agent = make_agent()
    packed = grow.OLD.pack(agent.pk.bytes, 3, 2, 1, 0, 3, 0, 12.5, 900.0, math.nan)
    Tally.objects.create(task_version=version, packed=packed * 1, attempts=4)
    grow.grow(apps, None)
    table = table_of(tasks_of(Task.objects.all()))
    assert {name: values[0, 0] for name, values in table.counts.items()} == {
        "graded": 3, "resolved": 2, "ungraded": 1, "not_isolated": 0, "tokens_known": 3, "cost_known": 0,
        "judged": 0, "scored": 0, "calibrated": 0,
    }  # fmt: skip
    assert (table.values["seconds_median"][0, 0], table.values["tokens_mean"][0, 0]) == (12.5, 900.0)
    assert math.isnan(table.values["score_sum"][0, 0])
    grow.shrink(apps, None)
    assert bytes(Tally.objects.get().packed)[:64] == packed[:64]
