"""Cancel runs from the terminal."""

import uuid
from argparse import ArgumentParser
from typing import Any

from oneshot.management.base import BadInput, OneShotCommand
from runs import actions
from runs.models import Run, Status


class Command(OneShotCommand):
    help = "Cancel runs: those that wait at once, those that work within seconds."
    example = "oneshot cancel_run 01939e2c-5b6e-7cc3-98e5-6fbb4b3b8a11\n  oneshot cancel_run --queued"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("runs", metavar="RUN", nargs="*", help="id of a run")
        parser.add_argument("--queued", action="store_true", help="every run that waits")

    def run(self, *, runs: list[str], queued: bool, **options: Any) -> None:
        if not runs and not queued:
            raise BadInput("Name the runs to cancel, or use --queued.")
        chosen = [find_run(text) for text in runs]
        if queued:
            chosen += Run.objects.filter(status=Status.QUEUED)
        for run in chosen:
            done = actions.cancel(run)
            self.say(f"{'Cancelled' if done else 'Had already ended'}: {run.pk}")


def find_run(text: str) -> Run:
    """Return the run of this id. Raises BadInput when there is none."""
    try:
        return Run.objects.get(pk=uuid.UUID(text))
    except (ValueError, Run.DoesNotExist):
        raise BadInput(f"There is no run {text!r}. Its id stands in the address of its page.") from None
