"""What a curator does at the desk: every POST of the page. Answers in JSON to the page's script, else by redirect."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from oneshot import store
from tasks.curation import claims, editing, publishing, queue, rubric_edits
from tasks.curation.desk import as_user, editable_task, rail_context
from tasks.curation.editing import EditConflict, label, look_at, open_draft
from tasks.curation.states import NotAllowed
from tasks.findings import mending
from tasks.findings.scan import rescan
from tasks.models import CurationDraft, Finding, Task
from tasks.rubrics.files import BadRubric, as_json, as_toml, read_rubric

MOST_UPLOAD = 20_000_000
Act = Callable[..., HttpResponse]


def act(view: Act) -> Act:
    """Make a view of a POST that gets the task and its draft; what cannot be done is told where the button was."""

    @login_required
    @require_POST
    @wraps(view)
    def wrapped(request: HttpRequest, slug: str, **kwargs: Any) -> HttpResponse:
        task = editable_task(request, slug)
        try:
            return view(request, task, open_draft(task), **kwargs)
        except EditConflict as conflict:
            return _conflict(request, task, conflict)
        except (ValueError, NotAllowed) as error:
            if _wants_json(request):
                return JsonResponse({"message": str(error)}, status=400)
            messages.error(request, str(error))
            return _back(request, task)

    return wrapped


def _wants_json(request: HttpRequest) -> bool:
    return request.headers.get("Accept", "").startswith("application/json")


def _conflict(request: HttpRequest, task: Task, conflict: EditConflict) -> HttpResponse:
    """Show both texts, whoever asked."""
    both = {"message": str(conflict), "field": conflict.field, "mine": conflict.mine, "theirs": conflict.theirs}
    if _wants_json(request):
        return JsonResponse(both, status=409)
    texts = {name: _as_text(both[name]) for name in ("mine", "theirs")}
    context = {"task": task, "message": str(conflict), "field": label(conflict.field), **texts, "nav": "tasks"}
    return render(request, "curation/conflict.html", context, status=409)


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)


def _back(request: HttpRequest, task: Task) -> HttpResponse:
    part = request.POST.get("part", "")
    response = redirect("task-curate", slug=task.slug)
    if part.isalpha():
        response["Location"] += f"?part={part}"
    return response


def _seen(request: HttpRequest, draft: CurationDraft) -> int:
    given = request.POST.get("seen", "")
    return int(given) if given.isdecimal() else draft.revision


@act
def curation_edit(request: HttpRequest, task: Task, draft: CurationDraft) -> HttpResponse:
    """Save one field. `field` is a field of the draft, or "test" with `path`; `value` is its text."""
    field, value = request.POST.get("field", ""), request.POST.get("value", "")
    seen = _seen(request, draft)
    parsed: Any = value
    if field == "test":
        field, parsed = "tests", _with_test(draft, request.POST.get("path", ""), value)
    elif field == "environment":
        try:
            parsed = json.loads(value or "{}")
        except ValueError as error:
            raise ValueError(f"This is no JSON: {error}.") from None
    elif field == "tags":
        parsed = [tag for tag in value.replace(",", " ").split() if tag]
    elif field == "reference_diff":
        parsed = _stored_diff(request, value)
    elif field in ("tests", "criteria"):
        raise ValueError(f"The {label(field)} are changed one by one.")
    editing.edit(draft, field, parsed, seen=seen, by=as_user(request))
    draft.refresh_from_db()
    if _wants_json(request):
        return JsonResponse({"revision": draft.revision, "saved_at": timezone.now().isoformat()})
    return _back(request, task)


def _with_test(draft: CurationDraft, path: str, text: str) -> list[dict[str, Any]]:
    if path not in {test["path"] for test in draft.content["tests"]}:
        raise ValueError(f"There is no test {path[:200]!r} in the draft any more. Load the page again.")
    digest = store.put_text(text.replace("\r\n", "\n"))
    return [{**test, "digest": digest} if test["path"] == path else test for test in draft.content["tests"]]


def _stored_diff(request: HttpRequest, text: str) -> str:
    upload = request.FILES.get("file")
    if upload is not None:
        if (upload.size or 0) > MOST_UPLOAD:
            raise ValueError(f"A diff may have {MOST_UPLOAD:,} bytes.")
        data = upload.read()
    else:
        data = text.replace("\r\n", "\n").encode("utf-8", "surrogatepass")
    return store.put(data) if data.strip() else ""


@act
def curation_tests(request: HttpRequest, task: Task, draft: CurationDraft) -> HttpResponse:
    """Add a test file, or take one out."""
    path = request.POST.get("path", "").strip()
    tests = [dict(test) for test in draft.content["tests"]]
    if request.POST.get("op") == "remove":
        tests = [test for test in tests if test["path"] != path]
    elif any(test["path"] == path for test in tests):
        raise ValueError(f"There is a test {path} already.")
    else:
        upload = request.FILES.get("file")
        data = upload.read(MOST_UPLOAD) if upload else b""
        tests.append({"path": path or (upload.name if upload else "") or "", "digest": store.put(data)})
    editing.edit(draft, "tests", tests, seen=_seen(request, draft), by=as_user(request))
    return redirect(f"{_url(task)}?part=tests")


@act
def curation_rubric(request: HttpRequest, task: Task, draft: CurationDraft) -> HttpResponse:
    """Change the rubric: add, set, remove, move, weigh, order, begin from a template, take from a file."""
    criteria = rubric_edits.changed(draft.content["criteria"], request.POST, _file_of(request))
    editing.edit(draft, "criteria", criteria, seen=_seen(request, draft), by=as_user(request))
    draft.refresh_from_db()
    if request.headers.get("HX-Request"):
        return render(request, "curation/_rail.html", rail_context(request, draft))
    return _back(request, task)


def _file_of(request: HttpRequest) -> list[dict[str, Any]] | None:
    upload = request.FILES.get("file")
    if upload is None:
        return None
    try:
        return read_rubric(upload.read(2_000_000), str(upload.name))
    except BadRubric as error:
        raise ValueError(str(error)) from error


@login_required
@require_safe
def rubric_file(request: HttpRequest, slug: str, form: str) -> HttpResponse:
    """Send the rubric of the draft as a JSON or TOML file."""
    task = get_object_or_404(Task.objects.answered_to(request.user), slug=slug)
    if task.current_version is None or form not in ("json", "toml"):
        raise Http404
    text = (as_json if form == "json" else as_toml)(look_at(task).content["criteria"])
    response = HttpResponse(text, content_type="application/json" if form == "json" else "application/toml")
    response.headers["Content-Disposition"] = f'attachment; filename="{task.slug}-rubric.{form}"'
    return response


@act
def curation_undo(request: HttpRequest, task: Task, draft: CurationDraft) -> HttpResponse:
    """Take back one's own last edit."""
    undone = editing.undo(draft, by=as_user(request))
    messages.success(request, f"The {label(undone.field)} are as before" if undone else "There is nothing to undo")
    return _back(request, task)


