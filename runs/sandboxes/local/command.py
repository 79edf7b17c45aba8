"""One command in a local sandbox: started in its jail, followed to its end, with nothing left behind."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING

from runs.errors import InfraError
from runs.sandboxes import proc
from runs.sandboxes.base import ExecResult, Sink
from runs.sandboxes.bridge import Bridge
from runs.sandboxes.local.jail import Inner, Launch, Plain, outer_env
from runs.sandboxes.output import Output
from runs.sandboxes.watch import Watch, may_have_filled

if TYPE_CHECKING:
    from runs.sandboxes.local.sandbox import LocalSandbox

CHUNK = 65536
LOOK_S = 0.25
# After the command's end, its output is read for so long; a process that escaped may hold it open for ever.
LAST_WORDS_S = 1.0
DISK_EVERY_S, MEMORY_EVERY_S = 2.0, 0.25
KEEPER_ENDS_WITHIN_S = 3.0
KILLED, FILE_TOO_LARGE = 128 + 9, 128 + 25


class Command:
    """A command that `run` starts and sees to its end. `end` may be called from any thread."""

    def __init__(self, sandbox: LocalSandbox, inner: Inner, stdin: bytes) -> None:
        self.sandbox = sandbox
        self.inner = inner
        self.killed = False
        self._stdin = memoryview(stdin)
        self._process: subprocess.Popen[bytes] | None = None
        self._bridge: Bridge | None = None

    @property
    def pid(self) -> int | None:
        """The wrapper's process on this host, None before it has been started."""
        return self._process.pid if self._process else None

    def run(self, timeout_s: float | None, max_output_bytes: int, sink: Sink | None) -> ExecResult:
        """Return how the command ended. Raises InfraError, and whatever the sink raises after all has been killed."""
        sandbox = self.sandbox
        memory_kills = sandbox.group.memory_kills() if sandbox.group else None
        began = time.monotonic()
        lifetime_left = sandbox.expires_at - time.time()
        deadline = began + min(timeout_s if timeout_s is not None else lifetime_left, lifetime_left)
        output = Output(max_output_bytes, sink)
        watches = [Watch(sandbox.over_disk, self.end, every_s=DISK_EVERY_S)]
        if memory_kills is None:
            watches.append(Watch(self._over_memory, self.end, every_s=MEMORY_EVERY_S, first_s=MEMORY_EVERY_S))
        with self._open_door() as inner, sandbox.jail.launch(sandbox.plan, inner, sandbox.group) as launch:
            process = self._start(launch)
            try:
                self._receive_door()
                timed_out = not self._follow(process, output, deadline, watches)
                self.end()
                self._read_rest(process, output)
            finally:
                # Also when the caller's sink gave up: nothing may go on unseen.
                self.end()
                for watch in watches:
                    watch.close()
                self._close(process)
                sandbox.end_leftovers()
            status = _available(launch.status)
        code: int | None = process.returncode if process.returncode >= 0 else 128 - process.returncode
        limit = next((watch.hit for watch in watches if watch.hit), "")
        ended = timed_out or bool(limit) or self.killed
        if not ended and not limit:
            limit = self._limit(code, memory_kills, time.monotonic() - began)
        if not ended and not limit and not sandbox.jail.began(status):
            if code == KILLED:
                # Somebody destroyed the sandbox from elsewhere.
                return self._result(None, output, began)
            words = output.stderr.decode("utf-8", "replace").strip()[-500:]
            raise InfraError(f"The {sandbox.isolation} sandbox could not be entered: {words or 'it says nothing'}")
        if timed_out and time.time() >= sandbox.expires_at:
            timed_out, limit = False, "lifetime"
        ended = ended or (bool(limit) and code in (KILLED, FILE_TOO_LARGE))
        return self._result(None if ended else code, output, began, timed_out=timed_out, limit=limit)

    def _result(
        self, exit_code: int | None, output: Output, began: float, *, timed_out: bool = False, limit: str = ""
    ) -> ExecResult:
        return ExecResult(
            exit_code=exit_code,
            stdout=output.stdout,
            stderr=output.stderr,
            seconds=time.monotonic() - began,
            timed_out=timed_out,
            truncated=output.truncated,
            limit=limit,
        )

    def end(self) -> None:
        """End the command and all its children, at once. Safe to call at any time and again."""
        process = self._process
        if process is None:
            return
        if isinstance(self.sandbox.jail, Plain) and process.poll() is None:
            # The keeper finds what a signal to the group would miss.
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(KEEPER_ENDS_WITHIN_S)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            # Not reaped yet, or its group is gone with it: the number cannot be somebody else's.
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)

    def _start(self, launch: Launch) -> subprocess.Popen[bytes]:
        try:
            self._process = subprocess.Popen(
                launch.argv,
                pass_fds=launch.pass_fds,
                env=outer_env(self.sandbox.plan),
                cwd="/",
                stdin=subprocess.PIPE if self._stdin else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                umask=0o022,
                start_new_session=True,
            )
        except OSError as error:
            raise InfraError(f"The {self.sandbox.isolation} sandbox cannot start a process: {error}.") from error
        if self.killed:
            # Killed between the decision and the start.
            self.end()
        return self._process

    def _follow(self, process: subprocess.Popen[bytes], output: Output, deadline: float, watches: list[Watch]) -> bool:
        """Pass input and output on until the command has ended; False when the deadline came first."""
        with selectors.DefaultSelector() as selector:
            for name in ("stdout", "stderr"):
                stream = getattr(process, name)
                os.set_blocking(stream.fileno(), False)
                selector.register(stream, selectors.EVENT_READ, name)
            if process.stdin:
                os.set_blocking(process.stdin.fileno(), False)
                selector.register(process.stdin, selectors.EVENT_WRITE, "stdin")
            while selector.get_map():
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                for key, _ in selector.select(min(left, LOOK_S)):
                    self._serve(selector, key, output)
                for watch in watches:
                    watch.tick()
                if process.poll() is not None:
                    return True
        return self._wait_for_end(process, deadline, watches)

    def _serve(self, selector: selectors.BaseSelector, key: selectors.SelectorKey, output: Output) -> None:
        stream = key.fileobj
        number = stream if isinstance(stream, int) else stream.fileno()
        if key.data == "stdin":
            try:
                self._stdin = self._stdin[os.write(number, self._stdin[:CHUNK]) :]
            except BlockingIOError:
                return
            except BrokenPipeError:
                self._stdin = memoryview(b"")
            if not self._stdin:
                selector.unregister(stream)
                stream.close()  # type: ignore[union-attr]
            return
        with contextlib.suppress(BlockingIOError):
            if data := os.read(number, CHUNK):
                output.add(key.data, data)
            else:
                selector.unregister(stream)

    def _wait_for_end(self, process: subprocess.Popen[bytes], deadline: float, watches: list[Watch]) -> bool:
        """Wait for a command that has closed its output; False when the deadline came first."""
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            try:
                process.wait(min(left, LOOK_S))
                return True
            except subprocess.TimeoutExpired:
                for watch in watches:
                    watch.tick()

    def _read_rest(self, process: subprocess.Popen[bytes], output: Output) -> None:
        """Take what is still in the pipes."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(LAST_WORDS_S)
        until = time.monotonic() + LAST_WORDS_S
        for name in ("stdout", "stderr"):
            number = getattr(process, name).fileno()
            while time.monotonic() < until:
                try:
                    data = os.read(number, CHUNK)
                except BlockingIOError:
                    break
                if not data:
                    break
                output.add(name, data)

    def _close(self, process: subprocess.Popen[bytes]) -> None:
        """Close the door and the pipes, and reap the process, which has been killed if it had not ended."""
        if self._bridge:
            self._bridge.close()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream:
                stream.close()
        process.wait()

    # The door

    @contextlib.contextmanager
    def _open_door(self):
        """Give the command with what it needs to hand out the door's listening socket, if it has a door."""
        door = self.sandbox.door
        self._ours: socket.socket | None = None
        if door is None or self.sandbox.plan.network != "model-only" or not self.sandbox.jail.has_own_network:
            yield self.inner
            return
        ours, theirs = socket.socketpair()
        with ours, theirs:
            self._ours, self._theirs = ours, theirs
            yield Inner(argv=self.inner.argv, cwd=self.inner.cwd, env=self.inner.env, door=(theirs.fileno(), door.port))

    def _receive_door(self) -> None:
        """Take the listening socket that the command opened inside. A command that failed before simply has none."""
        door = self.sandbox.door
        if self._ours is None or door is None:
            return
        self._theirs.close()
        self._ours.settimeout(10)
        try:
            _, numbers, _, _ = socket.recv_fds(self._ours, 1, 1)
        except OSError as error:
            raise InfraError(f"The sandbox's way to the model relay did not open: {error}.") from error
        if numbers:
            self._bridge = Bridge(socket.socket(fileno=numbers[0]), door)

    # Limits

    def _over_memory(self) -> str:
        process = self._process
        if process is None:
            return ""
        used = proc.memory_bytes(proc.descendants(process.pid))
        return "memory" if used > self.sandbox.plan.limits.memory_mb * 1024 * 1024 else ""

    def _limit(self, code: int | None, memory_kills: int | None, seconds: float) -> str:
        """Return the limit that ended the command, as far as that can be known afterwards."""
        sandbox = self.sandbox
        if code == 0:
            return ""
        now = sandbox.group.memory_kills() if sandbox.group else None
        if memory_kills is not None and now is not None and now > memory_kills:
            return "memory"
        if code == FILE_TOO_LARGE:
            return "disk"
        return sandbox.over_disk() if may_have_filled(sandbox.plan.limits.disk_mb, seconds) else ""


def _available(number: int) -> bytes:
    """Return what a pipe holds now, without waiting for its other end."""
    if number < 0:
        return b""
    os.set_blocking(number, False)
    try:
        return os.read(number, CHUNK)
    except BlockingIOError:
        return b""
