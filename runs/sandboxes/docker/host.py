"""What this host itself shows of a container, when the engine runs on it: processes, memory kills, its network.

Reading a file costs microseconds where asking inside the container costs 30 ms. All of it is optional: with an
engine elsewhere `HostView.of` returns None, and the sandbox asks through the engine instead.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

from runs.sandboxes import proc

CGROUPS = Path("/sys/fs/cgroup")
CAP_SYS_PTRACE, CAP_SYS_ADMIN = 19, 21
CLONE_NEWNET = 0x40000000


def is_privileged() -> bool:
    """Return whether this process may enter a container's namespaces: root with its full rights."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return False
    effective = next((int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff:")), 0)
    wanted = 1 << CAP_SYS_ADMIN | 1 << CAP_SYS_PTRACE
    return os.geteuid() == 0 and effective & wanted == wanted


class HostView:
    """One container as /proc and the control groups of this host show it."""

    def __init__(self, pid: int, idle: list[str], processes: Path, memory: Path | None) -> None:
        self.pid = pid
        self._idle = b"".join(word.encode() + b"\0" for word in idle)
        self._processes = processes
        self._memory = memory
        self._idlers: set[int] = {pid}

    @classmethod
    def of(cls, container_id: str, pid: int, idle: list[str]) -> HostView | None:
        """Return the view of the container whose first process is `pid`, or None when it cannot be seen from here.

        `idle` is the command that does nothing but hold the container open.
        """
        try:
            lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
        except OSError:
            return None
        groups: dict[str, Path] = {}
        for line in lines:
            _, names, path = line.split(":", 2)
            # The pid of an engine elsewhere may by chance be somebody's here.
            if container_id not in path:
                continue
            before, _, after = path.partition(container_id)
            # Podman keeps its processes a level deeper; the counters of the whole container are here.
            top = before + container_id + after.partition("/")[0]
            for name in names.split(","):
                groups[name] = CGROUPS / name / top.lstrip("/") if name else CGROUPS / top.lstrip("/")
        processes = groups.get("pids") or groups.get("memory") or groups.get("")
        if processes is None or not (processes / "cgroup.procs").exists():
            return None
        return cls(pid, idle, processes, groups.get("memory") or groups.get(""))

    def pids(self) -> list[int]:
        """Return every process inside but the idle ones that hold the container open."""
        found: list[int] = []
        for directory, _, names in os.walk(self._processes):
            if "cgroup.procs" in names:
                with contextlib.suppress(OSError):
                    found += map(int, Path(directory, "cgroup.procs").read_text().split())
        # A pid of 0 is a process of another namespace; none of ours can be.
        return [pid for pid in found if pid and not self._is_idler(pid)]

    def _is_idler(self, pid: int) -> bool:
        """Whether this is the container's init or the sleep it runs, which only root inside could touch."""
        if pid in self._idlers:
            return True
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/cmdline").read_bytes() == self._idle and proc.uid(pid) == proc.uid(self.pid):
                self._idlers.add(pid)
                return True
        return False

    def memory_kills(self) -> int | None:
        """Return how many processes the kernel has killed for want of memory, or None when it does not say."""
        if self._memory is None:
            return None
        for name in ("memory.events", "memory.oom_control"):
            with contextlib.suppress(OSError):
                return proc.oom_count((self._memory / name).read_text())
        return None

    def kill(self, uid: int | None) -> bool:
        """End every process inside but the idle ones; return whether none is left.

        The processes of `uid` end in one stroke that a fork bomb cannot outrun: a kill of all, from inside its own
        process namespace. It needs root here; without, this returns False at once unless nothing is left.
        """
        if not self.pids():
            return True
        if not is_privileged():
            return False
        if uid is not None:
            command = ["nsenter", "-t", str(self.pid), "-p", "-S", str(uid), "-G", str(uid), "sh", "-c", "kill -9 -1"]
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=2, check=False)
        deadline = time.monotonic() + 0.5
        while (left := self.pids()) and time.monotonic() < deadline:
            for pid in left:
                self._kill_one(pid)
            time.sleep(0.002)
        return not left

    def _kill_one(self, pid: int) -> None:
        try:
            handle = os.pidfd_open(pid)
        except OSError:
            return
        try:
            # The number may have passed on to another process since it was read; the handle has not.
            if pid in self.pids():
                with contextlib.suppress(OSError):
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
        finally:
            os.close(handle)

    def listen(self, port: int) -> socket.socket:
        """Return a socket that listens on 127.0.0.1:`port` of the container's own network. Raises OSError."""
        result: list[socket.socket | OSError] = []

        def work() -> None:
            # A thread has its own network namespace, and takes it to its grave.
            try:
                _enter_network(self.pid)
                listener = socket.socket()
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind(("127.0.0.1", port))
                listener.listen(64)
                result.append(listener)
            except OSError as error:
                result.append(error)

        thread = threading.Thread(target=work, name=f"listen-{port}")
        thread.start()
        thread.join()
        if isinstance(result[0], OSError):
            raise result[0]
        return result[0]

    def held_bytes(self) -> int:
        """Return the bytes of files that are deleted but still open inside, which no directory shows."""
        return proc.deleted_bytes(self.pids())


def _enter_network(pid: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    handle = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(handle, CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(handle)
