"""Does the long part of a build in a thread, while the caller keeps its claim alive and can be stopped."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Stopped(Exception):
    """The build was told to stop."""


TICK_S = 0.1
# Whoever cancels waits no longer than this; what remains to be tidied up goes on without him.
ABORT_WITHIN_S = 2.5


def watched(call: Callable[[], T], *, tick: Callable[[], None], abort: Callable[[], None]) -> T:
    """Return what `call` returns; meanwhile call `tick` often, from this thread, which alone uses the database.

    When `tick` raises, `abort` ends the call, and the exception goes on once it has ended.
    """
    outcome: list[T] = []
    error: list[BaseException] = []
    over = threading.Event()

    def work() -> None:
        try:
            outcome.append(call())
        except BaseException as caught:  # noqa: BLE001 - raised again in the caller's thread
            error.append(caught)
        finally:
            over.set()

    thread = threading.Thread(target=work, name="image-build", daemon=True)
    thread.start()
    try:
        while not over.wait(TICK_S):
            tick()
    except BaseException:
        abort()
        over.wait(ABORT_WITHIN_S)
        raise
    thread.join()
    if error:
        raise error[0]
    return outcome[0]


class Lines:
    """Cuts output into lines for the log, and keeps the last of them for an error."""

    KEPT = 400
    # What pip says when it has tried a server for the last time, or does not trust it.
    GAVE_UP = re.compile(r"Retry\(total=0|Could not fetch URL|problem confirming the ssl certificate", re.IGNORECASE)

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._rest: dict[str, bytes] = {}
        self.last: list[str] = []
        # The line with which a program gave a server up, or "".
        self.gave_up = ""

    def add(self, name: str, data: bytes) -> None:
        """Take a piece of output; the signature of a Sink."""
        whole, newline, rest = (self._rest.get(name, b"") + data).rpartition(b"\n")
        if len(rest) > 100_000:
            whole, newline, rest = whole + newline + rest, b"\n", b""
        self._rest[name] = rest
        if newline:
            self._tell(whole)

    def close(self) -> None:
        for rest in self._rest.values():
            if rest:
                self._tell(rest)
        self._rest = {}

    def _tell(self, data: bytes) -> None:
        text = data.decode("utf-8", "replace")
        # A progress bar redraws its line: its last state is enough.
        lines = [line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n")]
        self._say("\n".join(lines))
        self.gave_up = self.gave_up or next((line for line in lines if self.GAVE_UP.search(line)), "")
        self.last = [*self.last, *(line for line in lines if line.strip())][-self.KEPT :]
