"""Routes of sessions: listing and reading what was recorded."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpResponseBase
from ninja import Query

from oneshot.api import documents as d
from oneshot.api.door import PREFIX
from oneshot.api.paging import as_cursor, as_place
from oneshot.api.routing import Request, refuse_unknown, routes
from traces.models import Session
from traces.views.access import visible_session
from traces.views.exporting import FORMATS, session_export
from traces.views.query import Listing

router = routes("sessions")


@router.get("/sessions", response=d.Sessions, summary="List sessions")
def session_list(request: Request, query: Query[d.SessionQuery]) -> dict[str, Any]:
    """List the sessions that you may see, the newest first, a page at a time."""
    refuse_unknown(request, d.SessionQuery)
    page = Listing(**query.model_dump(exclude={"after"}), after=as_place(query.after)).page(request.user)
    return {"sessions": [_row(request, session) for session in page.rows], "next": as_cursor(page.older)}


def _row(request: Request, session: Session) -> dict[str, Any]:
    return {
        "id": session.pk,
        "origin": session.origin,
        "agent": session.agent,
        "agent_version": session.agent_version,
        "title": session.title,
        "repository": session.repository,
        "branch": session.branch,
        "models": [name for name in session.model_names if isinstance(name, str)],
        "started_at": session.started_at,
        "ended_at": session.ended_at,
        "ending": session.ending,
        "turns": session.turn_count,
        "steps": session.step_count,
        "requests": session.request_count,
        "tokens_input": session.tokens_input,
        "tokens_output": session.tokens_output,
        "cost_usd": None if session.cost_usd is None else float(session.cost_usd),
        "requests_without_cost": session.unknown_cost_count,
        "url": request.build_absolute_uri(session.get_absolute_url()),
    }


@router.get("/sessions/{uuid:id}", response=d.SessionDetail, summary="Read a session")
def session_detail(request: Request, id: UUID) -> dict[str, Any]:
    """Return what is known of a session as a whole; its steps are in its exports."""
    session = visible_session(request, id)
    return _row(request, session) | {
        "team": session.team.slug,
        "thread_id": session.thread_id,
        "commit": session.commit,
        "tokens_cached": session.tokens_cached,
        "tokens_reasoning": session.tokens_reasoning,
        "model_seconds": session.model_seconds,
        "gaps": session.gaps,
        "exports": {name: request.build_absolute_uri(f"{PREFIX}sessions/{id}/exports/{name}") for name in FORMATS},
    }


@router.get("/sessions/{uuid:id}/exports/{name}", summary="Export a session")
def session_file(request: Request, id: UUID, name: str) -> HttpResponseBase:
    """Send a session as `atif.json`, `otlp.json` or `steps.jsonl`, as it is made."""
    return session_export(request, id, name)
