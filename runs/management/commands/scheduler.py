"""The process that sweeps every few seconds, and imports what the gateway records.

It alone makes lost workers, lost jobs and orphans harmless, so a long import must not hold it up.
"""

import logging
import signal
import threading
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connections

from oneshot.management.base import OneShotCommand
from runs import sweep
from traces import importing

logger = logging.getLogger(__name__)

IMPORT_S = 3.0


class Command(OneShotCommand):
    help = "Sweep until told to stop. One per machine that has workers; more do no harm."
    example = "oneshot scheduler"

    def run(self, **options: Any) -> None:
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        importer = threading.Thread(target=self._import, args=(stop,), name="importer", daemon=True)
        importer.start()
        while not stop.is_set():
            try:
                done = sweep.sweep()
                if done:
                    self.say(", ".join(f"{count} {what}" for what, count in done.items()))
            except DatabaseError as error:
                self.say(f"The database does not answer: {error}")
                connections.close_all()
            stop.wait(settings.SWEEP_S)

    def _import(self, stop: threading.Event) -> None:
        """Turn what the gateway has recorded into sessions, again and again."""
        while not stop.wait(IMPORT_S):
            try:
                importing.import_new()
            except DatabaseError as error:
                self.say(f"The database does not answer: {error}")
            except Exception:
                # One bad record must not end the imports of all that follow.
                logger.exception("The gateway's records could not be imported")
            finally:
                connections.close_all()
