"""The trace of a task's session, in the original's form and as a trajectory (ATIF)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tasks.exporting.places import put
from tasks.models import TaskVersion
from traces import bodies
from traces.exports import atif
from traces.models import Exchange, Session

# A request repeats the whole conversation so far; the sum of them grows with its square.
MAX_TRACE_BYTES = 50_000_000


def write_trace(version: TaskVersion, directory: Path) -> None:
    """Write trace/session_id.txt and trace/session_clean.json, and trace/trajectory.json when there is a session."""
    session = version.task.session
    known = session.thread_id or str(session.id) if session else str(version.provenance.get("thread_id") or "")
    put(directory, "trace/session_id.txt", known or version.task.slug)
    document: dict[str, Any] = {"session_id": known, "traces": [], "count": 0}
    if session is None:
        document["note"] = "The task was not captured from a session that is known."
    else:
        document["traces"] = list(_rows(session))
        document["count"] = len(document["traces"])
        _stream(session, directory / "trace" / "trajectory.json")
    put(directory, "trace/session_clean.json", json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def _stream(session: Session, file: Path) -> None:
    with file.open("x", encoding="utf-8", errors="replace") as handle:
        handle.writelines(atif.stream(session))


def _rows(session: Session) -> Iterator[dict[str, Any]]:
    room = MAX_TRACE_BYTES
    for exchange in session.exchanges.all():
        row: dict[str, Any] = {
            "ts_ms": int(exchange.started_at.timestamp() * 1000) if exchange.started_at else None,
            "method": exchange.method,
            "url": exchange.url,
            "status": exchange.status,
        }
        request, response = _request(exchange), _json(_text(exchange.response_ref))
        size = len(json.dumps(request)) + len(json.dumps(response))
        if size > room:
            yield {**row, "omitted": "It is left out here, because the whole would be too large."}
            continue
        room -= size
        yield {**row, "request": request, "response": response}


def _request(exchange: Exchange) -> Any:
    """Return a request with its messages in place."""
    document = _json(_text(exchange.request_ref))
    if not isinstance(document, dict) or not isinstance(document.get("messages"), list):
        return document
    head = document.get("head")
    messages = [_json(_text(reference)) for reference in document["messages"] if isinstance(reference, str)]
    if not isinstance(head, dict):
        return {"messages": messages}
    # The Responses API calls its list input.
    return {**head, "input" if exchange.url.partition("?")[0].endswith("/responses") else "messages": messages}


def _text(reference: str) -> str:
    if not reference:
        return ""
    try:
        return bodies.read_text(reference)
    except (bodies.BadReference, FileNotFoundError):
        return ""


def _json(text: str) -> Any:
    """Return the document, or the text as the original keeps what is no JSON."""
    if not text:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return {"_raw": text}
