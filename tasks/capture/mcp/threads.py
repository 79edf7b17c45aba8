"""Finds the session that a call of Claude Code comes from. It sends no session's id along, only that of the call."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

RECENT_S = 120
TAIL_BYTES = 262_144
MOST_FILES = 20
_SESSION = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def claude_session(tool_use_id: str) -> str:
    """Return the id of the session whose transcript has this call; else the one that the server was started with.

    They differ after /clear, which begins a new session with the same servers. "" when neither is known.
    """
    started_with = os.environ.get("CLAUDE_CODE_SESSION_ID", "")
    if not re.fullmatch(r"[\w-]{4,100}", tool_use_id):
        return started_with
    home = Path(os.environ.get("CLAUDE_CONFIG_DIR") or Path.home() / ".claude")
    needle = tool_use_id.encode()
    found = [path.stem for path in _recent(home / "projects") if needle in _tail(path)]
    return found[0] if len(found) == 1 else started_with


def _recent(folder: Path) -> list[Path]:
    """Return the transcripts that were written to just now, newest first."""
    dated = []
    for path in folder.glob("*/*.jsonl"):
        try:
            written = path.stat().st_mtime
        except OSError:
            continue
        if _SESSION.fullmatch(path.stem) and time.time() - written < RECENT_S:
            dated.append((written, path))
    return [path for _, path in sorted(dated, reverse=True)[:MOST_FILES]]


def _tail(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            return file.read(TAIL_BYTES)
    except OSError:
        return b""
