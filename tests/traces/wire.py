"""Makes what the gateway records, with the gateway's own recorder, and rollouts to go with it."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

from traces.proxy.wire.recorder import Exchange, Recorder
from traces.proxy.wire.usage import Tokens

FILES = Path(__file__).parent / "files"
NOON = 1_763_640_000.0  # 2025-11-20 12:00 UTC
_numbers = itertools.count(1)


def sse(*events: dict[str, Any]) -> bytes:
    """Return a stream of events."""
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


def user(said: str) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": said}]}


def say(said: str) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": said}]}


def call(call_id: str, command: str) -> dict[str, Any]:
    return {
        "type": "function_call",
        "name": "exec_command",
        "call_id": call_id,
        "arguments": json.dumps({"cmd": command}),
    }


def output(call_id: str, said: str) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id, "output": said}


def answered(*items: dict[str, Any], response_id: str) -> bytes:
    """Return the stream of an answer of the Responses API."""
    done = [{"type": "response.output_item.done", "item": item} for item in items]
    return sse(*done, {"type": "response.completed", "response": {"id": response_id, "usage": {}}})


def exchange(
    *items: dict[str, Any],
    history: list[dict[str, Any]] | None = None,
    session: str = "thread-1",
    at: float = NOON,
    response_id: str | None = None,
    tokens: tuple[int, int, int] | None = (1000, 200, 50),
    **fields: Any,
) -> Exchange:
    """Return one exchange of the Responses API; `tokens` are input, of it cached, and output."""
    number = next(_numbers)
    response_id = f"resp_{number}" if response_id is None else response_id
    model = fields.pop("model", "gpt-5")
    body = {"model": model, "stream": True, "input": history or [user("Mend it.")]}
    counts = None if tokens is None else Tokens(input=tokens[0], cached=tokens[1], output=tokens[2], cache_write=0)
    defaults: dict[str, Any] = {
        "id": f"exchange-{number}",
        "door": "reverse",
        "method": "POST",
        "url": "http://127.0.0.1:18080/v1/responses",
        "session": session,
        "agent": "codex",
        "client": "codex_exec/0.169.0 (Debian)",
        "provider": "openai",
        "status": 200,
        "model": model,
        "t_start": at,
        "t_first": at + 0.2,
        "t_end": at + 2,
        "request": json.dumps(body).encode(),
        "response": answered(*items, response_id=response_id) if items else b"",
        "is_stream": True,
        "response_id": response_id,
        "tokens": counts,
    }
    return Exchange(**defaults | fields)


def record(path: Path, *exchanges: Exchange, gaps: tuple[dict[str, Any], ...] = ()) -> Path:
    """Write exchanges into the gateway's database at `path`."""
    recorder = Recorder(path)
    for one in exchanges:
        recorder.record(one)
    for gap in gaps:
        recorder.gap(**gap)
    assert recorder.close(10)
    return path


def short_session(session: str = "thread-1", at: float = NOON) -> list[Exchange]:
    """Return a question, a command and a last word: two exchanges."""
    asked, ran = user("Mend it."), call(f"call-{session}", "ls")
    first = exchange(ran, session=session, at=at, history=[asked])
    second = exchange(
        say("Mended."), session=session, at=at + 5, history=[asked, ran, output(f"call-{session}", "a.py\n")]
    )
    return [first, second]


def lines(*documents: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(document).encode() + b"\n" for document in documents)


def rollout(thread: str = "thread-1", *more: dict[str, Any], response_ids: tuple[str, ...] = ()) -> bytes:
    """Return a rollout in which the user asks once, with a usage record for each answer."""
    documents: list[dict[str, Any]] = [
        {
            "timestamp": "2025-11-20T12:00:00Z",
            "type": "session_meta",
            "payload": {"id": thread, "cwd": "/home/dev/shop"},
        },
        {
            "timestamp": "2025-11-20T12:00:00Z",
            "type": "turn_context",
            "payload": {"model": "gpt-5", "cwd": "/home/dev/shop"},
        },
        {"timestamp": "2025-11-20T12:00:00Z", "type": "response_item", "payload": {"id": "m1", **user("Mend it.")}},
    ]
    for number, response_id in enumerate(response_ids):
        documents.append(
            {
                "timestamp": "2025-11-20T12:00:01Z",
                "type": "response_item",
                "payload": {"id": f"s{number}", **say("So.")},
            }
        )
        usage = {"input_tokens": 1000, "cached_input_tokens": 200, "output_tokens": 50}
        documents.append(
            {
                "timestamp": "2025-11-20T12:00:02Z",
                "type": "token_usage_record",
                "payload": {"thread_id": thread, "response_id": response_id, "usage": usage},
            }
        )
    return lines(*documents, *more)


def picture(*, with_ids: bool = False) -> list[Any]:
    """Return all rows of all sessions, without what tells when and in which order of rows they were written."""
    from traces.models import Session

    sessions = []
    for session in Session.objects.order_by("agent", "thread_id"):
        skip = {"id", "created_at", "updated_at", "sources"}
        facts = {f.name: getattr(session, f.attname) for f in Session._meta.concrete_fields if f.name not in skip}
        exchanges = [
            {f.name: getattr(e, f.attname) for f in e._meta.concrete_fields if f.name not in ("id", "session")}
            for e in session.exchanges.order_by("key")
        ]
        for one in exchanges:
            one["request_ref"], one["response_ref"] = bool(one["request_ref"]), bool(one["response_ref"])
        steps = [
            (
                s.source,
                s.position,
                s.key,
                s.turn,
                s.kind,
                s.name,
                s.call_id,
                s.agent_path,
                s.at,
                s.seconds,
                s.preview,
                s.body(),
                s.result(),
                s.result_bytes,
                s.exit_code,
                s.failed,
                s.exchange and s.exchange.key,
                s.meta,
            )
            for s in session.steps.select_related("exchange").order_by("source", "position")
        ]
        sessions.append((facts, exchanges, steps))
    return sessions
