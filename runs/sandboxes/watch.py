"""Looks now and then whether a command uses more than it may, where the kernel does not do so by itself."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)

# Measuring costs at most a tenth of the time, however many files there are.
SHARE = 10
# No disk here writes faster, so what ended sooner cannot have written more than this times its seconds.
FASTEST_DISK_MB_PER_S = 2000


class Watch:
    """Calls `measure` until it names a limit that is passed, then calls `end` once; `hit` is that limit, or "".

    It starts to look after `first_s`, so that a short command never pays for it.
    """

    def __init__(
        self, measure: Callable[[], str], end: Callable[[], None], *, every_s: float, first_s: float = 1.0
    ) -> None:
        self.hit = ""
        self._measure = measure
        self._end = end
        self._every_s = every_s
        self._first_s = first_s
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._started = time.monotonic()

    def tick(self) -> None:
        """Start looking, once the command has run long enough; called from the command's own loop."""
        if self._thread is None and time.monotonic() - self._started >= self._first_s:
            self._thread = threading.Thread(target=self._look, name="limits", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Stop looking; when this returns, `end` is neither running nor to come."""
        self._over.set()
        if self._thread:
            self._thread.join()

    def _look(self) -> None:
        while not self._over.is_set():
            began = time.monotonic()
            try:
                hit = self._measure()
                if hit and not self._over.is_set():
                    self.hit = hit
                    self._end()
                    return
            except Exception:
                # The sandbox may vanish at any moment; the command's own loop finds that out and says so.
                logger.debug("A sandbox could not be measured.", exc_info=True)
            self._over.wait(max(self._every_s, SHARE * (time.monotonic() - began)))


def may_have_filled(disk_mb: int, seconds: float) -> bool:
    """Return whether a command of so many seconds can have written more than its disk limit."""
    return seconds * FASTEST_DISK_MB_PER_S > disk_mb
