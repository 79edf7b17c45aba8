"""Prints what a run changed, as a diff that `git apply` takes."""

from argparse import ArgumentParser
from typing import Any

from oneshot.management.base import OneShotCommand
from runs.management.commands.cancel_run import find_run


class Command(OneShotCommand):
    help = "Print the diff of a run, to read or to apply."
    example = "oneshot show_diff 01939e2c-5b6e-7cc3-98e5-6fbb4b3b8a11 | git apply"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("id", metavar="RUN", help="id of a run")

    def run(self, *, id: str, **options: Any) -> None:
        self.stdout.write(find_run(id).diff().decode("utf-8", "surrogateescape"), ending="")
