"""Reads what /proc and the control groups say of processes; without a /proc there is simply nothing to read."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

# Deleted files of these names are memory, which the memory limit counts already.
_MEMORY = ("/memfd:", "/dev/shm/", "/dev/zero", "/SYSV", "/i915")  # noqa: S108


@dataclass(frozen=True)
class Process:
    """One process as it was when it was read. `started` with `pid` names it for ever; the number alone is reused."""

    pid: int
    name: str
    parent: int
    started: int


def process(pid: int) -> Process | None:
    """Return the process, or None when it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    # The name may itself hold spaces and brackets.
    name, _, rest = text.partition("(")[2].rpartition(")")
    fields = rest.split()
    return Process(pid=pid, name=name, parent=int(fields[1]), started=int(fields[19]))


def all_pids() -> list[int]:
    """Return the number of every process that this one can see."""
    try:
        return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]
    except OSError:
        return []


def uid(pid: int) -> int | None:
    """Return the user a process runs as, or None when it is gone."""
    # Not the owner of /proc/PID: that is root for a process that made itself undumpable.
    try:
        status = Path(f"/proc/{pid}/status").read_text(errors="replace")
    except OSError:
        return None
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("Uid:")), None)


def descendants(pid: int) -> list[int]:
    """Return every process below `pid`, and itself."""
    children: dict[int, list[int]] = {}
    for number in all_pids():
        if found := process(number):
            children.setdefault(found.parent, []).append(number)
    below, queue = [pid], [pid]
    while queue:
        fresh = children.get(queue.pop(), [])
        below += fresh
        queue += fresh
    return below


def marked(entry: str) -> list[int]:
    """Return the processes started with `entry` ("NAME=value") in their environment, as far as that is shown."""
    wanted, own = entry.encode(), os.getpid()
    found = []
    for pid in all_pids():
        with contextlib.suppress(OSError):
            if pid != own and wanted in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found.append(pid)
    return found


def memory_bytes(pids: list[int]) -> int:
    """Return the memory that these processes use together, not counting what they share with files on disk."""
    own = shared = 0
    for pid in pids:
        with contextlib.suppress(OSError, ValueError, IndexError):
            for line in Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines():
                if line.startswith("RssAnon:"):
                    own += int(line.split()[1]) * 1024
                elif line.startswith("RssShmem:"):
                    # Most likely the same pages in each.
                    shared = max(shared, int(line.split()[1]) * 1024)
    return own + shared


def deleted_bytes(pids: list[int]) -> int:
    """Return the disk space of the deleted files that these processes hold open, as far as it can be seen."""
    seen: dict[tuple[int, int], int] = {}
    for pid in pids:
        try:
            links = list(Path(f"/proc/{pid}/fd").iterdir())
        except OSError:
            continue
        for link in links:
            with contextlib.suppress(OSError):
                name = str(link.readlink())
                if name.endswith(" (deleted)") and not name.startswith(_MEMORY):
                    status = link.stat()
                    seen[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(seen.values())


def oom_count(text: str) -> int:
    """Return the number after "oom_kill" in memory.events (control groups 2) or memory.oom_control (1)."""
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("oom_kill "))
