"""Control groups for the local sandbox, version 1 and 2, where this process may make them."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runs.sandboxes import proc
from runs.sandboxes.base import Limits

logger = logging.getLogger(__name__)

# bwrap, and the shell or reaper inside, are not the task's own processes.
OWN_PIDS = 4
CPU_PERIOD_US = 100_000
REMOVE_WITHIN_S = 2.0


@dataclass(frozen=True)
class Controller:
    """A directory in which groups can be made, and which of pids, memory and cpu it controls there."""

    parent: Path
    names: tuple[str, ...]
    version: int


class Group:
    """The control group of one sandbox: one directory in version 2, one for each controller in version 1."""

    def __init__(self, name: str, controllers: Sequence[Controller]) -> None:
        self._directories = [(controller, controller.parent / name) for controller in controllers]

    @property
    def holds(self) -> set[str]:
        """Which of pids, memory and cpu are held by it."""
        return {name for controller, _ in self._directories for name in controller.names}

    @property
    def entrances(self) -> list[str]:
        """The files into which a process writes 0 to go in."""
        return [str(directory / "cgroup.procs") for _, directory in self._directories]

    def make(self, limits: Limits) -> None:
        """Make the group with its limits. Raises OSError."""
        for controller, directory in self._directories:
            directory.mkdir(exist_ok=True)
            for name, value, needed in _values(controller, limits):
                try:
                    (directory / name).write_text(value)
                except OSError:
                    if needed:
                        raise

    def pids(self) -> list[int]:
        found: set[int] = set()
        for _, directory in self._directories:
            with contextlib.suppress(OSError):
                found |= set(map(int, (directory / "cgroup.procs").read_text().split()))
        return sorted(found - {0})

    def memory_kills(self) -> int | None:
        """Return how many processes were killed for want of memory, or None when that is not held here."""
        for controller, directory in self._directories:
            if "memory" in controller.names:
                name = "memory.events" if controller.version == 2 else "memory.oom_control"
                with contextlib.suppress(OSError):
                    return proc.oom_count((directory / name).read_text())
        return None

    def kill(self) -> None:
        """Kill every process in it."""
        for controller, directory in self._directories:
            if controller.version == 2:
                with contextlib.suppress(OSError):
                    (directory / "cgroup.kill").write_text("1")
        until = time.monotonic() + REMOVE_WITHIN_S
        while (pids := self.pids()) and time.monotonic() < until:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.002)

    def remove(self) -> None:
        """Kill what is left in it and remove it. Safe to call twice."""
        if not any(directory.exists() for _, directory in self._directories):
            return
        self.kill()
        until = time.monotonic() + REMOVE_WITHIN_S
        for _, directory in self._directories:
            while directory.exists():
                try:
                    directory.rmdir()
                except FileNotFoundError:
                    break
                except OSError as error:
                    # The kernel keeps a group busy for a moment after its last process has gone.
                    if time.monotonic() > until:
                        logger.warning("The control group %s is left behind: %s.", directory, error.strerror)
                        break
                    time.sleep(0.005)


def find(root: Path = Path("/sys/fs/cgroup"), proc_self: Path = Path("/proc/self")) -> list[Controller]:
    """Return where groups could be made for processes of ours, as it looks; whether it works shows when it is tried."""
    try:
        lines = (proc_self / "cgroup").read_text().splitlines()
    except OSError:
        return []
    found: list[Controller] = []
    for line in lines:
        _, names, path = line.split(":", 2)
        if names:
            found += _version_1(root, names, path)
        elif (root / "cgroup.controllers").exists():
            found += _version_2(root, path)
    return found


def _version_1(root: Path, names: str, path: str) -> list[Controller]:
    wanted = tuple(name for name in ("pids", "memory", "cpu") if name in names.split(","))
    if not wanted:
        return []
    for mounted in (root / names, root / wanted[0]):
        # In a container the path may be the host's, with the mount already at its end.
        for parent in (mounted / path.lstrip("/"), mounted):
            if parent.is_dir() and os.access(parent, os.W_OK):
                return [Controller(parent, wanted, 1)]
    return []


def _version_2(root: Path, path: str) -> list[Controller]:
    """Return the nearest group above ours that hands its controllers on to new groups in it.

    Our own group cannot: it holds processes. A service of systemd with Delegate=yes, a user's app.slice, or the root
    of a container's own tree can.
    """
    place = root / path.lstrip("/")
    for parent in (place, *place.parents):
        if not parent.is_relative_to(root):
            break
        if not (os.access(parent, os.W_OK) and os.access(parent / "cgroup.procs", os.W_OK)):
            continue
        control = parent / "cgroup.subtree_control"
        names = tuple(name for name in ("pids", "memory", "cpu") if _hands_on(control, name))
        if "pids" in names and "memory" in names:
            return [Controller(parent, names, 2)]
    return []


def _hands_on(control: Path, name: str) -> bool:
    """Whether a group gives a controller to the groups in it, or can be brought to."""
    with contextlib.suppress(OSError):
        if name not in control.read_text().split():
            control.write_text(f"+{name}")
        return name in control.read_text().split()
    return False


def _values(controller: Controller, limits: Limits) -> list[tuple[str, str, bool]]:
    """Return (file, value, whether the limit is void without it)."""
    memory = str(limits.memory_mb * 1024 * 1024)
    quota = str(max(1000, int(limits.cpus * CPU_PERIOD_US)))
    values: list[tuple[str, str, bool]] = []
    if "pids" in controller.names:
        values.append(("pids.max", str(limits.pids + OWN_PIDS), True))
    if "memory" in controller.names and controller.version == 1:
        # Swap on top cannot be bounded where the kernel does not count it.
        values += [("memory.limit_in_bytes", memory, True), ("memory.memsw.limit_in_bytes", memory, False)]
    if "memory" in controller.names and controller.version == 2:
        values += [("memory.max", memory, True), ("memory.swap.max", "0", False)]
    if "cpu" in controller.names and controller.version == 1:
        values += [("cpu.cfs_period_us", str(CPU_PERIOD_US), True), ("cpu.cfs_quota_us", quota, True)]
    if "cpu" in controller.names and controller.version == 2:
        values.append(("cpu.max", f"{quota} {CPU_PERIOD_US}", True))
    return values
