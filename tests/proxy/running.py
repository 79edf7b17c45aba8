"""A gateway of its own for a test: the real command, the real mitmproxy, its own data directory and port."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from oneshot.processes import descendants
from tests.installation import free_port, is_alive, wait_for

# One for all processes of all test runs: making it takes seconds and 80 MB.
ENV_DIR = Path(os.environ.get("ONESHOT_TEST_GATEWAY_ENV", Path(tempfile.gettempdir()) / "oneshot-test-gateway"))


def environment_problem() -> str:
    """Make mitmproxy's environment where it is not made yet. Return why it cannot be, or ""."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-m", "oneshot", "proxy", "--install"],
            env={**os.environ, "ONESHOT_GATEWAY_ENV_DIR": str(ENV_DIR), "ONESHOT_DATA_DIR": folder},
            cwd=folder,
            capture_output=True,
            text=True,
        )
    return done.stderr.strip()[-300:] if done.returncode else ""


class RunningGateway:
    """`oneshot proxy` in a folder of its own. `key` and others are set in its environment."""

    def __init__(self, folder: Path, providers: dict[str, str], **environment: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.data_dir = folder / "var"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.database = self.data_dir / "proxy" / "proxy.sqlite3"
        self.ca = self.data_dir / "proxy" / "ca" / "mitmproxy-ca-cert.pem"
        file = folder / "providers.toml"
        file.write_text("[providers]\n" + "".join(f'[providers.{n}]\nbase_url = "{u}"\n' for n, u in providers.items()))
        keep = {k: v for k, v in os.environ.items() if not k.startswith("ONESHOT_") and not k.lower().endswith("proxy")}
        self.environment = {
            **keep,
            "ONESHOT_DATA_DIR": str(self.data_dir),
            "ONESHOT_GATEWAY_ENV_DIR": str(ENV_DIR),
            "ONESHOT_PROVIDERS_FILE": str(file),
            **environment,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        """Start it and wait until it answers."""
        argv = [sys.executable, "-m", "oneshot", "proxy", "--port", str(self.port), *options]
        with (self.folder / "proxy.log").open("ab") as log:
            self.process = subprocess.Popen(argv, cwd=self.folder, env=self.environment, stdout=log, stderr=log)
        wait_for(
            lambda: (self.health() and self.database.exists()) or self.process.poll() is not None,
            "the gateway's start",
            60,
        )
        assert self.process.poll() is None, self.log()

    def close(self) -> None:
        """End it as Ctrl-C does, and whatever is left by force."""
        family = [*descendants(self.process.pid), self.process.pid]
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(15)
        for pid in family:
            if is_alive(pid):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(5)

    def log(self) -> str:
        paths = [self.folder / "proxy.log", self.data_dir / "proxy" / "gateway.log"]
        return "\n".join(path.read_text(errors="replace") for path in paths if path.exists())

    @property
    def pid(self) -> int:
        """Of mitmproxy itself."""
        return self.health()["pid"]

    def ask(
        self, path: str, body: bytes | None = None, *, headers: dict[str, str] | None = None, method: str = ""
    ) -> tuple[int, bytes]:
        """Send one request to a path, or an absolute URL through the forward door; return status and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method or ("GET" if body is None else "POST"), path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def health(self) -> dict[str, Any] | None:
        try:
            status, body = self.ask("/health")
        except (OSError, http.client.HTTPException):
            return None
        return json.loads(body) if status == 200 else None

    def rows(self, sql: str = "SELECT * FROM exchange ORDER BY seq", *args: Any) -> list[sqlite3.Row]:
        """Return rows as they are now; none while the database is not there yet."""
        try:
            with contextlib.closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=20)) as db:
                db.row_factory = sqlite3.Row
                return db.execute(sql, args).fetchall()
        except sqlite3.OperationalError:
            return []

    def wait_for_rows(self, count: int, seconds: float = 15) -> list[sqlite3.Row]:
        """Return the exchanges once there are so many."""
        return wait_for(lambda: (rows := self.rows()) and len(rows) >= count and rows, f"{count} exchanges", seconds)

    def wait_for_session(self, session: str, count: int = 1, seconds: float = 15) -> list[sqlite3.Row]:
        """Return the exchanges of one session once there are so many."""
        sql = "SELECT * FROM exchange WHERE session = ? ORDER BY seq"
        return wait_for(
            lambda: (rows := self.rows(sql, session)) and len(rows) >= count and rows, f"{count} exchanges", seconds
        )

    def messages(self, row: sqlite3.Row) -> list[Any]:
        """Return the messages of a request, as stored."""
        stored = {found["hash"]: found["body"] for found in self.rows("SELECT * FROM message")}
        return [json.loads(zlib.decompress(stored[key])) for key in json.loads(row["request_messages"])]

    def kept_bytes(self) -> bytes:
        """Return every byte that it has written, unpacked where it is packed."""
        found = [p.read_bytes() for p in self.data_dir.rglob("*") if p.is_file() and "/ca/" not in str(p)]
        found.append(self.log().encode())
        for table, columns in (("exchange", ("request_head", "response_body")), ("message", ("body",))):
            for row in self.rows(f"SELECT * FROM {table}"):
                found += [zlib.decompress(row[column]) for column in columns if row[column]]
        return b"\n".join(found)


@contextmanager
def running_gateway(
    folder: Path, providers: dict[str, str], *options: str, **environment: str
) -> Iterator[RunningGateway]:
    """Run a gateway for as long as the block lasts."""
    gateway = RunningGateway(folder, providers, **environment)
    try:
        gateway.start(*options)
        yield gateway
    finally:
        gateway.close()


def text_of(row: sqlite3.Row, column: str = "response_body") -> str:
    """Return a packed column's text."""
    return zlib.decompress(row[column]).decode()
