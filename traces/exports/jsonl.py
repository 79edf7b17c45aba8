"""A session as JSON lines: one step per line, with whole texts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from traces.exports.rows import body_of, iso, result_of, steps_of
from traces.models import Exchange, Session, Step


def line(step: Step, *, with_usage: bool) -> dict[str, Any]:
    """Return one step. Its exchange's usage is given once, `with_usage`; an unknown is null."""
    return {
        "step": step.position,
        "turn": step.turn,
        "kind": step.kind,
        "name": step.name,
        "call_id": step.call_id,
        "sub_agent": step.agent_path,
        "at": iso(step.at),
        "seconds": step.seconds,
        "text": body_of(step),
        "result": result_of(step),
        "exit_code": step.exit_code,
        "failed": step.failed,
        "meta": step.meta,
        "request": step.exchange_id and _request(step.exchange, with_usage),
    }


def _request(exchange: Exchange | None, with_usage: bool) -> dict[str, Any] | None:
    if exchange is None:
        return None
    found: dict[str, Any] = {"response_id": exchange.response_id, "model": exchange.model}
    if with_usage:
        found |= {
            "started_at": iso(exchange.started_at),
            "ended_at": iso(exchange.ended_at),
            "status": exchange.status,
            "tokens": {
                "input": exchange.tokens_input,
                "cached": exchange.tokens_cached,
                "cache_write": exchange.tokens_cache_write,
                "output": exchange.tokens_output,
                "reasoning": exchange.tokens_reasoning,
            },
            "cost_usd": None if exchange.cost_usd is None else str(exchange.cost_usd),
        }
    return found


def stream(session: Session) -> Iterator[str]:
    """Yield the lines of a session."""
    seen: set[int] = set()
    for step in steps_of(session):
        first = step.exchange_id is not None and step.exchange_id not in seen
        if step.exchange_id is not None:
            seen.add(step.exchange_id)
        yield json.dumps(line(step, with_usage=first)) + "\n"
