"""The requests of a session as they were sent and answered: the list, and each one raw, without repeating history."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import render
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_GET

from oneshot import store
from oneshot.visible import visible
from traces import bodies
from traces.models import Exchange, Session
from traces.views import texts
from traces.views.access import visible_session
from traces.views.viewer import attachment, exchanges_of, stored

PAGE = 100
# A request goes on from one of the last few: between two of a conversation others may stand, as those of sub-agents.
LOOK_BACK = 6
MOST_MESSAGES = 60
MOST_NUMBER = 10_000_000
DESCRIBED_BYTES = 64_000
_ROLE = re.compile(r'"(role|type)"\s*:\s*"([A-Za-z_]{1,40})"')


@dataclass(frozen=True)
class Request:
    """A request as stored: the document without its messages, and where each message lies."""

    head: Any
    messages: list[str]
    lost: str = ""

    @classmethod
    def of(cls, exchange: Exchange) -> Request | None:
        """Read it; None when its source did not have it."""
        if not exchange.request_ref:
            return None
        try:
            document = json.loads(bodies.read(exchange.request_ref))
        except (store.ContentMissing, bodies.BadReference, ValueError) as error:
            return cls({}, [], str(error))
        if not isinstance(document, dict):
            return cls(document, [])
        messages = document.get("messages")
        return cls(
            document.get("head", document),
            [ref for ref in messages if isinstance(ref, str)] if isinstance(messages, list) else [],
        )


@dataclass(frozen=True)
class Message:
    """One message of a request, in a line."""

    index: int
    who: str
    words: str
    bytes: int


@require_GET
def exchange_list(request: HttpRequest, pk: UUID) -> HttpResponse:
    """List the requests of a session in the order in which they were sent."""
    session = visible_session(request, pk)
    page = Paginator(exchanges_of(session), PAGE).get_page(request.GET.get("page"))
    rows = list(page.object_list)
    steps = session.shown_steps().filter(exchange__in=[row.pk for row in rows]).values_list("exchange_id", "position")
    first: dict[int, int] = {}
    for exchange, position in steps:
        first.setdefault(exchange, position)
    context = {
        "session": session,
        "page": page,
        "rows": [(number, row, first.get(row.pk)) for number, row in enumerate(rows, page.start_index())],
        "nav": "sessions",
    }
    return render(request, "sessions/exchange_list.html", context)


def _exchange(session: Session, number: int) -> tuple[Exchange, list[Exchange]]:
    """Return the request with this number, and the last few before it, newest first. Raises Http404."""
    if not 0 < number < MOST_NUMBER:
        raise Http404
    start = max(0, number - 1 - LOOK_BACK)
    rows = list(exchanges_of(session)[start:number])
    if len(rows) != number - start:
        raise Http404
    return rows[-1], rows[-2::-1] if len(rows) > 1 else []


@require_GET
def exchange_detail(request: HttpRequest, pk: UUID, number: int) -> HttpResponse:
    """Show one request raw: its head, what is new in it, and its answer."""
    session = visible_session(request, pk)
    exchange, earlier = _exchange(session, number)
    sent = Request.of(exchange)
    same, basis = _continues(sent, earlier)
    everything = request.GET.get("all") == "1"
    first = _start(request.GET.get("from", ""), 0 if everything else same)
    shown = sent.messages[first : first + MOST_MESSAGES] if sent else []
    budget = texts.Budget(400_000, 120_000)
    answer, length = texts.text_of(exchange.response_ref, "", 60_000) if exchange.response_ref else ("", 0)
    head = json.dumps(sent.head, indent=2, ensure_ascii=False) if sent else ""
    context = {
        "session": session,
        "exchange": exchange,
        "number": number,
        "last": session.exchanges.count(),
        "sent": sent,
        "head": texts.as_text(head[:60_000], len(head.encode("utf-8", "replace")), budget),
        "same": same,
        "basis": number - 1 - basis if basis is not None else None,
        "everything": everything,
        "said": [_message(first + index, ref) for index, ref in enumerate(shown)],
        "first": first,
        "left": max(0, len(sent.messages) - first - len(shown)) if sent else 0,
        "next": first + len(shown),
        "answer": texts.as_text(answer, length, budget),
        "steps": session.shown_steps().filter(exchange=exchange).values_list("position", flat=True)[:50],
        "seconds": _seconds(exchange),
        "nav": "sessions",
    }
    return render(request, "sessions/exchange_detail.html", context)


def _start(text: str, otherwise: int) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 8 else otherwise


def _seconds(exchange: Exchange) -> tuple[float | None, float | None]:
    """Return the time to the first byte, and to the last."""
    if exchange.started_at is None:
        return None, None
    first, last = (
        (end - exchange.started_at).total_seconds() if end else None
        for end in (exchange.first_byte_at, exchange.ended_at)
    )
    return first, last


def _continues(sent: Request | None, earlier: list[Exchange]) -> tuple[int, int | None]:
    """Return how many messages are those of an earlier request, and which of `earlier` it is; (0, None) for none."""
    best, basis = 0, None
    for index, other in enumerate(earlier if sent and sent.messages else []):
        previous = Request.of(other)
        same = _same(previous.messages, sent.messages) if previous and sent else 0
        if same > best:
            best, basis = same, index
        if previous and previous.messages and same == len(previous.messages):
            break
    return best, basis


def _same(one: list[str], other: list[str]) -> int:
    length = min(len(one), len(other))
    return next((index for index in range(length) if one[index] != other[index]), length)


def _message(index: int, ref: str) -> Message:
    try:
        text, total = texts.beginning(ref, DESCRIBED_BYTES)
    except bodies.BadReference as error:
        return Message(index, "lost", str(error), 0)
    who, words = describe(text)
    return Message(index, who, visible(" ".join(words[:400].split())[:160]), total)


def describe(text: str) -> tuple[str, str]:
    """Return who says a message, and its words, from its JSON or the beginning of it.

    >>> describe('{"role": "user", "content": [{"type": "text", "text": "Hello"}]}')
    ('user', 'Hello')
    >>> describe('{"type": "function_call", "name": "shell", "arguments": "{}"}')
    ('function_call', 'shell {}')
    >>> describe('{"type": "message", "role": "user", "content": "cut of')
    ('user', '')
    """
    try:
        message = json.loads(text)
    except ValueError:
        found = dict(_ROLE.findall(text[:2_000])[::-1])
        return found.get("role") or found.get("type") or "message", ""
    if not isinstance(message, dict):
        return "message", text
    who = str(message.get("role") or message.get("type") or "message")[:40]
    return visible(who), " ".join(_words(message))


def _words(value: Any, depth: int = 0) -> Iterator[str]:
    """Yield the texts of a message in the forms of the Responses, Messages and Chat Completions APIs."""
    if isinstance(value, str):
        yield value[:2_000]
    elif isinstance(value, list):
        for part in value[:20]:
            yield from _words(part, depth + 1) if depth < 4 else ()
    elif isinstance(value, dict) and depth < 4:
        keys = (
            "name",
            "content",
            "text",
            "thinking",
            "input",
            "arguments",
            "output",
            "summary",
            "tool_calls",
            "function",
        )
        for key in keys:
            if value.get(key):
                part = value[key]
                if key == "input" and isinstance(part, dict):
                    yield json.dumps(part, ensure_ascii=False)[:2_000]
                else:
                    yield from _words(part, depth + 1)


@require_GET
def exchange_message(request: HttpRequest, pk: UUID, number: int, index: int) -> HttpResponse:
    """Send one message of a request as indented JSON, as a fragment."""
    session = visible_session(request, pk)
    exchange, _ = _exchange(session, number)
    sent = Request.of(exchange)
    if sent is None or index >= len(sent.messages):
        raise Http404
    text, total = texts.beginning(sent.messages[index], texts.WHOLE_BYTES)
    if len(text.encode("utf-8", "replace")) >= total:
        text = _indented(text)
    piece = texts.as_text(
        text, min(total, len(text.encode("utf-8", "replace"))), texts.Budget(texts.WHOLE_HTML, texts.WHOLE_HTML)
    )
    return render(
        request, "sessions/_message.html", {"piece": piece, "total": total, "session": session, "number": number}
    )


def _indented(text: str) -> str:
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:
        return text


@require_GET
def exchange_text(request: HttpRequest, pk: UUID, number: int, part: str) -> HttpResponseBase:
    """Send a whole request (with all its messages, as JSON) or a whole answer, as a file."""
    session = visible_session(request, pk)
    exchange, _ = _exchange(session, number)
    if part == "answer" and exchange.response_ref:
        return attachment(stored(exchange.response_ref), f"request-{number}-answer.txt")
    sent = Request.of(exchange)
    if part != "request" or sent is None:
        raise Http404
    response = StreamingHttpResponse(_document(exchange, sent), content_type="text/plain; charset=utf-8")
    response.headers["Content-Disposition"] = content_disposition_header(True, f"request-{number}.json") or "attachment"
    response.headers["Content-Security-Policy"] = "sandbox; default-src 'none'"
    return response


def _document(exchange: Exchange, sent: Request) -> Iterator[bytes]:
    """Yield the request with its messages where they were: in "messages", or for the Responses API in "input"."""
    head = sent.head if isinstance(sent.head, dict) else {"body": sent.head}
    name = "messages" if re.search(r"/(messages|completions)\b", exchange.url) else "input"
    body = json.dumps({key: value for key, value in head.items() if key != name}, ensure_ascii=False)
    yield f"{body[:-1]}{', ' if len(body) > 2 else ''}{json.dumps(name)}: [".encode("utf-8", "replace")
    for index, ref in enumerate(sent.messages):
        if index:
            yield b",\n"
        try:
            yield bodies.read(ref)
        except (store.ContentMissing, bodies.BadReference) as error:
            yield json.dumps({"lost": str(error)}).encode()
    yield b"]}\n"
