"""Starts, watches and ends the processes of one machine's installation."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PR_SET_PDEATHSIG = 1
RESTART_WINDOW_S = 60
MOST_RESTARTS = 5


def _end_with_parent(number: int) -> Callable[[], None] | None:
    """Return what a child does before it becomes its program: ask the kernel to be told when its parent dies."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)

    def ask() -> None:
        libc.prctl(PR_SET_PDEATHSIG, number)

    return ask


@dataclass
class Child:
    """A process that is started again when it dies, with its log file and the signal that ends it kindly."""

    name: str
    argv: Sequence[str]
    env: dict[str, str]
    log_path: Path
    ended_by: int = signal.SIGTERM
    process: subprocess.Popen[bytes] | None = None
    starts: list[float] = field(default_factory=list)

    def start(self) -> None:
        """Start the process in a session of its own, so that the terminal's Ctrl-C does not reach it."""
        if self.process is not None:
            # What a killed server left in its process group may still hold its port.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                self.argv,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_end_with_parent(self.ended_by),
            )
        self.starts.append(time.monotonic())

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def keeps_dying(self) -> bool:
        """Whether it has been started too often lately to be worth another start."""
        recent = [start for start in self.starts if start > time.monotonic() - RESTART_WINDOW_S]
        return len(recent) > MOST_RESTARTS

    def has_given_up(self) -> bool:
        """Whether it ended by saying that something must be mended first, so that another start is in vain."""
        return self.process is not None and self.process.poll() == 2

    def last_words(self, lines: int = 15) -> str:
        """Return the end of its log."""
        with contextlib.suppress(OSError):
            return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])
        return ""

    def signal(self, number: int) -> None:
        if self.is_running() and self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)

    def kill_with_descendants(self) -> None:
        """End the process and all it started at once, also children that made sessions of their own."""
        if self.process is None:
            return
        family = [*descendants(self.process.pid), self.process.pid]
        for pid in family:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(2)


def descendants(pid: int) -> list[int]:
    """Return the process ids of all children, grandchildren and so on, as far as /proc tells."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            after_name = path.read_text(errors="replace").rpartition(")")[2].split()
            parents.setdefault(int(after_name[1]), []).append(int(path.parent.name))
    found, rest = [], [pid]
    while rest:
        children = parents.get(rest.pop(), [])
        found += children
        rest += children
    return found


def stop_all(children: Sequence[Child], *, patience_s: float) -> None:
    """End all children: kindly at first, in the order given, and by force when patience is over."""
    for child in children:
        child.signal(child.ended_by)
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline and any(child.is_running() for child in children):
        time.sleep(0.02)
    for child in children:
        if child.is_running():
            child.kill_with_descendants()
