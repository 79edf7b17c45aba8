"""A directory with a copy of the image in it, and the commands that run there."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import posixpath
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from django.conf import settings

from runs.errors import InfraError
from runs.sandboxes import archive, proc
from runs.sandboxes.base import BASE_GIT, HOME, Door, ExecResult, FileTooLarge, Sink
from runs.sandboxes.local import hostfiles, users
from runs.sandboxes.local.access import close_others
from runs.sandboxes.local.cgroups import Controller, Group
from runs.sandboxes.local.command import Command
from runs.sandboxes.local.jail import MARK, MB, PATH, Inner, Jail, Plain
from runs.sandboxes.local.plan import Plan

logger = logging.getLogger(__name__)

END_WITHIN_S = 3.0
META = "meta.json"
# Root's own sandboxes register the user numbers that they have taken here.
USERS = ".users"


class LocalSandbox:
    """See runs.sandboxes.base.Sandbox. Made by LocalProvider."""

    def __init__(
        self,
        plan: Plan,
        jail: Jail,
        group: Group | None,
        door: Door | None,
        image_env: Mapping[str, str],
        expires_at: float,
    ) -> None:
        self.id = plan.id
        self.isolation = jail.name
        self.plan = plan
        self.jail = jail
        self.group = group
        self.door = door
        self.expires_at = expires_at
        self.workdir = plan.workdir if plan.remapped else str(plan.work)
        self.home = plan.inside(HOME)
        self.base_git = plan.inside(BASE_GIT)
        self._image_env = dict(image_env)
        self._destroyed = False
        self._commands: set[Command] = set()
        self._lock = threading.Lock()
        self._disk_allowance = plan.limits.disk_mb * MB

    def path(self, path: str) -> str:
        return self.plan.inside(path)

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
        # There is no root to be had here: `root` changes nothing.
        self._check()
        if isinstance(self.jail, Plain) and self.plan.uid is not None:
            # Others of our processes make files there all the time, and not all of them closed.
            close_others(Path(settings.DATA_DIR))
        inner = Inner(
            argv=[self.path(argv[0]), *argv[1:]], cwd=self.path(cwd or self.workdir), env=self._env(env or {})
        )
        command = Command(self, inner, stdin)
        with self._lock:
            self._commands.add(command)
        try:
            return command.run(timeout_s, max_output_bytes, sink)
        finally:
            with self._lock:
                self._commands.discard(command)

    def _env(self, own: Mapping[str, str]) -> dict[str, str]:
        env = {
            "PATH": PATH,
            "HOME": self.home,
            "USER": "agent",
            "LOGNAME": "agent",
            "LANG": "C.UTF-8",
            "SHELL": "/bin/sh",
        }
        if not self.plan.remapped:
            env["TMPDIR"] = str(self.plan.tmp)
        return {**env, **self._image_env, **self.plan.env, **own, MARK: self.id}

    def kill(self) -> None:
        self._check()
        with self._lock:
            commands = list(self._commands)
        for command in commands:
            command.killed = True
            command.end()

    def end_leftovers(self) -> None:
        """Kill what outlived the last command; where every command has namespaces of its own, nothing can."""
        if isinstance(self.jail, Plain) and len(self._commands) <= 1:
            end_processes(self.id, self.plan.uid, self.group)

    def _check(self) -> None:
        if self._destroyed:
            raise InfraError("The sandbox has been destroyed.")

    def destroy(self) -> None:
        self._destroyed = True
        with self._lock:
            commands = list(self._commands)
        for command in commands:
            command.killed = True
            command.end()
        remove(self.plan.directory, self.plan.uid, self.group, may_run=bool(commands) or isinstance(self.jail, Plain))

    # Limits

    def over_disk(self) -> str:
        """Return "disk" when the files written take more than they may, else ""."""
        used = self._disk_bytes()
        if used <= self._disk_allowance:
            return ""
        # Collecting the files comes next, and must neither be ended by what is there already nor run free.
        self._disk_allowance = used + self.plan.limits.disk_mb * MB
        return "disk"

    def _disk_bytes(self) -> int:
        plan = self.plan
        given = 0 if plan.builder else sum(disk_bytes([plan.image / "work", plan.image / "home"], kept=True))
        used = sum(disk_bytes([plan.work, plan.home, plan.tmp]))
        with self._lock:
            starts = [command.pid for command in self._commands if command.pid]
        held = proc.deleted_bytes([pid for start in starts for pid in proc.descendants(start)])
        return max(0, used - given) + held

    # Files

    def put(self, path: str, data: bytes, *, mode: int = 0o644) -> None:
        self._put(path, data, mode)

    def put_tree(self, path: str, files: Mapping[str, bytes]) -> None:
        archive.relative_names(files)
        for name, data in files.items():
            self._put(posixpath.join(path, name), data, 0o644)

    def _put(self, path: str, data: bytes, mode: int) -> None:
        self._check()
        place = self.plan.locate(path)
        if place is None or not place[2] or not place[1]:
            raise InfraError(
                f"{path} cannot be written in the sandbox: only files below {self.workdir}, {self.home} and /tmp can."
            )
        try:
            hostfiles.write(place[0], place[1], data, mode, self.plan.uid)
        except OSError as error:
            raise InfraError(f"{path} cannot be written in the sandbox: {error.strerror or error}.") from error

    def get(self, path: str, *, max_bytes: int = 50_000_000) -> bytes:
        self._check()
        place = self.plan.locate(path)
        if place is None:
            raise FileNotFoundError(f"{path} is not one of the sandbox's own files.")
        try:
            return hostfiles.read(place[0], place[1], max_bytes)
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{path} is not in the sandbox, or no regular file. {error}") from None
        except FileTooLarge as error:
            raise FileTooLarge(f"{path} in the sandbox is too large. {error}") from None
        except OSError as error:
            raise InfraError(f"{path} cannot be read from the sandbox: {error.strerror or error}.") from error


_sizes: dict[tuple[Path, ...], list[int]] = {}


def disk_bytes(directories: Sequence[Path], *, kept: bool = False) -> list[int]:
    """Return what each directory takes on disk. `kept` remembers the answer, for directories that do not change."""
    key = tuple(directories)
    if kept and key in _sizes:
        return _sizes[key]
    there = [str(path) for path in directories if path.exists()]
    # A program of its own: it copes with trees deeper than any path name may be long.
    done = subprocess.run(
        ["du", "-sk", "--", *there], stdin=subprocess.DEVNULL, capture_output=True, timeout=600, check=False
    )
    sizes = [int(line.split()[0]) * 1024 for line in done.stdout.splitlines()]
    if kept:
        _sizes[key] = sizes
    return sizes


def end_processes(sandbox_id: str, uid: int | None, group: Group | None) -> None:
    """Kill every process of a sandbox, whoever started it: by its user, its control group, or the mark it carries."""
    until = time.monotonic() + END_WITHIN_S
    while True:
        if uid is not None:
            users.kill_all(uid)
        if group:
            group.kill()
        left = proc.marked(f"{MARK}={sandbox_id}")
        if not left or time.monotonic() > until:
            return
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)


def write_meta(directory: Path, meta: Mapping[str, object]) -> None:
    new = directory / f".{META}"
    new.touch(mode=0o600)
    new.write_text(json.dumps(meta), encoding="utf-8")
    new.replace(directory / META)


def remove(directory: Path, uid: int | None, group: Group | None, *, may_run: bool) -> None:
    """Remove a sandbox: its processes, its control group, its files. No error when it is gone. Raises InfraError."""
    if may_run:
        end_processes(directory.name, uid, group)
    if group:
        group.remove()
    if directory.exists():
        delete_tree(directory)
    users.release(directory.parent / USERS, uid)


def delete_tree(directory: Path) -> None:
    """Delete a directory that hostile code has filled. Raises InfraError."""
    command = ["rm", "-rf", "--one-file-system", "--", str(directory)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode != 0 and directory.exists():
        # Without root, a directory that its owner has closed must be opened first.
        subprocess.run(["chmod", "-R", "u+rwX", "--", str(directory)], capture_output=True, check=False)
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if directory.exists():
        words = done.stderr.decode("utf-8", "replace").strip()[-300:]
        raise InfraError(f"The sandbox's directory {directory} cannot be deleted: {words}")


def groups_of(controllers: Sequence[Controller], sandbox_id: str) -> Group | None:
    """Return the control group that a sandbox has, or would have, under these controllers."""
    return Group(f"oneshot-{sandbox_id}", controllers) if controllers else None
