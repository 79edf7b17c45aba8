"""The least that an agent needs of a sandbox: a directory and processes. For tests of agents, not of sandboxes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from runs.sandboxes.base import ExecResult, Sink


class PlainSandbox:
    """Runs commands below a directory of its own; `workdir` is a git repository with one commit."""

    id = "plain"
    isolation = "none"

    def __init__(self, root: Path, files: Mapping[str, str]) -> None:
        self.home, self.workdir = str(root / "home"), str(root / "work")
        Path(self.home).mkdir()
        for name, text in files.items():
            path = Path(self.workdir, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        for line in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "base"]):
            git = ["git", "-c", "user.name=base", "-c", "user.email=base@localhost"]
            subprocess.run([*git, *line], cwd=self.workdir, check=True)
        self.base_git = f"{self.workdir}/.git"
        self._running: list[subprocess.Popen[bytes]] = []

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
        started = time.monotonic()
        process = subprocess.Popen(
            argv,
            cwd=cwd or self.workdir,
            env={"PATH": os.environ["PATH"], "HOME": self.home, "LANG": "C.UTF-8", **(env or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        output: dict[str, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}

        def read(name: str) -> None:
            stream = getattr(process, name)
            while data := stream.read1(65536):
                output[name] += data
                if sink:
                    sink(name, data)

        readers = [threading.Thread(target=read, args=(name,)) for name in output]
        for reader in readers:
            reader.start()
        with contextlib.suppress(BrokenPipeError), process.stdin:
            process.stdin.write(stdin)
        timed_out = False
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            timed_out = True
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for reader in readers:
            reader.join()
        return ExecResult(
            exit_code=None if timed_out else process.returncode,
            stdout=bytes(output["stdout"][:max_output_bytes]),
            stderr=bytes(output["stderr"][:max_output_bytes]),
            seconds=time.monotonic() - started,
            timed_out=timed_out,
        )

    def put(self, path: str, data: bytes, *, mode: int = 0o644) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(data)
        Path(path).chmod(mode)

    def put_tree(self, path: str, files: Mapping[str, bytes]) -> None:
        for name, data in files.items():
            self.put(f"{path}/{name}", data)

    def get(self, path: str, *, max_bytes: int = 50_000_000) -> bytes:
        return Path(path).read_bytes()[:max_bytes]

    def kill(self) -> None:
        """Nothing runs between two calls."""

    def destroy(self) -> None:
        """The test's directory goes with the test."""

    def diff(self) -> str:
        """Return what was changed, new files included."""
        subprocess.run(["git", "add", "-A"], cwd=self.workdir, check=True)
        done = subprocess.run(["git", "diff", "--cached"], cwd=self.workdir, check=True, capture_output=True, text=True)
        return done.stdout
