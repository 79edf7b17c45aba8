"""The process that sweeps every few seconds: it alone makes lost workers, lost jobs and orphans harmless."""

import signal
import threading
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connections

from oneshot.management.base import OneShotCommand
from runs import sweep


class Command(OneShotCommand):
    help = "Sweep until told to stop. One per machine that has workers; more do no harm."
    example = "oneshot scheduler"

    def run(self, **options: Any) -> None:
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        while not stop.is_set():
            try:
                done = sweep.sweep()
                if done:
                    self.say(", ".join(f"{count} {what}" for what, count in done.items()))
            except DatabaseError as error:
                self.say(f"The database does not answer: {error}")
                connections.close_all()
            stop.wait(settings.SWEEP_S)
