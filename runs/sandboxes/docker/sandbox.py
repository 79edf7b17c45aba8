"""A running container: commands in it, files into it and out of it, and its end."""

from __future__ import annotations

import contextlib
import logging
import posixpath
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from runs.errors import InfraError
from runs.sandboxes import archive, proc
from runs.sandboxes.base import AGENT_UID, BASE_GIT, HOME, ExecResult, SandboxSpec, Sink
from runs.sandboxes.bridge import Bridge
from runs.sandboxes.docker import engine
from runs.sandboxes.docker.command import Command
from runs.sandboxes.docker.host import HostView, is_privileged

logger = logging.getLogger(__name__)

MB = 1_000_000
KILL_INSIDE_WITHIN_S = 2.0
# Kills all it may but itself and the first process; then tells the memory kills, for want of a nearer view.
KILL_ALL = "kill -9 -1; cat /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control; exit 0"
PUT = """
cd -- "$1" 2>/dev/null || { mkdir -p -- "$1" && cd -- "$1"; } || exit 1
shift
for d do
  if [ -L "$d" ] || [ ! -d "$d" ]; then rm -rf -- "$d"; mkdir -- "$d" || exit 1; fi
done
exec tar -xf -
"""


class DockerSandbox:
    """See runs.sandboxes.base.Sandbox. Made by DockerProvider."""

    isolation = "container"

    def __init__(self, container_id: str, spec: SandboxSpec, expires_at: float) -> None:
        self.id = container_id
        self.workdir = spec.workdir
        self.home = "/root" if spec.root else HOME
        self.base_git = BASE_GIT
        self.spec = spec
        self.expires_at = expires_at
        self.kills = 0
        # The last count that came from inside, where the host does not show it
        self.told_memory_kills = 0
        self.destroyed = False
        self._running = 0
        self._running_as_root = 0
        self._count = threading.Lock()
        self._ending = threading.Lock()
        self._disk_allowance = spec.limits.disk_mb * MB
        self._view: HostView | None = None
        self._bridge: Bridge | None = None

    def path(self, path: str) -> str:
        return path

    # Life

    def started(self) -> None:
        """Look at the container that has just been started, and open the door where it has one of its own."""
        with engine.errors("The sandbox's container cannot be looked at"):
            state = engine.client().inspect_container(self.id)["State"]
        # A container that is started again counts from nought.
        self.told_memory_kills = 0
        pid = state.get("Pid") or 0
        self._view = HostView.of(self.id, pid, idle_command(self.spec)) if pid and engine.shares_processes() else None
        door = self.spec.door
        if door and self.spec.network != "none" and self._view and is_privileged():
            if self._bridge:
                self._bridge.close()
            try:
                self._bridge = Bridge(self._view.listen(door.port), door)
            except OSError as error:
                raise InfraError(f"The sandbox's way to the model relay cannot be opened: {error}.") from error

    @property
    def view(self) -> HostView | None:
        return self._view

    def check(self) -> None:
        """Raise InfraError when the sandbox is no more."""
        if self.destroyed:
            raise InfraError("The sandbox has been destroyed.")

    def kill(self) -> None:
        self.check()
        self.kills += 1
        self.end_all()

    def destroy(self) -> None:
        self.destroyed = True
        if self._bridge:
            self._bridge.close()
        remove(self.id)

    # Commands

    def exec(
        self,
        argv: Sequence[str],
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        timeout_s: float | None = None,
        max_output_bytes: int = 10_000_000,
        sink: Sink | None = None,
        root: bool = False,
    ) -> ExecResult:
        self.check()
        as_root = root or self.spec.root
        with self._count:
            self._running += 1
            self._running_as_root += as_root
        try:
            command = Command(self, argv, cwd or self.workdir, env or {}, stdin, as_root)
            return command.run(timeout_s, max_output_bytes, sink)
        finally:
            with self._count:
                self._running -= 1
                self._running_as_root -= as_root

    @property
    def is_last_running(self) -> bool:
        """Whether the command that asks runs alone, so that whatever else lives inside is a leftover."""
        return self._running <= 1

    def end_leftovers(self) -> int | None:
        """Kill what a command left behind; return the count of memory kills if that was learned on the way."""
        if self.destroyed or not self.is_last_running:
            return None
        view = self._view
        if view and not view.pids():
            return None
        with contextlib.suppress(InfraError):
            if view and view.kill(self._kill_uid):
                return None
            if not self._running_as_root:
                return self._kill_inside()
            # What root leaves behind is out of reach from inside.
            self.end_all()
        return None

    def end_all(self) -> None:
        """End every process inside, whatever it takes, and leave the files as they are. Raises InfraError."""
        with self._ending:
            if self.destroyed:
                return
            if self._view and self._view.kill(self._kill_uid):
                return
            # A fork bomb may leave no room for one more process inside; root's are out of reach for the agent's user.
            killed = not self._running_as_root and self._kill_inside() is not None
            if not killed or (self._view and self._view.pids()):
                self._start_anew()

    def _start_anew(self) -> None:
        """End the container with all that is in it; its files stay. Within its lifetime it is started again."""
        with contextlib.suppress(engine.Gone), engine.errors("The sandbox's processes cannot be ended"):
            if time.time() < self.expires_at:
                engine.client().restart(self.id, timeout=0)
                self.started()
            else:
                engine.client().stop(self.id, timeout=0)

    @property
    def _kill_uid(self) -> int | None:
        # In a builder's sandbox everything is root, the idle process too: a kill of all would end the container.
        return None if self.spec.root else AGENT_UID

    def _kill_inside(self) -> int | None:
        """Kill all of the agent's processes from inside; return the count of memory kills, None if it did not work."""
        told = Command(self, ["sh", "-c", KILL_ALL], "/", {}, b"", root=False).errand(KILL_INSIDE_WITHIN_S)
        return None if told is None else proc.oom_count(told.decode("utf-8", "replace"))

    # Limits

    def memory_kills(self) -> int | None:
        return self._view.memory_kills() if self._view else None

    def over_limit(self) -> str:
        """Return "disk" when the files written take more than they may, else ""."""
        used = self._disk_bytes()
        if used <= self._disk_allowance:
            return ""
        # Collecting the files comes next, and must neither be ended by what is there already nor run free.
        self._disk_allowance = used + self.spec.limits.disk_mb * MB
        return "disk"

    def _disk_bytes(self) -> int:
        with engine.errors("The sandbox's disk use cannot be read"):
            found: list[dict[str, Any]] = engine.client().containers(all=True, size=True, filters={"id": self.id})
        written = found[0].get("SizeRw", 0) if found else 0
        return written + (self._view.held_bytes() if self._view else 0)

    # Files

    def put(self, path: str, data: bytes, *, mode: int = 0o644) -> None:
        directory, name = posixpath.split(path)
        self._put(directory, {name: data}, mode)

    def put_tree(self, path: str, files: Mapping[str, bytes]) -> None:
        if files:
            self._put(path, files, 0o644)

    def _put(self, directory: str, files: Mapping[str, bytes], mode: int) -> None:
        """Write as the agent's own user, so that no link it planted leads where it could not write itself."""
        if not directory.startswith("/"):
            raise InfraError(f"{directory!r} is not an absolute path in the sandbox.")
        archive.relative_names(files)
        script = ["sh", "-c", PUT, "put", directory, *archive.parents_of(files)]
        packed = archive.pack(files, mode)
        result = self.exec(script, cwd="/", stdin=packed)
        if result.exit_code != 0:
            # The usual reason: a directory where a file should be, which tar does not replace.
            listed = b"\0".join(name.encode() for name in files)
            self.exec(["xargs", "-0", "rm", "-rf", "--"], cwd=directory, stdin=listed)
            result = self.exec(script, cwd="/", stdin=packed)
        if result.exit_code != 0:
            words = result.stderr.decode("utf-8", "replace").strip()[-300:]
            raise InfraError(f"{len(files)} file(s) cannot be written below {directory} in the sandbox: {words}")

    def get(self, path: str, *, max_bytes: int = 50_000_000) -> bytes:
        self.check()
        try:
            with engine.errors(f"{path} cannot be read from the sandbox"):
                pieces, status = engine.client().get_archive(self.id, path)
        except engine.Gone as error:
            if "no such container" in str(error).lower():
                raise
            raise FileNotFoundError(f"{path} is not in the sandbox.") from error
        try:
            if status.get("size", 0) > max_bytes:
                raise archive.FileTooLarge(
                    f"{path} in the sandbox has {status['size']} bytes; at most {max_bytes} are read."
                )
            with engine.errors(f"{path} cannot be read from the sandbox"):
                data = archive.unpack_one(pieces, path, max_bytes)
        finally:
            pieces.close()
        if data is None:
            raise FileNotFoundError(f"{path} in the sandbox is not a regular file.")
        return data


def idle_command(spec: SandboxSpec) -> list[str]:
    """Return what keeps a container open, for as long as it may live and no longer."""
    return ["sleep", str(max(1, round(spec.limits.lifetime_s)))]


def remove(container_id: str) -> None:
    """Remove a container, running or not, with its anonymous volumes. No error when it is gone. Raises InfraError."""
    deadline = time.monotonic() + 10
    while True:
        try:
            with engine.errors("The sandbox's container cannot be removed"):
                engine.client().remove_container(container_id, force=True, v=True)
            return
        except engine.Gone:
            return
        except InfraError as error:
            # Somebody else is removing it at this moment, or the kernel has not let go of its file system yet.
            busy = any(word in str(error) for word in ("already in progress", "busy", "marked for removal"))
            if not busy or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
