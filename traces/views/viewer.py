"""The viewer of a session: the page, the same as a fragment for other pages, and what both ask for while one reads."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_GET

from oneshot import store
from traces import bodies, links
from traces.models import Exchange, Session, Step
from traces.views import texts, window, words
from traces.views.access import may_edit, visible_session
from traces.views.outline import outline_of
from traces.views.steps import Shown, build, gaps_of, label_of, show_call_texts, show_patch
from traces.views.window import GROUPS, Asked, Trace

KEYS = (
    (("j", "k"), "Next and previous step"),
    (("J", "K"), "Next and previous turn"),
    (("o",), "Open or fold the step"),
    (("O",), "Open or fold all"),
    (("f",), "Find in this session"),
)
TOGGLES = {
    "messages": "Messages",
    "reasoning": "Reasoning",
    "tools": "Tools",
    "patches": "Patches",
    "context": "Context",
}


@require_GET
def session_detail(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Show a session around the step that `?step=` names, or from its beginning."""
    session = visible_session(request, pk)
    found = links.of([session.pk], request.user).get(session.pk, [])
    context = {
        **viewer_context(request, session, embedded=False),
        "links": found,
        "may_edit": may_edit(request.user, session),
        "agent": words.agent_name(session.agent),
        "repository": words.repository_name(session.repository),
        "models": words.joined([str(name) for name in session.model_names[:4]]),
        "more_models": max(0, len(session.model_names) - 4),
        "seconds": words.seconds_of(session),
        "sources": words.joined(_sources(session)),
        "gap_count": len(gaps_of(session)),
        "ending": words.ENDINGS.get(session.ending),
        "shortcuts": KEYS,
        "nav": "sessions",
    }
    return render(request, "sessions/session_detail.html", context)


@require_GET
def session_viewer(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Send the viewer as a fragment that any page may embed; `?page=1` is the session's own page asking."""
    session = visible_session(request, pk)
    embedded = request.GET.get("page") != "1"
    return render(request, "sessions/_viewer.html", viewer_context(request, session, embedded=embedded))


def viewer_context(request: HttpRequest, session: Session, *, embedded: bool) -> dict[str, Any]:
    """Return what the template of the viewer needs, with a constant number of queries."""
    asked = Asked.read(request.GET)
    trace = Trace.of(session)
    if asked.step and (nearest := trace.nearest(asked.step)):
        asked = Asked(step=nearest.position, hidden=asked.hidden)
    shown = trace.shown(asked)
    counts = trace.counts()
    return {
        "session": session,
        "embedded": embedded,
        "asked": asked,
        "last": trace.last,
        "hidden": ",".join(asked.hidden),
        "toggles": [_toggle(name, counts[name], asked) for name in GROUPS if counts[name] or name in asked.hidden],
        "steps": build(session, trace, asked, window.around(shown, asked.step)),
        "strip": window.strip_of(trace, asked.step),
        "outline": outline_of(session, trace, asked.step),
        "nothing": "" if shown else "hidden" if trace.steps else "empty",
    }


def _toggle(name: str, count: int, asked: Asked) -> dict[str, Any]:
    on = name not in asked.hidden
    hidden = [other for other in GROUPS if (other in asked.hidden) != (other == name)]
    return {"name": name, "words": TOGGLES[name], "count": count, "on": on, "hide": ",".join(hidden)}


def _sources(session: Session) -> list[str]:
    kinds = [str(source.get("kind", "")) for source in session.sources if isinstance(source, dict)]
    return [words.source_name(kind) for kind in dict.fromkeys(kinds) if kind]


@require_GET
def session_steps(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Send more steps: those before `?before=` or after `?after=`, with the link to what is still left."""
    session = visible_session(request, pk)
    asked = Asked.read(request.GET)
    trace = Trace.of(session)
    shown = trace.shown(asked)
    before, after = (_number(request.GET.get(name, "")) for name in ("before", "after"))
    if before is None and after is None:
        raise Http404
    stretch = window.ahead(shown, before) if before is not None else window.onward(shown, after or 0)
    context = {
        "session": session,
        "embedded": request.GET.get("page") != "1",
        "hidden": ",".join(asked.hidden),
        "steps": build(session, trace, asked, stretch),
        "forward": before is None,
    }
    return render(request, "sessions/_more.html", context)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else None


def _step(request: HttpRequest, pk: UUID, position: int) -> tuple[Session, Step]:
    session = visible_session(request, pk)
    return session, get_object_or_404(session.shown_steps(), position=position)


@require_GET
def session_step(request: HttpRequest, pk: UUID, position: int) -> HttpResponse:
    """Send the texts of one step as a fragment: as much of them as one answer may have."""
    session, step = _step(request, pk, position)
    whole = request.GET.get("whole") == "1"
    budget = texts.Budget(texts.WHOLE_HTML, texts.WHOLE_HTML)
    item = Shown(step=step, css="", icon="", label=label_of(session, step), on=True)
    if step.kind == Step.Kind.PATCH:
        show_patch(item, step, budget, lines=0)
    elif step.kind in (Step.Kind.TOOL, Step.Kind.CONTEXT):
        long_call = bool(step.body_ref) or "\n" in step.preview.strip() or len(step.preview) > 100
        # Half for the call and the rest for the result: neither may keep the other from being seen.
        budget.most = texts.WHOLE_HTML // 2
        most = texts.WHOLE_BYTES if whole else texts.INLINE_BYTES
        show_call_texts(item, step, budget, most, with_body=long_call)
    else:
        text, total = texts.text_of(step.body_ref, step.preview, texts.WHOLE_BYTES)
        item.body = texts.as_prose(text, total, budget)
    context = {"session": session, "item": item, "step": step, "whole": whole}
    return render(request, "sessions/_step_texts.html", context)


@require_GET
def session_step_text(request: HttpRequest, pk: UUID, position: int, part: str) -> HttpResponse:
    """Send the whole text of a step, or of its result, as a file that no browser shows as a page."""
    _, step = _step(request, pk, position)
    if part not in ("text", "result"):
        raise Http404
    ref, preview = (step.body_ref, step.preview) if part == "text" else (step.result_ref, step.result_preview)
    return attachment(stored(ref) if ref else preview.encode("utf-8", "replace"), f"step-{position}-{part}.txt")


def stored(ref: str) -> bytes:
    """Return a stored text. Raises Http404 when the content store has lost it."""
    try:
        return bodies.read(ref)
    except (store.ContentMissing, bodies.BadReference) as error:
        raise Http404(str(error)) from error


def attachment(data: bytes, filename: str) -> HttpResponse:
    """Return bytes as a download that no browser runs or shows, whatever they are."""
    response = HttpResponse(data, content_type="text/plain; charset=utf-8")
    response.headers["Content-Disposition"] = content_disposition_header(True, filename) or "attachment"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Content-Security-Policy"] = "sandbox; default-src 'none'"
    return response


def exchanges_of(session: Session) -> Any:
    """Return the requests of a session in the order in which they are numbered."""
    return Exchange.objects.filter(session=session).order_by("started_at", "id")
