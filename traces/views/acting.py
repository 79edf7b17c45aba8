"""What a team does with its sessions: removing one."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from traces import links
from traces.views.access import editable_session


@login_required
@require_http_methods(["GET", "POST"])
def session_delete(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Ask, naming what goes and what stays, and then remove a session with its steps and requests."""
    session = editable_session(request, pk)
    if request.method == "POST":
        title = str(session)
        session.delete()
        messages.success(request, f"Session “{title[:60]}” deleted")
        return redirect("session-list")
    context = {"session": session, "links": links.of([session.pk], request.user).get(session.pk, []), "nav": "sessions"}
    return render(request, "sessions/session_delete.html", context)
