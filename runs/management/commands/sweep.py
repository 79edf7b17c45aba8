"""Repair by hand what the scheduler repairs by itself."""

from typing import Any

from oneshot.management.base import OneShotCommand
from runs import sweep


class Command(OneShotCommand):
    help = "Take back runs of lost workers, requeue lost jobs, remove orphaned sandboxes. Safe at any time."
    example = "oneshot sweep"
    prints_json = True

    def run(self, **options: Any) -> None:
        done = sweep.sweep()
        if self.as_json:
            self.emit(dict(done))
        else:
            self.say(", ".join(f"{count} {what}" for what, count in done.items()) or "Nothing to repair.")
