"""A session as OpenTelemetry spans in OTLP's JSON, after the semantic conventions for generative AI (1.41).

One `invoke_agent` span for the session and for each sub-agent, a `chat` span for each request, an `execute_tool` span
for each call. Messages are those that were new: the history that every request repeats is not repeated here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import SplitResult, urlsplit

from oneshot import __version__
from traces.exports.rows import arguments_of, body_of, result_of
from traces.models import Exchange, Session, Step

SCHEMA_URL = "https://opentelemetry.io/schemas/1.41.0"
INTERNAL, CLIENT = 1, 3
ERROR = 2
CHUNK = 100
Kind = Step.Kind
_PROVIDERS = {"openai": "openai", "anthropic": "anthropic", "codex": "openai", "claude_code": "anthropic"}


def span_id(session: Session, name: str) -> str:
    """Return the 16 digits of a span: the same for the same row, so that a second export adds nothing new."""
    return hashlib.sha256(f"{session.pk}/{name}".encode()).hexdigest()[:16]


def agent_span(session: Session, path: str = "") -> dict[str, Any]:
    """Return the span of the session, or of the sub-agent at `path`."""
    name = path.rpartition("/")[2] or session.agent or "agent"
    facts: dict[str, Any] = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.provider.name": provider(session.agent),
        "gen_ai.agent.name": name,
        "gen_ai.agent.version": session.agent_version,
        "gen_ai.conversation.id": session.thread_id or str(session.pk),
    }
    if not path:
        facts |= {
            "gen_ai.request.model": next((model for model in session.model_names if isinstance(model, str)), None),
            "gen_ai.usage.input_tokens": session.tokens_input,
            "gen_ai.usage.output_tokens": session.tokens_output,
            "gen_ai.usage.cache_read.input_tokens": session.tokens_cached,
            "gen_ai.usage.cache_creation.input_tokens": session.tokens_cache_write,
            "gen_ai.usage.reasoning.output_tokens": session.tokens_reasoning,
            "oneshot.cost_usd": None if session.cost_usd is None else float(session.cost_usd),
            "oneshot.requests_with_unknown_usage": session.unknown_usage_count or None,
            "oneshot.requests_with_unknown_cost": session.unknown_cost_count or None,
            "vcs.repository.url.full": session.repository,
            "vcs.ref.head.name": session.branch,
            "vcs.ref.head.revision": session.commit,
        }
    found = _span(session, f"agent {path}", f"invoke_agent {name}", INTERNAL, facts)
    if path:
        found["parentSpanId"] = span_id(session, "agent ")
    error = "aborted" if session.ending == "aborted" else "failed" if session.ending == "failed" else ""
    return _timed(found, session.started_at, session.ended_at, "" if path else error)


def chat_span(session: Session, exchange: Exchange, steps: Iterable[Step]) -> dict[str, Any]:
    """Return the span of one request, with what the model answered in `steps`."""
    rows = list(steps)
    place = _place(exchange.url)
    first = exchange.first_byte_at
    facts: dict[str, Any] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": provider(exchange.provider or session.agent),
        "gen_ai.conversation.id": session.thread_id or str(session.pk),
        "gen_ai.request.model": exchange.model,
        "gen_ai.response.model": exchange.model,
        "gen_ai.response.id": exchange.response_id,
        "gen_ai.response.finish_reasons": [exchange.stop_reason] if exchange.stop_reason else None,
        "gen_ai.response.time_to_first_chunk": (
            (first - exchange.started_at).total_seconds() if first and exchange.started_at else None
        ),
        "gen_ai.usage.input_tokens": exchange.tokens_input,
        "gen_ai.usage.output_tokens": exchange.tokens_output,
        "gen_ai.usage.cache_read.input_tokens": exchange.tokens_cached,
        "gen_ai.usage.cache_creation.input_tokens": exchange.tokens_cache_write,
        "gen_ai.usage.reasoning.output_tokens": exchange.tokens_reasoning,
        "gen_ai.output.messages": _output(rows, exchange.stop_reason),
        "server.address": _host(exchange.url),
        "server.port": {"https": 443, "http": 80}.get(place.scheme) if _host(exchange.url) else None,
        "http.response.status_code": exchange.status,
        "oneshot.cost_usd": None if exchange.cost_usd is None else float(exchange.cost_usd),
        "oneshot.retried": True if exchange.retried else None,
    }
    path = rows[0].agent_path if rows else ""
    found = _span(session, f"chat {exchange.pk}", f"chat {exchange.model or 'unknown'}", CLIENT, facts)
    found["parentSpanId"] = span_id(session, f"agent {path}")
    failed = exchange.error or (f"HTTP {exchange.status}" if (exchange.status or 200) >= 400 else "")
    if failed:
        found["attributes"] += attributes({"error.type": str(exchange.status or "_OTHER")})
    return _timed(found, exchange.started_at or session.started_at, exchange.ended_at, failed)


def tool_span(session: Session, step: Step) -> dict[str, Any]:
    """Return the span of one tool call or patch."""
    name = step.name or ("apply_patch" if step.kind == Kind.PATCH else "unknown")
    wrong = bool(step.failed) or bool(step.exit_code)
    facts: dict[str, Any] = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": name,
        "gen_ai.tool.type": "function",
        "gen_ai.tool.call.id": step.call_id,
        "gen_ai.tool.call.arguments": json.dumps(arguments_of(step, body_of(step)), ensure_ascii=False),
        "gen_ai.tool.call.result": result_of(step),
        "gen_ai.conversation.id": session.thread_id or str(session.pk),
        "process.exit.code": step.exit_code,
        "error.type": "tool_error" if wrong else None,
    }
    found = _span(session, f"step {step.position}", f"execute_tool {name}", INTERNAL, facts)
    found["parentSpanId"] = span_id(session, f"agent {step.agent_path}")
    start = step.at or session.started_at
    end = start + timedelta(seconds=step.seconds) if start and step.seconds is not None else start
    return _timed(found, start, end, "The call failed" if wrong else "")


def provider(name: str) -> str:
    """Return the well-known name of a provider, or its own."""
    return next((known for part, known in _PROVIDERS.items() if part in name.lower()), name or "unknown")


def _place(url: str) -> SplitResult:
    """Return the parts of an address; empty ones when it is none, as one that redaction has touched may be."""
    try:
        return urlsplit(url)
    except ValueError:
        return SplitResult("", "", "", "", "")


def _host(url: str) -> str | None:
    return _place(url).hostname


def _output(steps: list[Step], stop_reason: str) -> str | None:
    parts: list[dict[str, Any]] = []
    for step in steps:
        text = body_of(step)
        if step.kind == Kind.ASSISTANT:
            parts.append({"type": "text", "content": text})
        elif step.kind == Kind.REASONING:
            parts.append({"type": "reasoning", "content": text})
        elif step.kind in (Kind.TOOL, Kind.PATCH):
            name = step.name or "apply_patch"
            call = {
                "type": "tool_call",
                "id": step.call_id or None,
                "name": name,
                "arguments": arguments_of(step, text),
            }
            parts.append(call)
    if not parts:
        return None
    reason = stop_reason or "stop"
    return json.dumps([{"role": "assistant", "parts": parts, "finish_reason": reason}], ensure_ascii=False)


def _span(session: Session, key: str, name: str, kind: int, facts: dict[str, Any]) -> dict[str, Any]:
    return {
        "traceId": session.pk.hex,
        "spanId": span_id(session, key),
        "name": name,
        "kind": kind,
        "attributes": attributes(facts),
    }


def _timed(span: dict[str, Any], start: datetime | None, end: datetime | None, error: str) -> dict[str, Any]:
    """Add the times, of which 0 means unknown, and what went wrong."""
    span["startTimeUnixNano"] = _nanoseconds(start)
    span["endTimeUnixNano"] = _nanoseconds(end or start)
    if error:
        span["status"] = {"code": ERROR, "message": error}
    return span


def _nanoseconds(moment: datetime | None) -> str:
    return str(round(moment.timestamp() * 1_000_000) * 1000) if moment else "0"


def attributes(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """Return attributes as OTLP writes them; unknown and empty ones are left out.

    >>> attributes({"a": 1, "b": "x", "c": None, "d": ["y"]})[2]
    {'key': 'd', 'value': {'arrayValue': {'values': [{'stringValue': 'y'}]}}}
    """
    return [{"key": key, "value": _value(value)} for key, value in facts.items() if value is not None and value != ""]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [_value(item) for item in value]}}
    return {"stringValue": str(value)}


def spans(session: Session) -> Iterator[dict[str, Any]]:
    """Yield the spans of a session: agents, requests, calls."""
    yield agent_span(session)
    paths = session.shown_steps().exclude(agent_path="").order_by("agent_path").values_list("agent_path", flat=True)
    for path in paths.distinct():
        yield agent_span(session, path)
    ids = list(session.exchanges.order_by("started_at", "id").values_list("pk", flat=True))
    for start in range(0, len(ids), CHUNK):
        some = ids[start : start + CHUNK]
        answers: dict[int, list[Step]] = {}
        for step in session.shown_steps().filter(exchange__in=some):
            answers.setdefault(step.exchange_id or 0, []).append(step)
        rows = Exchange.objects.in_bulk(some)
        for pk in some:
            if pk in rows:
                yield chat_span(session, rows[pk], answers.get(pk, []))
    for step in session.shown_steps().filter(kind__in=(Kind.TOOL, Kind.PATCH)).iterator(chunk_size=500):
        yield tool_span(session, step)


def stream(session: Session) -> Iterator[str]:
    """Yield the document: resourceSpans with one resource and one scope."""
    resource = {
        "attributes": attributes({"service.name": session.agent or "agent", "service.version": session.agent_version})
    }
    scope = {"name": "oneshot", "version": __version__}
    yield '{"resourceSpans": [{"resource": ' + json.dumps(resource) + ', "scopeSpans": [{"scope": ' + json.dumps(scope)
    yield ', "schemaUrl": ' + json.dumps(SCHEMA_URL) + ', "spans": ['
    for index, span in enumerate(spans(session)):
        yield (",\n" if index else "\n") + json.dumps(span)
    yield "\n]}]}]}\n"
