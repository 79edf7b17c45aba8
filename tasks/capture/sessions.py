"""Finds and imports the session that a capture's work was done in."""

from __future__ import annotations

import logging
import stat
from collections.abc import Iterator
from pathlib import Path

from tasks.models import Capture
from traces.models import Session
from traces.redaction import redact

log = logging.getLogger(__name__)

# Transcripts that were written to since the start; the newest are looked into.
MOST_TRANSCRIPTS = 50
MOST_BYTES = 200_000_000
PIECE = 1 << 20


def session_of(capture: Capture) -> tuple[Session | None, list[str]]:
    """Import the session as far as it has been written; return it or None, and in sentences what went wrong.

    An agent that does not say its thread is found by the answer to its start, which stands in the transcript; the
    capture's agent and thread are filled in then.
    """
    # Reading traces takes much code that a start does not need.
    from traces.importing import import_thread

    if not capture.thread_id and (found := _thread_with(capture)):
        capture.agent, capture.thread_id = found
    if not capture.thread_id or not capture.agent:
        return None, ["The agent did not say which session it is, so that no trace is attached."]
    try:
        session = import_thread(agent=capture.agent, thread_id=capture.thread_id, team=capture.team, user=capture.user)
    except Exception as error:  # whatever is wrong with a trace, the work itself is kept
        log.exception("The session %s of %s could not be imported", capture.thread_id, capture.slug)
        return None, [redact(f"The session's trace could not be read: {error}. Import it with import_traces.")]
    if session is None:
        where = "neither with the gateway nor as a transcript"
        return None, [f"No trace of the session {capture.thread_id} was found, {where}."]
    return session, []


def _thread_with(capture: Capture) -> tuple[str, str] | None:
    """Return (agent, thread id) of the one transcript that names the capture's start commit, None for any other number.

    That commit was made for this capture alone and told to nobody but its agent.
    """
    if capture.detail["client"].get("name") == "command line":
        return None
    needle = capture.start_commit.encode()
    found = {thread for path, thread in _recent(capture) if _holds(path, needle)}
    return found.pop() if len(found) == 1 else None


def _recent(capture: Capture) -> Iterator[tuple[Path, tuple[str, str]]]:
    from traces.importing.finding import THREAD_ID, claude_homes, codex_homes

    since = capture.started_at.timestamp()
    rows = []
    places = (("claude_code", claude_homes(), "*/*.jsonl"), ("codex", codex_homes(), "*/*/*/*.jsonl"))
    for agent, homes, pattern in places:
        if capture.agent not in ("", agent):
            continue
        for path in (path for home in homes for path in home.glob(pattern)):
            thread = path.stem if agent == "claude_code" else path.stem[-36:]
            try:
                facts = path.lstat()
            except OSError:
                continue  # it went while we looked
            if stat.S_ISREG(facts.st_mode) and facts.st_mtime >= since and THREAD_ID.fullmatch(thread):
                rows.append((facts.st_mtime, path, (agent, thread)))
    rows.sort(reverse=True)
    yield from ((path, thread) for _, path, thread in rows[:MOST_TRANSCRIPTS])


def _holds(path: Path, needle: bytes) -> bool:
    """Return whether a file has these bytes within its first MOST_BYTES; False when it cannot be read."""
    before = b""
    try:
        with path.open("rb") as file:
            for _ in range(MOST_BYTES // PIECE):
                piece = file.read(PIECE)
                if needle in before + piece:
                    return True
                if not piece:
                    return False
                before = piece[-len(needle) :]
    except OSError:
        return False
    return False
