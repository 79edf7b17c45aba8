"""Finds words in the steps of one session, in the whole texts and not only their previews."""

from __future__ import annotations

import time
from dataclasses import dataclass
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_GET

from oneshot import store
from oneshot.visible import visible
from traces import bodies
from traces.models import Session, Step
from traces.views.access import visible_session
from traces.views.steps import LOOKS, label_of

MOST_HITS = 60
SECONDS = 2.0
LEAST = 2
CONTEXT = 70


@dataclass(frozen=True)
class Hit:
    """A step in which the words stand, and the line around the first place."""

    step: Step
    icon: str
    label: str
    excerpt: SafeString
    in_result: bool


@dataclass(frozen=True)
class Found:
    """What was found. `until` is the last step that was read when the time was over, else 0."""

    hits: list[Hit]
    more: bool
    until: int


@require_GET
def session_find(request: HttpRequest, pk: UUID) -> HttpResponse:
    """List the steps in which `?q=` stands: as a fragment, or as a page of its own."""
    session = visible_session(request, pk)
    q = request.GET.get("q", "").replace("\0", "").strip()[:200]
    found = find(session, q) if len(q) >= LEAST else None
    context = {
        "session": session,
        "q": q,
        "found": found,
        "embedded": request.GET.get("page") != "1",
        "hidden": request.GET.get("hide", "")[:80],
        "nav": "sessions",
    }
    template = "sessions/_find.html" if request.headers.get("HX-Request") else "sessions/find.html"
    return render(request, template, context)


def find(session: Session, words: str) -> Found:
    """Return the steps in which `words` stand, whatever their case; stops after SECONDS or MOST_HITS."""
    wanted = words.lower()
    deadline = time.monotonic() + SECONDS
    hits: list[Hit] = []
    columns = (
        "session",
        "position",
        "kind",
        "name",
        "agent_path",
        "preview",
        "body_ref",
        "result_preview",
        "result_ref",
    )
    for step in session.shown_steps().only(*columns).iterator(chunk_size=500):
        if time.monotonic() > deadline:
            return Found(hits, False, step.position)
        # The steps come without their session, and each would ask for it anew.
        step.session = session
        for ref, preview, in_result in (
            (step.body_ref, step.preview, False),
            (step.result_ref, step.result_preview, True),
        ):
            excerpt = _excerpt(ref, preview, wanted)
            if excerpt is not None:
                if len(hits) == MOST_HITS:
                    return Found(hits, True, 0)
                icon = LOOKS[Step.Kind(step.kind)][1]
                hits.append(Hit(step, icon, label_of(session, step), excerpt, in_result))
                break
    return Found(hits, False, 0)


def _excerpt(ref: str, preview: str, wanted: str) -> SafeString | None:
    text = _whole(ref) if ref else preview
    place = text.lower().find(wanted)
    if place < 0:
        return None
    # Folding case may change the length of a text, never by much: the place is right to within a few characters.
    start, end = max(0, place - CONTEXT), place + len(wanted)
    before = " ".join(visible(text[start:place]).split(" "))
    return format_html(
        "{}{}<mark>{}</mark>{}",
        "…" if start else "",
        before.replace("\n", " "),
        visible(text[place:end]),
        visible(text[end : end + CONTEXT]).replace("\n", " "),
    )


def _whole(ref: str) -> str:
    try:
        return bodies.read_text(ref)
    except (store.ContentMissing, bodies.BadReference):
        return ""
