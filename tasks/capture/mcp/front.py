"""Stands between the client and the SDK: answers the first questions at once, while the SDK is still being imported.

Agents give a server about a second for its first answers, and the SDK alone takes that long to import. What it will
say to `initialize` and `tools/list` is known beforehand; every line still goes to the SDK, whose own answers to the
questions that were answered here are dropped. Standard library only.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import IO, Any

from oneshot import __version__
from tasks.capture.mcp import log, tools

# As in the SDK's mcp_types.version; a test holds these together.
HANDSHAKES = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")


def main(data_dir: Path, worktree: Path) -> int:
    """Serve MCP on standard input and output until the client hangs up; return the exit status."""
    log.open_log(data_dir)
    questions, answers = _take_the_wire()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _hang_up)
    front = Front(answers)
    reader, writer = os.pipe()
    to_sdk = os.fdopen(writer, "wb", buffering=0)
    sdk = threading.Thread(target=_run_sdk, args=(reader, front, worktree), name="mcp-sdk", daemon=True)
    log.write(f"start in {worktree}")
    sdk.start()
    try:
        for line in questions:
            front.hear(line)
            to_sdk.write(line)
    except (_HangUp, BrokenPipeError):
        log.write("asked to stop")
    to_sdk.close()
    # A call that runs is finished: its work is whole or not there at all, and the client may come back for it.
    if front.calls_were_heard or front.sdk_is_up.is_set():
        sdk.join()
    log.write("end")
    # Imports may still run in the background; nothing of them is worth waiting for.
    os._exit(0)


class Front:
    """Answers early questions and passes on what the SDK writes, one line at a time."""

    def __init__(self, answers: IO[bytes]) -> None:
        self._answers = answers
        self._lock = threading.Lock()
        self._answered: set[str] = set()
        self.sdk_is_up = threading.Event()
        self.calls_were_heard = False

    def hear(self, line: bytes) -> None:
        """Look at a line of the client, and answer it if it is one of the known first questions."""
        if self.sdk_is_up.is_set() and self.calls_were_heard:
            return
        try:
            message = json.loads(line)
        except ValueError:
            return
        if not isinstance(message, dict):
            return
        method, key = message.get("method"), message.get("id")
        if method == "tools/call":
            self.calls_were_heard = True
        if isinstance(key, bool) or not isinstance(key, int | str):
            return
        result = None
        if method == "initialize":
            result = _initialized(message.get("params"))
        elif method == "tools/list" and not _is_modern(message.get("params")):
            result = {"tools": tools.TOOLS}
        if result is None:
            return
        with self._lock:
            if self.sdk_is_up.is_set():
                return
            self._answered.add(json.dumps(key))
            self._send(json.dumps({"jsonrpc": "2.0", "id": key, "result": result}).encode() + b"\n")

    def pass_on(self, text: str) -> None:
        """Send a line of the SDK, unless it answers what was answered already."""
        with self._lock:
            if self._answered:
                message = json.loads(text)
                key = json.dumps(message.get("id"))
                if "method" not in message and key in self._answered:
                    self._answered.discard(key)
                    return
            self._send(text.encode("utf-8", "replace"))

    def _send(self, data: bytes) -> None:
        try:
            self._answers.write(data)
            self._answers.flush()
        except OSError:
            # The client has gone. What runs is still finished.
            log.write("the client no longer listens")


class _HangUp(BaseException):
    """SIGTERM: as if the client had closed its end."""


def _hang_up(*_: Any) -> None:
    # Once only: the second signal must not break off the work that is being finished.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise _HangUp


def _take_the_wire() -> tuple[IO[bytes], IO[bytes]]:
    """Keep the client's two pipes for the protocol alone.

    Whatever else reads or prints in this process or its children meets an empty input, and the log.
    """
    questions, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    os.dup2(log.descriptor(), 1)
    return questions, answers


def _initialized(params: Any) -> dict[str, Any] | None:
    """Return what the SDK answers to `initialize`; None for one that it would refuse."""
    if not isinstance(params, dict) or not isinstance(params.get("clientInfo"), dict):
        return None
    asked = params.get("protocolVersion")
    return {
        "protocolVersion": asked if asked in HANDSHAKES else HANDSHAKES[-1],
        "capabilities": {"tools": {"listChanged": False}},
        "serverInfo": {"name": tools.NAME, "version": __version__},
        "instructions": tools.INSTRUCTIONS,
    }


def _is_modern(params: Any) -> bool:
    """Return whether a request carries its protocol version itself; only the SDK knows how to answer those."""
    meta = params.get("_meta") if isinstance(params, dict) else None
    return isinstance(meta, dict) and any("protocolVersion" in str(name) for name in meta)


def _run_sdk(reader: int, front: Front, worktree: Path) -> None:
    try:
        from tasks.capture.mcp import server

        server.serve(reader, front, worktree)
    except BaseException:  # noqa: BLE001 - it is in a thread, and nobody else would end the process
        log.write(f"the server failed:\n{traceback.format_exc()}")
        print("oneshot: the MCP server failed; see logs/mcp.log in OneShot's data directory", file=sys.stderr)  # noqa: T201
        os._exit(1)
