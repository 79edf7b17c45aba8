"""Makes a task afterwards from a session: the page behind the button of the session's page."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast
from uuid import UUID

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.management.base import CommandError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods

from oneshot.accounts.models import User
from oneshot.errors import Fault
from tasks import capture
from tasks.capture.errors import CaptureError
from tasks.models import Task
from traces.models import Session


class FromSessionForm(forms.Form):
    """Where the repository lies on the server, and between which commits the work was done.

    All but the title may be empty. Only administrators name a path: it is read with the rights of the server,
    whoever owns it.
    """

    title = forms.CharField(max_length=300, strip=True)
    repository = forms.CharField(max_length=1000, required=False)
    start = forms.CharField(max_length=200, required=False)
    end = forms.CharField(max_length=200, required=False)

    def __init__(self, *args: Any, names_paths: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not names_paths:
            for name in ("repository", "start", "end"):
                del self.fields[name]

    def clean_repository(self) -> str:
        path: str = self.cleaned_data["repository"].strip()
        if "\0" in path or (path and not Path(path).is_absolute()):
            raise forms.ValidationError("Write the whole path, as in /home/you/project")
        return path

    def clean_start(self) -> str:
        return self._commit("start")

    def clean_end(self) -> str:
        return self._commit("end")

    def _commit(self, name: str) -> str:
        value: str = self.cleaned_data[name].strip()
        if value.startswith("-") or any(character.isspace() or not character.isprintable() for character in value):
            raise forms.ValidationError("Write a commit, a tag or a branch, as git log shows it")
        return value


@login_required
@require_http_methods(["GET", "POST"])
def task_from_session(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Ask for what is needed, and then make a draft of a session and the repository's history."""
    sessions = Session.objects.editable_by(request.user).select_related("team").defer("search_text")
    session = get_object_or_404(sessions, pk=pk)
    names_paths = bool(request.user.is_superuser)
    initial = {"title": session.title, "repository": session.cwd if Path(session.cwd).is_absolute() else ""}
    form = FromSessionForm(request.POST or None, initial=initial, names_paths=names_paths)
    if request.method == "POST" and form.is_valid():
        task = _make(request, session, form)
        if task is not None:
            messages.success(request, f"Draft “{task.title[:60]}” made")
            return redirect("task-detail", slug=task.slug)
    made = Task.objects.visible_to(request.user).filter(session=session).order_by("created_at")[:5]
    context = {"session": session, "form": form, "names_paths": names_paths, "made": made, "nav": "sessions"}
    return render(request, "tasks/from_session.html", context, status=400 if form.errors else 200)


def _make(request: HttpRequest, session: Session, form: FromSessionForm) -> Task | None:
    """Make the draft; None when it could not be made, and the form says why."""
    given = form.cleaned_data
    try:
        made = capture.from_session(
            session,
            repository=Path(given["repository"]) if given.get("repository") else None,
            start=given.get("start", ""),
            end=given.get("end", ""),
            title=given["title"],
            team=session.team,
            user=cast(User, request.user),
        )
    except (CaptureError, CommandError, Fault, OSError) as error:
        form.add_error(None, str(error) or type(error).__name__)
        return None
    return made.task
