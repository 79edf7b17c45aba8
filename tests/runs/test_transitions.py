"""A run moves only along allowed moves, and only in the hands of the worker that holds it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runs.errors import LostClaim
from runs.models import ENDED, MOVES, Run, Status
from tests.builders import make_run

pytestmark = pytest.mark.django_db


def test_moves_on_and_stamps_the_time_of_the_phase():
    run = make_run(status=Status.PREPARING)
    run.transition(Status.RUNNING, exit_code=3)
    stored = Run.objects.get(pk=run.pk)
    assert (stored.status, stored.exit_code) == (Status.RUNNING, 3)
    assert stored.running_at is not None


def test_a_move_that_is_not_allowed_raises_and_writes_nothing():
    run = make_run(status=Status.QUEUED)
    with pytest.raises(ValueError, match="cannot go from queued to grading"):
        run.transition(Status.GRADING)
    assert Run.objects.get(pk=run.pk).status == Status.QUEUED


def test_a_late_worker_cannot_write_after_another_has_claimed_the_run():
    run = make_run(status=Status.RUNNING, tries=1)
    Run.objects.filter(pk=run.pk).update(tries=2)
    with pytest.raises(LostClaim):
        run.transition(Status.COLLECTING, exit_code=1)
    assert Run.objects.get(pk=run.pk).exit_code is None


def test_of_two_that_end_a_run_only_one_succeeds():
    run = make_run(status=Status.GRADING)
    twin = Run.objects.get(pk=run.pk)
    run.transition(Status.FINISHED, outcome="resolved")
    with pytest.raises(LostClaim):
        twin.transition(Status.FINISHED, outcome="unresolved")
    assert Run.objects.get(pk=run.pk).outcome == "resolved"


def test_going_back_into_the_queue_forgets_the_times_of_the_lost_try():
    run = make_run(status=Status.GRADING)
    run.transition(Status.QUEUED)
    stored = Run.objects.get(pk=run.pk)
    assert (stored.preparing_at, stored.running_at, stored.grading_at) == (None, None, None)


@given(st.sampled_from(list(Status)), st.sampled_from(list(Status)))
def test_nothing_leads_out_of_an_end(start, target):
    if start in ENDED:
        assert target not in MOVES.get(start, ())
