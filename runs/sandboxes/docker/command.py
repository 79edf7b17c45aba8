"""One command in a container, from its start to what it leaves behind."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from runs.errors import InfraError
from runs.sandboxes import proc
from runs.sandboxes.base import AGENT_UID, HOME, ExecResult, Sink
from runs.sandboxes.docker import engine
from runs.sandboxes.docker.stream import Stream
from runs.sandboxes.output import Output
from runs.sandboxes.watch import Watch, may_have_filled

if TYPE_CHECKING:
    from runs.sandboxes.docker.sandbox import DockerSandbox

# How often a silent or endless stream makes us ask whether the command itself has ended.
LOOK_S = 0.25
LOOK_THROUGH_ENGINE_S = 1.0
# What is still on its way when the command has ended arrives within this.
LAST_WORDS_S = 2.0
DISK_EVERY_S = 2.0
KILLED = 128 + 9
FILE_TOO_LARGE = 128 + 25
NOT_FOUND, NOT_EXECUTABLE = 127, 126
# Older engines report a command that cannot be started as if it had said so itself.
RUNTIME_SAYS = b"OCI runtime exec failed"


class Command:
    """A command that `run` starts and sees to its end."""

    def __init__(
        self,
        sandbox: DockerSandbox,
        argv: Sequence[str],
        cwd: str,
        env: Mapping[str, str],
        stdin: bytes,
        root: bool,
    ) -> None:
        self.sandbox = sandbox
        self.argv = list(argv)
        self.cwd = cwd
        self.root = root
        self.env = {"HOME": "/root" if root else HOME, **env}
        self.stdin = stdin
        self._id = ""
        self._process: proc.Process | None = None
        self._next_look = 0.0

    def run(self, timeout_s: float | None, max_output_bytes: int, sink: Sink | None) -> ExecResult:
        """Return how the command ended. Raises InfraError, and whatever the sink raises after all has been killed."""
        sandbox = self.sandbox
        kills, memory_kills = sandbox.kills, sandbox.memory_kills()
        began = time.monotonic()
        lifetime_left = sandbox.expires_at - time.time()
        deadline = began + min(timeout_s if timeout_s is not None else lifetime_left, lifetime_left)
        output = Output(max_output_bytes, sink)
        if lifetime_left <= 0:
            return self._result(None, output, began, limit="lifetime")
        try:
            stream = self._start()
        except _NotStarted as error:
            return self._not_started(error, began)
        except InfraError:
            if time.time() < sandbox.expires_at:
                raise
            return self._result(None, output, began, limit="lifetime")
        watch = Watch(sandbox.over_limit, sandbox.end_all, every_s=DISK_EVERY_S)
        try:
            timed_out = not self._follow(stream, output, deadline, watch)
            if timed_out:
                sandbox.end_all()
                self._last_words(stream, output)
        except BaseException:
            # The caller's sink gave up (a cancelled run), or the engine did: nothing may go on unseen.
            with contextlib.suppress(InfraError):
                sandbox.end_all()
            raise
        finally:
            watch.close()
            stream.close()
        seconds = time.monotonic() - began
        killed = timed_out or watch.hit or sandbox.destroyed or sandbox.kills != kills
        exit_code = None if killed else self._exit_code()
        if exit_code in (NOT_FOUND, NOT_EXECUTABLE) and output.stdout.startswith(RUNTIME_SAYS):
            return self._not_started(_failure(output.stdout.decode("utf-8", "replace")), began)
        told = sandbox.end_leftovers()
        limit = watch.hit or self._limit(exit_code, memory_kills, told, seconds)
        if timed_out and time.time() >= sandbox.expires_at:
            timed_out, limit = False, "lifetime"
        if limit and exit_code in (KILLED, FILE_TOO_LARGE):
            exit_code = None
        return self._result(exit_code, output, began, timed_out=timed_out, limit=limit)

    def errand(self, timeout_s: float) -> bytes | None:
        """Run the sandbox's own short command, which starts no other; return its output, or None if it failed."""
        until = time.monotonic() + timeout_s
        output = Output(100_000, None)
        try:
            stream = self._start()
        except (InfraError, _NotStarted):
            return None
        try:
            self._last_words(stream, output, timeout_s)
        finally:
            stream.close()
        return output.stdout if time.monotonic() < until and self._exit_code() == 0 else None

    def _start(self) -> Stream:
        """Start the command. Raises _NotStarted when it cannot be executed, else InfraError."""
        client = engine.client()
        user = "0:0" if self.root else f"{AGENT_UID}:{AGENT_UID}"
        argv = self.argv
        if self.stdin and client.base_url.startswith("https://"):
            # TLS cannot tell the end of stdin, so the command is told how much to expect.
            argv = ["sh", "-c", f'head -c {len(self.stdin)} | "$@"', "stdin", *argv]
        with engine.errors("The sandbox cannot run a command"):
            made = client.exec_create(
                self.sandbox.id,
                argv,
                stdin=bool(self.stdin),
                user=user,
                environment=dict(self.env),
                workdir=self.cwd,
            )
            self._id = made["Id"]
            # Not through exec_start: its socket loses what arrives together with the answer's header.
            response = client.post(
                f"{client.base_url}/v{client.api_version}/exec/{self._id}/start",
                json={"Tty": False, "Detach": False},
                headers={"Connection": "Upgrade", "Upgrade": "tcp"},
                stream=True,
                timeout=client.timeout,
            )
        if response.status_code >= 400:
            text = response.text
            response.close()
            raise _failure(text)
        stream = Stream(response)
        if self.stdin:
            stream.send(self.stdin)
        return stream

    def _follow(self, stream: Stream, output: Output, deadline: float, watch: Watch) -> bool:
        """Pass the output on until the command has ended; False when the deadline came first."""
        self._next_look = time.monotonic() + LOOK_S
        while True:
            now = time.monotonic()
            if now >= deadline:
                return False
            watch.tick()
            try:
                pieces = stream.read(min(deadline, self._next_look) - now)
            except OSError as error:
                raise InfraError(f"The connection to the sandbox broke: {error}.") from error
            if pieces is None:
                return self._wait_for_end(deadline, watch)
            for name, data in pieces:
                output.add(name, data)
            if time.monotonic() >= self._next_look and self._has_ended():
                # A child in the background holds the output open; it goes, and its last words are taken.
                self.sandbox.end_leftovers()
                self._last_words(stream, output)
                return True

    def _wait_for_end(self, deadline: float, watch: Watch) -> bool:
        """Wait for a command that has closed its output but may still run; False when the deadline came first."""
        pause = 0.002
        while self._is_running():
            if time.monotonic() >= deadline:
                return False
            watch.tick()
            time.sleep(min(pause, max(0.0, deadline - time.monotonic())))
            pause = min(pause * 1.5, LOOK_S)
        return True

    def _last_words(self, stream: Stream, output: Output, within_s: float = LAST_WORDS_S) -> None:
        until = time.monotonic() + within_s
        with contextlib.suppress(OSError):
            while (left := until - time.monotonic()) > 0:
                pieces = stream.read(left)
                if pieces is None:
                    return
                for name, data in pieces:
                    output.add(name, data)

    def _has_ended(self) -> bool:
        """Return whether the command's own process is gone, by looking at /proc where that shows it."""
        self._next_look = time.monotonic() + LOOK_S
        if self._process:
            current = proc.process(self._process.pid)
            return current is None or current.started != self._process.started
        status = self._inspect()
        if not status or not status["Running"]:
            return True
        if self.sandbox.view and status.get("Pid"):
            self._process = proc.process(status["Pid"])
        else:
            self._next_look = time.monotonic() + LOOK_THROUGH_ENGINE_S
        return False

    def _inspect(self) -> dict[str, Any] | None:
        """Return the engine's word on the command, or None when the container is gone."""
        try:
            with engine.errors("The sandbox's command cannot be looked at"):
                return engine.client().exec_inspect(self._id)
        except engine.Gone:
            return None

    def _is_running(self) -> bool:
        status = self._inspect()
        return bool(status and status["Running"])

    def _exit_code(self) -> int | None:
        """Return the exit status, or None when the container itself ended or was destroyed."""
        until = time.monotonic() + LAST_WORDS_S
        # The engine may take a moment to note what it has seen.
        while (status := self._inspect()) and status["Running"] and time.monotonic() < until:
            time.sleep(0.005)
        if not status or status["ExitCode"] is None:
            return None
        code = int(status["ExitCode"])
        if code == KILLED and not self._container_runs():
            return None
        return code

    def _container_runs(self) -> bool:
        try:
            with engine.errors("The sandbox's container cannot be looked at"):
                return bool(engine.client().inspect_container(self.sandbox.id)["State"]["Running"])
        except engine.Gone:
            return False

    def _limit(self, exit_code: int | None, before: int | None, told: int | None, seconds: float) -> str:
        """Return the limit that ended the command, as far as that can be known afterwards."""
        sandbox = self.sandbox
        if sandbox.destroyed or exit_code == 0:
            return ""
        if exit_code is None and time.time() >= sandbox.expires_at:
            return "lifetime"
        if before is None:
            before, now = sandbox.told_memory_kills, told
            sandbox.told_memory_kills = max(before, told or 0)
        else:
            now = sandbox.memory_kills()
        if now is not None and now > before:
            return "memory"
        if exit_code == FILE_TOO_LARGE or may_have_filled(sandbox.spec.limits.disk_mb, seconds):
            with contextlib.suppress(InfraError):
                return "disk" if exit_code == FILE_TOO_LARGE else sandbox.over_limit()
        return ""

    def _not_started(self, error: Exception, began: float) -> ExecResult:
        """Answer as a shell would for a command that is not there. Raises InfraError for any other failure."""
        if not isinstance(error, _NotStarted):
            raise error
        output = Output(10_000, None)
        output.add("stderr", str(error).strip().encode() + b"\n")
        return self._result(error.exit_code, output, began)

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


class _NotStarted(Exception):
    """The command itself cannot be executed: it is not there, or not executable, or its directory is missing."""

    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code


def _failure(text: str) -> _NotStarted | InfraError:
    """Return what the engine's words on a start that failed mean: the command's fault, or the sandbox's."""
    if "executable file not found" in text or "no such file or directory" in text:
        return _NotStarted(text, NOT_FOUND)
    if "permission denied" in text or "not a directory" in text or "exec format error" in text:
        return _NotStarted(text, NOT_EXECUTABLE)
    return InfraError(f"The sandbox cannot run a command: {text.strip()}")
