"""What a session says of itself as a whole: sums, times, title, the text that is searched. Reckoned from its rows."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import Count, DurationField, ExpressionWrapper, F, Max, Min, Q, Sum

from traces import bodies
from traces.models import Exchange, Session, Step

# The best first: a transcript knows the real commands, the wire only what the model asked for.
STEP_SOURCES = ("codex", "claude_code", "proxy", "original", "atif")
SEARCH_BYTES = 200_000
SEARCH_PER_STEP = 20_000
TOKENS = ("tokens_input", "tokens_cached", "tokens_cache_write", "tokens_output", "tokens_reasoning")

# A request to a model, not for a list of models or a count of tokens. Transcripts know no URL and no other requests.
GENERATION = (
    Q(url="")
    | Q(url__endswith="/responses")
    | Q(url__endswith="/messages")
    | Q(url__endswith="/chat/completions")
    | Q(url__endswith="/completions")
    | Q(method="WS")
)
FAILED = Q(tokens_output=None) & (Q(status__gte=400) | (Q(status=None) & ~Q(wire_id="")))


def rank(source: str) -> int:
    """Return how good a source of steps is; lower is better, a plug-in's comes after our own transcripts."""
    return STEP_SOURCES.index(source) if source in STEP_SOURCES else 2


def refresh(session: Session, *, steps_changed: bool = True) -> None:
    """Reckon everything again from the session's exchanges and steps, and save it."""
    _mark_retried(session)
    times = _sum_exchanges(session)
    _sum_steps(session, times, steps_changed)
    session.save()


def _mark_retried(session: Session) -> None:
    """Find failed requests that were followed by the same one."""
    failed = session.exchanges.filter(FAILED, retried=False).exclude(request_digest="")
    for exchange in failed.only("id", "request_digest", "started_at", "wire_id"):
        again = session.exchanges.filter(request_digest=exchange.request_digest).exclude(pk=exchange.pk)
        again = (
            again.filter(started_at__gt=exchange.started_at)
            if exchange.started_at
            else again.filter(id__gt=exchange.pk)
        )
        if again.exists():
            Exchange.objects.filter(pk=exchange.pk).update(retried=True)


def _sum_exchanges(session: Session) -> list[datetime | None]:
    """Reckon tokens, cost and models; return the first and last times of the requests."""
    answered = GENERATION & ~FAILED
    spent = ExpressionWrapper(F("ended_at") - F("started_at"), output_field=DurationField())
    sums: dict[str, Any] = {
        "request_count": Count("id", filter=GENERATION),
        "retried_count": Count("id", filter=Q(retried=True)),
        "unknown_usage_count": Count("id", filter=answered & (Q(tokens_input=None) | Q(tokens_output=None))),
        "unknown_cost_count": Count("id", filter=answered & Q(cost_usd=None)),
        **{name: Sum(name) for name in ("cost_usd", *TOKENS)},
    }
    times = {
        "begun": Min("started_at"),
        "last_begun": Max("started_at"),
        "ended": Min("ended_at"),
        "last_ended": Max("ended_at"),
        "spent": Sum(spent, filter=Q(started_at__isnull=False, ended_at__gte=F("started_at"))),
    }
    # The names differ from those of the columns, which an aggregate would hide from the next.
    found = session.exchanges.aggregate(**{f"sum_{name}": value for name, value in sums.items()}, **times)
    for name in sums:
        setattr(session, name, found[f"sum_{name}"])
    session.model_seconds = None if found["spent"] is None else found["spent"].total_seconds()
    names = session.exchanges.exclude(model="").values_list("model").annotate(first=Min("id")).order_by("first")
    session.model_names = [name for name, _ in names]
    return [found[name] for name in ("begun", "last_begun", "ended", "last_ended")]


def _sum_steps(session: Session, times: list[datetime | None], steps_changed: bool) -> None:
    if steps_changed:
        sources = set(session.steps.values_list("source", flat=True).distinct().order_by())
        session.steps_from = min(sources, key=rank, default="")
    shown = session.steps.filter(source=session.steps_from)
    found = shown.aggregate(
        number=Count("id"), turns=Max("turn", filter=Q(agent_path="")), first=Min("at"), last=Max("at")
    )
    session.step_count = found["number"]
    session.turn_count = found["turns"] or 0
    known = [time for time in (*times, found["first"], found["last"]) if time is not None]
    session.started_at, session.ended_at = min(known, default=None), max(known, default=None)
    if steps_changed:
        session.title = _title(session)
        session.search_text = _search_text(session)


def _title(session: Session) -> str:
    first = session.shown_steps().filter(kind=Step.Kind.USER, agent_path="").values_list("preview", flat=True).first()
    said = " ".join((first or "").split())
    return said if len(said) <= 200 else said[:199] + "…"


def _search_text(session: Session) -> str:
    """Return what was said and run, in order, lower case, up to SEARCH_BYTES."""
    said: list[str] = [session.cwd, session.repository, session.branch]
    size = 0
    rows = session.shown_steps().exclude(kind__in=(Step.Kind.CONTEXT, Step.Kind.NOTICE))
    for kind, name, preview, ref in rows.values_list("kind", "name", "preview", "body_ref").iterator(chunk_size=500):
        text = preview
        if ref and kind in (Step.Kind.USER, Step.Kind.ASSISTANT, Step.Kind.REASONING):
            text = bodies.read_text(ref)[:SEARCH_PER_STEP]
        said += [name, text] if name else [text]
        size += len(text.encode()) + len(name) + 2
        if size >= SEARCH_BYTES:
            break
    whole = "\n".join(part for part in said if part).lower().encode()[:SEARCH_BYTES]
    return whole.decode("utf-8", "ignore")
