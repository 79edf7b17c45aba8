"""Makes records ready to be stored: secrets taken out, then every text laid down in the content store."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from oneshot.accounts.models import Team, User
from traces import bodies
from traces.importing.texts import Laid, Redactor
from traces.models import Session, StoredMessage
from traces.readers import values
from traces.readers.base import ExchangeRecord, SessionRecords, StepRecord


@dataclass(kw_only=True)
class Into:
    """Where imported sessions go, and whose they are."""

    team: Team
    user: User | None = None
    origin: str = Session.Origin.PERSON
    public: bool = False
    # Further secret values that are known to stand in what is imported.
    secrets: Sequence[str] = ()


@dataclass(kw_only=True)
class Prepared:
    """One session's records with their texts laid down."""

    records: SessionRecords
    # By index of the step: its text and its result.
    texts: list[tuple[Laid | None, Laid | None]] = field(default_factory=list)
    messages: dict[str, str] = field(default_factory=dict)
    # By index of the exchange: request and answer.
    refs: list[tuple[str, str]] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)


def prepare(sessions: Sequence[SessionRecords], into: Into) -> list[Prepared]:
    """Redact the records of some sessions and put their texts into the store."""
    _redact(sessions, into.secrets)
    return _lay_down(sessions, into)


# Redaction


def _redact(sessions: Sequence[SessionRecords], secrets: Sequence[str]) -> None:
    """Take the secrets out of the records. What stands in a row or in the store has been through here."""
    redactor = Redactor(secrets)
    # Where each text goes back to: an object's attribute, or a mapping's key.
    places: list[tuple[int, Any, str]] = []

    def take(thing: Any, names: Iterable[str]) -> None:
        for name in names:
            value = thing[name] if isinstance(thing, dict) else getattr(thing, name)
            if value:
                places.append((redactor.add(value), thing, name))

    metas: list[tuple[int, StepRecord]] = []
    for records in sessions:
        if remote := records.facts.get("repository"):
            # What is taken out of a URL would leave one that cannot be taken apart.
            records.facts["repository"] = without_user(remote)
        take(records, ("label",))
        take(records.facts, list(records.facts))
        take(records.messages, list(records.messages))
        for step in records.steps:
            take(step, _STEP_SAID)
            if step.meta:
                metas.append((redactor.add(json.dumps(step.meta)), step))
        for exchange in records.exchanges:
            take(exchange, _EXCHANGE_SAID)
        for gap in records.gaps:
            take(gap, ("reason",))
    redactor.run()
    for number, thing, name in places:
        if isinstance(thing, dict):
            thing[name] = redactor[number]
        else:
            setattr(thing, name, redactor[number])
    for number, step in metas:
        try:
            step.meta = json.loads(redactor[number])
        except ValueError:
            # What was taken out took a quote with it.
            step.meta = {}


_STEP_SAID = ("text", "preview", "result", "name", "agent_path")
_EXCHANGE_SAID = ("url", "error", "request_head", "response", "model", "stop_reason")


# Texts


def _lay_down(sessions: Sequence[SessionRecords], into: Into) -> list[Prepared]:
    """Put the texts of some sessions into the store, all together in few blobs."""
    there = _sessions_there(sessions, into)
    with bodies.BodyWriter() as writer:
        laid = [_lay_texts(one, there.get((one.agent, one.thread_id)), writer) for one in sessions]
    prepared = []
    # A request is a document that refers to its messages, and where those lie is known once they are written.
    with bodies.BodyWriter() as requests:
        for one, known, tickets, answers in laid:
            one.messages = {digest: writer.ref(ticket) for digest, ticket in tickets.items()}
            refs = known | one.messages
            documents = [_request(e, refs) for e in one.records.exchanges]
            prepared.append((one, [None if d is None else requests.add(d) for d in documents], answers))
    for one, asked, answers in prepared:
        one.refs = [
            ("" if request is None else requests.ref(request), "" if answer is None else writer.ref(answer))
            for request, answer in zip(asked, answers, strict=True)
        ]
    return [one for one, _, _ in prepared]


def _sessions_there(sessions: Sequence[SessionRecords], into: Into) -> dict[tuple[str, str], Any]:
    """Return the primary keys of those sessions that are there already, by agent and thread id."""
    wanted = sorted({records.thread_id for records in sessions})
    found = Session.objects.order_by().filter(team=into.team, thread_id__in=wanted)
    return {(agent, thread): pk for agent, thread, pk in found.values_list("agent", "thread_id", "pk")}


def _lay_texts(
    records: SessionRecords, session: Any, writer: bodies.BodyWriter
) -> tuple[Prepared, dict[str, str], dict[str, int], list[int | None]]:
    """Return the session's records, where its messages lie already, and tickets of new messages and of answers."""
    prepared = Prepared(records=records)
    for step in records.steps:
        said = None if step.text is None else Laid(writer, step.text, step.preview or None)
        result = None if step.result is None else Laid(writer, step.result)
        prepared.texts.append((said, result))
    known = _stored_messages(records, session)
    tickets = {digest: writer.add(body) for digest, body in records.messages.items() if digest not in known}
    answers = [None if e.response is None else writer.add(e.response) for e in records.exchanges]
    prepared.digests = [values.digest(",".join(e.messages)) if e.messages else "" for e in records.exchanges]
    return prepared, known, tickets, answers


def _request(exchange: ExchangeRecord, refs: dict[str, str]) -> str | None:
    """Return a request as it is kept: {"head", "messages": [reference, or null for one that was not recorded]}."""
    if exchange.request_head is None:
        return None
    messages = json.dumps([refs.get(digest) for digest in exchange.messages or []])
    try:
        values.parsed(exchange.request_head)
        head = exchange.request_head
    except ValueError:
        head = json.dumps({"_raw": exchange.request_head})
    return f'{{"head": {head}, "messages": {messages}}}'


def _stored_messages(records: SessionRecords, session: Any) -> dict[str, str]:
    """Return where the messages lie that a session has already; `session` is its primary key, None for a new one."""
    wanted = {digest for e in records.exchanges for digest in e.messages or []}
    if session is None or not wanted:
        return {}
    stored = StoredMessage.objects.filter(session_id=session).values_list("hash", "ref")
    return {digest: ref for digest, ref in stored if digest in wanted}


def without_user(url: str) -> str:
    """Return a remote's URL without user, password and query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    if not parts.netloc:
        return url
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))
