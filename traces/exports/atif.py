"""A session in the Agent Trajectory Interchange Format, version 1.8, as Harbor's schema describes it.

One step of ATIF is what one answer of the model brought: its reasoning, message and tool calls with their results.
Sub-agents become embedded trajectories.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from traces.exports.rows import arguments_of, body_of, given, iso, result_of
from traces.models import Exchange, Session, Step

VERSION = "ATIF-v1.8"
Kind = Step.Kind
_CALLS = (Kind.TOOL, Kind.PATCH)


def head(session: Session) -> dict[str, Any]:
    """Return everything of the trajectory that stands before its steps."""
    return {
        "schema_version": VERSION,
        "session_id": session.thread_id or str(session.pk),
        "trajectory_id": str(session.pk),
        "agent": agent(session),
    }


def agent(session: Session) -> dict[str, Any]:
    """Return the agent. The format wants a version; one that is not known is the word."""
    model = next((name for name in session.model_names if isinstance(name, str)), None)
    return given(name=session.agent or "unknown", version=session.agent_version or "unknown", model_name=model)


def final_metrics(session: Session, steps: int) -> dict[str, Any]:
    """Return the sums. Where usage or cost of some requests is unknown, `extra` says of how many."""
    return given(
        total_prompt_tokens=session.tokens_input,
        total_completion_tokens=session.tokens_output,
        total_cached_tokens=session.tokens_cached,
        total_cost_usd=None if session.cost_usd is None else float(session.cost_usd),
        total_steps=steps,
        extra=given(
            reasoning_tokens=session.tokens_reasoning,
            cache_write_tokens=session.tokens_cache_write,
            requests=session.request_count,
            requests_with_unknown_usage=session.unknown_usage_count or None,
            requests_with_unknown_cost=session.unknown_cost_count or None,
        ),
    )


def extra(session: Session) -> dict[str, Any]:
    """Return what ATIF has no field for."""
    return given(
        repository=session.repository,
        branch=session.branch,
        commit=session.commit,
        started_at=iso(session.started_at),
        ended_at=iso(session.ended_at),
        ending=session.ending,
        gaps=session.gaps or None,
        exported_by="OneShot",
    )


def metrics(exchange: Exchange) -> dict[str, Any]:
    """Return the usage of one request; what is unknown is left out."""
    return given(
        prompt_tokens=exchange.tokens_input,
        completion_tokens=exchange.tokens_output,
        cached_tokens=exchange.tokens_cached,
        cost_usd=None if exchange.cost_usd is None else float(exchange.cost_usd),
        extra=given(reasoning_tokens=exchange.tokens_reasoning, cache_write_tokens=exchange.tokens_cache_write),
    )


def steps(rows: Iterable[Step]) -> Iterator[dict[str, Any]]:
    """Yield the steps of one trajectory, numbered from 1. A request's usage stands in the first step that has it."""
    counted: set[int] = set()
    for number, group in enumerate(_groups(rows), 1):
        if group[0].kind in (Kind.USER, Kind.CONTEXT, Kind.NOTICE):
            yield _said(number, group[0])
        else:
            exchange = next((row.exchange for row in group if row.exchange is not None), None)
            fresh = exchange is not None and exchange.pk not in counted
            if exchange is not None:
                counted.add(exchange.pk)
            yield _done(number, group, exchange, fresh)


def _groups(rows: Iterable[Step]) -> Iterator[list[Step]]:
    """Yield the rows that make one step: one by itself, or those of the agent that one answer brought."""
    group: list[Step] = []
    for row in rows:
        if group and not _goes_on(group, row):
            yield group
            group = []
        group.append(row)
    if group:
        yield group


def _goes_on(group: list[Step], row: Step) -> bool:
    agents = (Kind.REASONING, Kind.ASSISTANT, *_CALLS)
    last = group[-1]
    if row.kind not in agents or last.kind not in agents:
        return False
    if row.exchange_id is not None or last.exchange_id is not None:
        return row.exchange_id == last.exchange_id
    # Without requests: an answer is reasoning, then words, then calls.
    return row.kind in _CALLS or last.kind == Kind.REASONING


def _said(number: int, row: Step) -> dict[str, Any]:
    source = "user" if row.kind == Kind.USER else "system"
    note = given(kind=None if row.kind == Kind.USER else str(row.kind), name=row.name, turn=row.turn or None)
    return given(step_id=number, timestamp=iso(row.at), source=source, extra=note) | {"message": body_of(row)}


def _done(number: int, group: list[Step], exchange: Exchange | None, fresh: bool) -> dict[str, Any]:
    calls = [_call(row) for row in group if row.kind in _CALLS]
    results = [result for row in group if row.kind in _CALLS and (result := _result(row)) is not None]
    return given(
        step_id=number,
        timestamp=iso(next((row.at for row in group if row.at), None)),
        source="agent",
        model_name=(exchange.model if exchange else None) or None,
        reasoning_content="\n\n".join(body_of(row) for row in group if row.kind == Kind.REASONING),
        tool_calls=calls or None,
        observation={"results": results} if results else None,
        metrics=metrics(exchange) if exchange and fresh else None,
        llm_call_count=1 if fresh else None,
        extra=given(steps=[row.position for row in group], turn=group[0].turn or None),
    ) | {"message": "\n\n".join(body_of(row) for row in group if row.kind == Kind.ASSISTANT)}


def _call_id(row: Step) -> str:
    # A source may give two calls the same id, or none.
    return f"{row.call_id or 'step'}-{row.position}"


def _call(row: Step) -> dict[str, Any]:
    name = row.name or ("apply_patch" if row.kind == Kind.PATCH else "unknown")
    facts = given(seconds=row.seconds, exit_code=row.exit_code, failed=row.failed)
    found = {"tool_call_id": _call_id(row), "function_name": name, "arguments": arguments_of(row, body_of(row))}
    return found | given(extra=facts)


def _result(row: Step) -> dict[str, Any] | None:
    text = result_of(row)
    return None if text is None else {"source_call_id": _call_id(row), "content": text}


def stream(session: Session) -> Iterator[str]:
    """Yield the trajectory as JSON. A session of which no step is known has one step that says so."""
    main = session.shown_steps().filter(agent_path="").select_related("exchange").iterator(chunk_size=500)
    yield json.dumps(head(session))[:-1] + ', "steps": ['
    count = 0
    for count, step in enumerate(steps(main), 1):
        yield (",\n" if count > 1 else "\n") + json.dumps(step)
    if not count:
        yield json.dumps({"step_id": 1, "source": "system", "message": "No step of this session was recorded."})
    yield "\n]"
    others = session.shown_steps().exclude(agent_path="").order_by("agent_path", "position").select_related("exchange")
    first = True
    for path, rows in groupby(others.iterator(chunk_size=500), key=lambda row: row.agent_path):
        document = {
            "schema_version": VERSION,
            "session_id": session.thread_id or str(session.pk),
            "trajectory_id": f"{session.pk}/{path}",
            "agent": agent(session) | {"extra": {"sub_agent": path}},
            "steps": list(steps(rows)),
        }
        yield (', "subagent_trajectories": [' if first else ",\n") + json.dumps(document)
        first = False
    yield "" if first else "]"
    tail = {"final_metrics": final_metrics(session, max(count, 1)), "extra": extra(session)}
    yield ", " + json.dumps(tail)[1:] + "\n"
