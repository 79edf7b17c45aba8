"""A whole OneShot of its own for a test: `oneshot up` in a scratch directory, driven as a person would drive it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from oneshot.processes import descendants

# Faults shall be noticed within a test's patience.
QUICK = {
    "ONESHOT_HEARTBEAT_S": "0.5",
    "ONESHOT_LEASE_S": "4",
    "ONESHOT_SWEEP_S": "0.5",
    "ONESHOT_RETRY_BASE_S": "0.2",
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 30) -> Any:
    """Return the first true value of `condition`, asked again and again; fail after `seconds` naming `what`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError(f"{what} did not happen within {seconds} s")


def is_alive(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Installation:
    """An installation in `folder`, with its own data, port, Redis and workers."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.data_dir = folder / "var"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        keep = {
            name: value for name, value in os.environ.items() if not name.startswith(("ONESHOT_", "DATABASE", "REDIS"))
        }
        for name in ("ONESHOT_EXTRA_CA",):
            if name in os.environ:
                keep[name] = os.environ[name]
        self.environment = {
            **keep,
            "ONESHOT_DATA_DIR": str(self.data_dir),
            "ONESHOT_SANDBOX": "local",
            # Tests of the gateway switch it on, each with a port of its own.
            "ONESHOT_GATEWAY": "off",
            # Where a person's own commands would look for the installation that was used last.
            "XDG_STATE_HOME": str(folder / "state"),
            **QUICK,
            **environment,
        }
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def database(self) -> Path:
        return self.data_dir / "oneshot.sqlite3"

    def start(self, *options: str, workers: int = 2) -> None:
        """Start `up` and return when it says that it is up."""
        argv = [sys.executable, "-m", "oneshot", "up", "--port", str(self.port), "--workers", str(workers), *options]
        with (self.folder / "up.log").open("wb") as log:
            self.process = subprocess.Popen(
                argv, cwd=self.folder, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )
        wait_for(lambda: "OneShot is up" in self.output() or self.process.poll() is not None, "the start", 60)
        assert self.process.poll() is None, self.output()

    def output(self) -> str:
        return (self.folder / "up.log").read_text(errors="replace")

    def interrupt(self) -> float:
        """Press Ctrl-C, wait for the end, and return how many seconds that took."""
        begun = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        self.process.wait(30)
        return time.monotonic() - begun

    def close(self) -> None:
        """End everything, however the test ended."""
        if self.process is None:
            return
        family = [*descendants(self.process.pid), self.process.pid]
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
        for pid in family:
            if is_alive(pid):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(5)

    def command(self, *args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `oneshot …` to its end."""
        result = subprocess.run(
            [sys.executable, "-m", "oneshot", *args],
            cwd=self.folder,
            env={**self.environment, "ONESHOT_URL": self.url},
            capture_output=True,
            text=True,
            timeout=240,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        assert not check or result.returncode == 0, (
            f"oneshot {' '.join(args)}: {result.returncode}\n{result.stdout}\n{result.stderr}"
        )
        return result

    def json(self, *args: str, check: bool = True) -> Any:
        """Run `oneshot … --json` and return the document."""
        return json.loads(self.command(*args, "--json", check=check).stdout)

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """Return what a query finds in the installation's database."""
        with sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=20) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(query, values)]

    def run_row(self, run_id: str) -> dict[str, Any]:
        return self.rows("SELECT * FROM runs_run WHERE id = ?", run_id.replace("-", ""))[0]

    def wait_for_status(self, run_id: str, *statuses: str, seconds: float = 30) -> dict[str, Any]:
        """Return the row of the run once it is in one of `statuses`."""

        def there() -> dict[str, Any] | None:
            row = self.run_row(run_id)
            return row if row["status"] in statuses else None

        return wait_for(there, f"run {run_id} becoming {' or '.join(statuses)}", seconds)

    def processes(self, word: str) -> list[int]:
        """Return the processes below `up` whose command line contains `word`."""
        found = []
        for pid in descendants(self.process.pid):
            try:
                line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if word in line and is_alive(pid):
                found.append(pid)
        return found

    def sandboxes(self) -> list[Path]:
        """Return the directories of the local sandboxes that exist."""
        folder = self.data_dir / "sandboxes"
        return [path for path in folder.iterdir() if not path.name.startswith(".")] if folder.is_dir() else []


def import_demo_task(installation: Installation, name: str = "log-summary") -> str:
    """Import one of the demo's tasks as a user's own and validate it once; return its slug."""
    from oneshot import demo

    path = demo.write_task(demo.HERE / "tasks" / name, installation.folder / "demo")
    installation.command("import_tasks", str(path))
    installation.command("validate_task", name, "--attempts", "1")
    return name
