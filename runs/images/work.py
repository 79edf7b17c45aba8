"""Does the long part of a build in a thread, while the caller keeps its claim alive and can be stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

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
