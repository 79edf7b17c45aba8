"""The command that makes up runs: exact numbers, plausible rows, and nothing left behind."""

from __future__ import annotations

import io
import json

import pytest
from django.core.management import call_command

from benchmarks.models import Board, Cell, Tally
from oneshot.accounts.models import Team
from oneshot.management.base import BadInput
from runs.models import AgentConfig, Run
from tasks.models import Task
from tests.builders import make_agent, make_run

pytestmark = pytest.mark.django_db


def generate(*options: str) -> dict:
    out = io.StringIO()
    call_command("generate_runs", *options, "--json", stdout=out)
    return json.loads(out.getvalue())


def test_the_numbers_are_as_asked_and_the_board_has_them_all():
    document = generate("--runs", "250", "--tasks", "10", "--agents", "5")
    assert (document["runs"], document["tasks"], document["agents"]) == (250, 10, 5)
    team = Team.objects.get(slug="generated")
    assert team.is_demo
    assert (Run.objects.filter(team=team).count(), Task.objects.filter(team=team).count()) == (250, 10)
    assert Board.objects.get(slug="generated").tasks.count() == 10
    counted = Run.objects.exclude(status="cancelled").count()
    assert sum(cell.graded + cell.ungraded for cell in Cell.objects.all()) == counted
    assert sum(tally.attempts for tally in Tally.objects.all()) == counted
    assert Cell.objects.count() == 50


def test_the_rows_hold_what_real_ones_hold():
    generate("--runs", "200", "--tasks", "5", "--agents", "4")
    run = Run.objects.filter(status="finished").first()
    assert run.phase_seconds().keys() == {"queued", "preparing", "running", "collecting", "grading"}
    assert all(seconds >= 0 for seconds in run.phase_seconds().values())
    assert run.limits == {}
    assert run.id.version == 7
    assert not Run.objects.active().exists()
    attempts = Run.objects.filter(task=run.task, agent=run.agent).order_by("attempt").values_list("attempt", flat=True)
    assert list(attempts) == list(range(1, 11))


def test_the_same_seed_gives_the_same_outcomes():
    def outcomes() -> list[str]:
        generate("--runs", "60", "--tasks", "3", "--agents", "2", "--seed", "7")
        found = list(Run.objects.order_by("created_at").values_list("outcome", flat=True))
        call_command("generate_runs", "--remove", stdout=io.StringIO())
        return found

    assert outcomes() == outcomes()


def test_removing_takes_everything_generated_and_nothing_else():
    kept = make_run(agent=make_agent(name="kept"))
    generate("--runs", "60", "--tasks", "3", "--agents", "2")
    out = io.StringIO()
    call_command("generate_runs", "--remove", stdout=out)
    assert "60 generated runs removed" in out.getvalue()
    assert list(Run.objects.all()) == [kept]
    assert list(AgentConfig.objects.all()) == [kept.agent]
    assert not Cell.objects.exists()
    assert not Tally.objects.exists()
    assert not Team.objects.filter(slug="generated").exists()


def test_a_second_time_and_too_few_are_refused():
    generate("--runs", "10", "--tasks", "2", "--agents", "1")
    with pytest.raises(BadInput, match="--remove"):
        generate("--runs", "10")
    with pytest.raises(BadInput, match="--tasks 0 is too few"):
        generate("--tasks", "0")