@act
def curation_claim(request: HttpRequest, task: Task, draft: CurationDraft) -> HttpResponse:
    """Put the task on one's own desk, or with `op=release` let others take it and go on to the next."""
    if request.POST.get("op") == "release":
        claims.release(task, as_user(request))
        return _on(request, task)
    if not claims.claim(task, as_user(request)):
        raise NotAllowed(f"{claims.holder(task)} has this task. It is free 20 minutes after the last change.")
    return _back(request, task)


@act
def curation_move(request: HttpRequest, task: Task, draft: CurationDraft) -> HttpResponse:
    """Move the task to another state; to published only when nothing stands against it."""
    to, reason = request.POST.get("to", ""), request.POST.get("reason", "")
    publishing.move_on(task, to, by=as_user(request), reason=reason)
    published = to == Task.State.PUBLISHED
    messages.success(request, f"{task.title} is published" if published else f"{task.title}: {Task.State(to).label}")
    return _on(request, task)


@act
def finding_mend(request: HttpRequest, task: Task, draft: CurationDraft, fingerprint: str) -> HttpResponse:
    """Mend a finding where it stands."""
    finding = _finding(draft, fingerprint)
    mending.mend(draft, finding, by=as_user(request))
    messages.success(request, "Mended")
    return _back(request, task)


@act
def finding_waive(request: HttpRequest, task: Task, draft: CurationDraft, fingerprint: str) -> HttpResponse:
    """Let a finding stand, for a reason and under one's name. Takes a maintainer."""
    finding = _finding(draft, fingerprint)
    if not Task.objects.managed_by(request.user).filter(pk=task.pk).exists():
        raise NotAllowed(f"To waive takes a maintainer of {task.team.name}.")
    publishing.waive(finding, by=as_user(request), reason=request.POST.get("reason", ""))
    return _back(request, task)


def _finding(draft: CurationDraft, fingerprint: str) -> Finding:
    """Return the row of an open finding, made now when the page was the first to see it."""
    for finding in rescan(draft):
        if finding.fingerprint == fingerprint:
            return finding
    raise ValueError("This finding is closed already: its text has changed, or someone was faster.")


def _on(request: HttpRequest, task: Task) -> HttpResponse:
    """Go on to the next task of the queue."""
    following = queue.around(as_user(request), task).next
    return redirect("task-curate", slug=following) if following else redirect("curation-queue")


def _url(task: Task) -> str:
    return f"/tasks/{task.slug}/curate/"
