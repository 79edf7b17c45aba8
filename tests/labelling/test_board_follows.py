"""A judgement that ends shows on boards without anybody asking for it."""

from __future__ import annotations

import pytest

from benchmarks import rollup
from benchmarks.models import Cell
from tests.judging.builders import judge_now, make_judge, make_judged_run, saying
from tests.servers.chat import chat_server

pytestmark = pytest.mark.django_db


def test_the_cell_of_a_run_is_counted_anew_when_its_judgement_ends(django_capture_on_commit_callbacks) -> None:
    run, rubric = make_judged_run("It adds.", "It is short.")
    rollup.run_ended(run)
    assert Cell.objects.get().judged == 0
    with chat_server(saying(c0="met", c1="not_met")) as server, django_capture_on_commit_callbacks(execute=True):
        judge_now(run, rubric, make_judge(server.url))
    cell = Cell.objects.get()
    assert (cell.judged, cell.scored, cell.calibrated, cell.score_sum) == (1, 1, 0, 0.5)
