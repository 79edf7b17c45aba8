"""Who may see and do what with a session. Missing and forbidden look the same: 404."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpRequest
from django.shortcuts import get_object_or_404

from traces.models import Session


def visible_session(request: HttpRequest, pk: UUID) -> Session:
    """Return a session that the reader may see, without its search text, or raise Http404."""
    sessions = Session.objects.visible_to(request.user).select_related("user", "team").defer("search_text")
    return get_object_or_404(sessions, pk=pk)


def editable_session(request: HttpRequest, pk: UUID) -> Session:
    """Return a session that the user may remove and make tasks from, or raise Http404."""
    return get_object_or_404(Session.objects.editable_by(request.user).defer("search_text"), pk=pk)


def may_edit(user: Any, session: Session) -> bool:
    return Session.objects.editable_by(user).filter(pk=session.pk).exists()
