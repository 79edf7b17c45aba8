"""A sandbox that is a copied directory and plain processes: enough to grade in, and fast. It isolates nothing."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from runs.sandboxes.base import HOME, WORKDIR, ExecResult, SandboxSpec


class PlainSandbox:
    isolation = "none"

    def __init__(self, image: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="oneshot-plain-"))
        self.id = self.folder.name
        shutil.copytree(Path(image) / "work", self.folder / "work", symlinks=True)
        (self.folder / "home").mkdir()
        self.workdir = str(self.folder / "work")
        self.home = str(self.folder / "home")
        self.base_git = str(Path(image) / "base.git")
        self._running: list[subprocess.Popen] = []

    def path(self, path: str) -> str:
        return path.replace(HOME, self.home).replace(WORKDIR, self.workdir)

    def exec(
        self,
        argv: Sequence[str],
        *,
        cwd=None,
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        timeout_s: float | None = None,
        max_output_bytes: int = 10_000_000,
        sink=None,
        root: bool = False,
    ) -> ExecResult:
        plain = {"PATH": os.environ["PATH"], "HOME": self.home, "LANG": "C.UTF-8"}
        if (rustup := Path.home() / ".rustup").is_dir():
            plain["RUSTUP_HOME"] = str(rustup)
        process = subprocess.Popen(
            list(argv),
            cwd=cwd or self.workdir,
            env={**plain, **(env or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._running.append(process)
        pieces: dict[str, list[bytes]] = {"stdout": [], "stderr": []}

        def read(name: str, pipe) -> None:
            while data := os.read(pipe.fileno(), 65536):
                pieces[name].append(data)
                if sink:
                    sink(name, data)

        threads = [
            threading.Thread(target=read, args=(name, getattr(process, name)), daemon=True)
            for name in ("stdout", "stderr")
        ]
        for thread in threads:
            thread.start()
        process.stdin.write(stdin)
        process.stdin.close()
        timed_out = False
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            timed_out = True
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for thread in threads:
            thread.join(2)
        return ExecResult(
            exit_code=None if timed_out else process.returncode,
            stdout=b"".join(pieces["stdout"]),
            stderr=b"".join(pieces["stderr"]),
            seconds=0.0,
            timed_out=timed_out,
        )

    def put(self, path: str, data: bytes, *, mode: int = 0o644) -> None:
        target = Path(self.path(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)

    def put_tree(self, path: str, files: Mapping[str, bytes]) -> None:
        for name, data in files.items():
            self.put(f"{path}/{name}", data)

    def kill(self) -> None:
        for process in self._running:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)

    def destroy(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class PlainProvider:
    name = "plain"

    def create(self, spec: SandboxSpec) -> PlainSandbox:
        return PlainSandbox(spec.image)
