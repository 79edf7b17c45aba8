"""The MCP server as an agent has it: a process, asked by lines of JSON."""

from __future__ import annotations

import json
import os
import queue
import shutil
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

SERVER = [sys.executable, "-P", "-m", "oneshot", "capture", "mcp"]


def environment(data_dir: Path, home: Path, **more: str) -> dict[str, str]:
    """Return the environment of a process that works for the installation in `data_dir`."""
    dropped = ("ONESHOT_", "DATABASE", "REDIS", "CODEX", "CLAUDE", "OPENAI", "ANTHROPIC", "XDG_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        kept.pop(name, None)
    return {**kept, "HOME": str(home), "ONESHOT_DATA_DIR": str(data_dir), **more}


def fresh_data_dir(parent: Path, database: Path) -> Path:
    """Return a data directory of its own, with a copy of this database."""
    folder = parent / "var"
    folder.mkdir(mode=0o700)
    shutil.copy(database, folder / "oneshot.sqlite3")
    return folder


def rows(data_dir: Path, query: str) -> list[dict[str, Any]]:
    with sqlite3.connect(f"file:{data_dir / 'oneshot.sqlite3'}?mode=ro", uri=True, timeout=20) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(query)]


class Speaker:
    """A client that speaks line by line; `lines` are all that the server said."""

    def __init__(self, data_dir: Path, cwd: Path, **env: str) -> None:
        self.process = subprocess.Popen(
            SERVER,
            cwd=cwd,
            env=environment(data_dir, data_dir.parent, **env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.lines: list[bytes] = []
        self.greeting: dict[str, Any] = {}
        self._queue: queue.Queue[bytes] = queue.Queue()
        self._number = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.append(line)
            self._queue.put(line)

    def send(self, message: dict[str, Any] | bytes) -> None:
        assert self.process.stdin
        self.process.stdin.write(message if isinstance(message, bytes) else json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def request(self, method: str, params: dict[str, Any] | None = None) -> int:
        """Send a request without waiting, and return its id."""
        self._number += 1
        self.send({"jsonrpc": "2.0", "id": self._number, "method": method, "params": params or {}})
        return self._number

    def answer(self, number: int, seconds: float = 60) -> dict[str, Any]:
        """Return the answer to the request, dropping what came before it."""
        while True:
            message = json.loads(self._queue.get(timeout=seconds))
            if message.get("id") == number and "method" not in message:
                return message

    def ask(self, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        return self.answer(self.request(method, params))

    def hello(self, name: str = "lab", version: str = "2024-11-05") -> dict[str, Any]:
        params = {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": name, "version": "0"}}
        answer = self.ask("initialize", params)
        self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return answer

    def call(self, tool: str, arguments: dict[str, Any] | None = None, meta: dict[str, Any] | None = None) -> Any:
        """Call a tool and return its result."""
        params: dict[str, Any] = {"name": tool, "arguments": arguments or {}}
        if meta:
            params["_meta"] = meta
        return self.ask("tools/call", params)["result"]

    def hang_up(self) -> int:
        """Close the server's input and return its exit status."""
        assert self.process.stdin
        self.process.stdin.close()
        status = self.process.wait(60)
        self._reader.join(10)
        return status

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe:
                pipe.close()


def said(result: dict[str, Any]) -> dict[str, Any]:
    """Return what a tool said; as text and as structure it is the same."""
    document = json.loads(result["content"][0]["text"])
    assert result["structuredContent"] == document
    return document
