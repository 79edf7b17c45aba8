"""Counts all runs anew for the boards."""

from typing import Any

from benchmarks.rollup import rebuild
from oneshot.management.base import OneShotCommand


class Command(OneShotCommand):
    help = "Count every run anew for the boards. Needed only after rows were changed by hand."
    example = "oneshot rebuild_rollups"
    prints_json = True

    def run(self, **options: Any) -> None:
        cells = rebuild(self._progress)
        if self.on_terminal:
            self.say("")
        if self.as_json:
            self.emit({"cells": cells})
        else:
            self.stdout.write(f"{cells} cells are up to date.")

    def _progress(self, done: int, total: int) -> None:
        if self.on_terminal:
            self.stderr.write(f"\rtask version {done} of {total}", ending="")
