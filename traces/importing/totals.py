"""What a session says of itself as a whole: sums, times, title, the text that is searched. Reckoned from its rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from traces import bodies
from traces.models import Exchange, Session, Step

# The best first: a transcript knows the real commands, the wire only what the model asked for.
STEP_SOURCES = ("codex", "claude_code", "proxy", "original", "atif")
SEARCH_BYTES = 200_000
SEARCH_PER_STEP = 20_000
TOKENS = ("tokens_input", "tokens_cached", "tokens_cache_write", "tokens_output", "tokens_reasoning")
_SPOKEN = (Step.Kind.USER, Step.Kind.ASSISTANT, Step.Kind.REASONING)
_UNSEARCHED = (Step.Kind.CONTEXT, Step.Kind.NOTICE)
# Requests to models, not for a list of models or a count of tokens.
_GENERATION = ("/responses", "/messages", "/chat/completions", "/completions")

_EXCHANGE = (
    *("id", "started_at", "ended_at", "method", "url", "status", "model", "wire_id", "request_digest"),
    *(*TOKENS, "cost_usd", "retried"),
)
_STEP = ("kind", "name", "turn", "agent_path", "at", "preview", "body_ref")


def rank(source: str) -> int:
    """Return how good a source of steps is; lower is better, a plug-in's comes after our own transcripts."""
    return STEP_SOURCES.index(source) if source in STEP_SOURCES else 2


def is_generation(exchange: Any) -> bool:
    """Return whether it asks a model for an answer. Transcripts know no URL and no other requests."""
    return not exchange.url or exchange.method == "WS" or exchange.url.endswith(_GENERATION)


def has_failed(exchange: Any) -> bool:
    """Return whether it came to nothing: an error, or no HTTP answer although the wire was watched."""
    if exchange.tokens_output is not None:
        return False
    return bool(exchange.wire_id) if exchange.status is None else exchange.status >= 400


def refresh(
    session: Session,
    *,
    steps_changed: bool = True,
    exchanges: Sequence[Exchange] | None = None,
    steps: Sequence[Step] | None = None,
) -> None:
    """Reckon everything again from the session's exchanges and steps, and save it.

    `exchanges` and `steps` are all that there are, in order, where they are at hand; None looks them up.
    """
    rows: Sequence[Any] = exchanges if exchanges is not None else _exchanges(session)
    _mark_retried(session, rows)
    _sum_exchanges(session, rows)
    times = [time for row in rows for time in (row.started_at, row.ended_at)]
    if steps_changed:
        sources = {step.source for step in steps} if steps is not None else _sources(session)
        session.steps_from = min(sources, key=rank, default="")
        said: Sequence[Any] = (
            steps if steps is not None else list(session.shown_steps().values_list(*_STEP, named=True))
        )
        times += [step.at for step in said]
        _sum_steps(session, said)
    # A time once known stays: what was left out of this reckoning has been in an earlier one.
    else:
        times += [session.started_at, session.ended_at]
    known = [time for time in times if time is not None]
    session.started_at, session.ended_at = min(known, default=None), max(known, default=None)
    session.save()


def _exchanges(session: Session) -> Sequence[Any]:
    return list(session.exchanges.order_by("id").values_list(*_EXCHANGE, named=True))


def _shown(session: Session) -> Sequence[Any]:
    return list(session.shown_steps().values_list(*_STEP, named=True))


def _sources(session: Session) -> set[str]:
    return set(session.steps.order_by().values_list("source", flat=True).distinct())


def _mark_retried(session: Session, rows: Sequence[Any]) -> None:
    """Find failed requests that were followed by the same one. Rows that are not saved yet are marked alone."""
    failed = [row for row in rows if row.request_digest and has_failed(row)]
    if not failed:
        return
    last: dict[str, datetime] = {}
    for row in rows:
        if row.request_digest and row.started_at:
            last[row.request_digest] = max(row.started_at, last.get(row.request_digest, row.started_at))
    again = [row for row in failed if row.started_at and last[row.request_digest] > row.started_at]
    session.retried_count = len(again)
    unmarked = [row.id for row in again if not row.retried]
    Exchange.objects.filter(pk__in=unmarked).update(retried=True)


def _sum_exchanges(session: Session, rows: Sequence[Any]) -> None:
    asked = [row for row in rows if is_generation(row)]
    answered = [row for row in asked if not has_failed(row)]
    session.request_count = len(asked)
    session.unknown_usage_count = sum(row.tokens_input is None or row.tokens_output is None for row in answered)
    session.unknown_cost_count = sum(row.cost_usd is None for row in answered)
    for name in TOKENS:
        setattr(session, name, _sum(getattr(row, name) for row in rows))
    costs: list[Decimal] = [row.cost_usd for row in rows if row.cost_usd is not None]
    session.cost_usd = sum(costs, Decimal(0)) if costs else None
    waits = [(row.ended_at - row.started_at).total_seconds() for row in rows if row.started_at and row.ended_at]
    session.model_seconds = sum(wait for wait in waits if wait > 0) if waits else None
    session.model_names = list(dict.fromkeys(row.model for row in rows if row.model))


def _sum(values: Iterable[int | None]) -> int | None:
    """Return the sum of what is known; None when nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _sum_steps(session: Session, steps: Sequence[Any]) -> None:
    session.step_count = len(steps)
    session.turn_count = max((step.turn for step in steps if not step.agent_path), default=0)
    session.title = _title(steps)
    session.search_text = _search_text(session, steps)


def _title(steps: Sequence[Any]) -> str:
    first = next((step.preview for step in steps if step.kind == Step.Kind.USER and not step.agent_path), "")
    said = " ".join(first.split())
    return said if len(said) <= 200 else said[:199] + "…"


def _search_text(session: Session, steps: Sequence[Any]) -> str:
    """Return what was said and run, in order, lower case, up to SEARCH_BYTES."""
    said: list[str] = [session.cwd, session.repository, session.branch]
    size = 0
    for step in steps:
        if step.kind in _UNSEARCHED:
            continue
        text = step.preview
        if step.body_ref and step.kind in _SPOKEN:
            text = bodies.read_text(step.body_ref)[:SEARCH_PER_STEP]
        said += [step.name, text] if step.name else [text]
        size += len(text) + len(step.name) + 2
        if size >= SEARCH_BYTES:
            break
    whole = "\n".join(part for part in said if part).lower().encode()[:SEARCH_BYTES]
    return whole.decode("utf-8", "ignore")
