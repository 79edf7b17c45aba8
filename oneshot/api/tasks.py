"""Routes of people's own account and of tasks: reading, moving, editing a draft, findings, validation."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.http import Http404
from django.shortcuts import get_object_or_404
from ninja import Query
from ninja.responses import Status

from oneshot.accounts.models import Membership
from oneshot.api import documents as d
from oneshot.api import drafts
from oneshot.api.errors import ApiError, invalid
from oneshot.api.routing import Request, refuse_unknown, routes
from runs import actions, validation
from tasks import facts
from tasks.curation import publishing
from tasks.curation.desk import editable_task
from tasks.curation.editing import EditConflict, look_at, open_draft
from tasks.curation.states import moves_for
from tasks.findings.scan import open_findings, rescan
from tasks.listing import Listing
from tasks.models import Finding, Task, TaskVersion

router = routes("tasks")


@router.get("/me", response=d.Me, tags=["account"], summary="Whose token this is")
def me(request: Request) -> dict[str, Any]:
    """Say who the token's owner is, their teams and roles, and what the token may do."""
    user, token = request.user, request.auth
    memberships = Membership.objects.filter(user=user).select_related("team").order_by("team__slug")
    return {
        "username": user.username,
        "name": user.get_full_name(),
        "administrator": user.is_superuser,
        "teams": [{"slug": row.team.slug, "name": row.team.name, "role": row.role} for row in memberships],
        "token": {"name": token.name, "prefix": token.prefix, "scope": token.scope, "expires_at": token.expires_at},
    }


@router.get("/tasks", response=d.Tasks, summary="List tasks")
def task_list(request: Request, query: Query[d.TaskQuery]) -> dict[str, Any]:
    """List the tasks that you may see, by their slugs."""
    refuse_unknown(request, d.TaskQuery)
    asked = Listing(q=query.q, state=query.state, validation=query.validation, tag=query.tag, team=query.team)
    rows = asked.rows(Task.objects.visible_to(request.user)).filter(slug__gt=query.after).order_by("slug")
    found = list(rows[: query.limit + 1])
    more = len(found) > query.limit
    found = found[: query.limit]
    return {"tasks": [_row(request, task) for task in found], "next": found[-1].slug if more else None}


def _row(request: Request, task: Task) -> dict[str, Any]:
    version = task.current_version
    return {
        "slug": task.slug,
        "title": task.title,
        "team": task.team.slug,
        "visibility": task.visibility,
        "state": task.state,
        "tags": [str(tag) for tag in task.tags],
        "version": version.number if version else None,
        "validation": version.validation if version else None,
        "fail_to_pass": version.fail_to_pass_count if version else None,
        "pass_to_pass": version.pass_to_pass_count if version else None,
        "created_at": task.created_at,
        "url": request.build_absolute_uri(f"/tasks/{task.slug}/"),
    }


@router.get("/tasks/{slug:slug}", response=d.TaskDetail, summary="Read a task")
def task_detail(request: Request, slug: str) -> dict[str, Any]:
    """Return a task and its current version, as its page shows it: without what would tell the solution."""
    visible = Task.objects.visible_to(request.user).select_related("team", "current_version")
    task = get_object_or_404(visible, slug=slug)
    version = task.current_version
    moves = [
        {"to": move.to, "words": move.words, "needs_reason": move.reason} for move in moves_for(task, request.user)
    ]
    inside = Task.objects.answered_to(request.user).filter(pk=task.pk).exists()
    return _row(request, task) | {"content": version and _content(version, inside=inside), "moves": moves}


def _content(version: TaskVersion, *, inside: bool) -> dict[str, Any]:
    repository = facts.repository(version)
    if not inside:
        # It may be a path of this machine.
        repository["address"] = repository["shared"]
    return {
        "number": version.number,
        "digest": version.digest,
        "title": version.title,
        "instructions": version.instructions,
        "repository": repository,
        "environment": version.effective_environment(),
        "validation": version.validation,
        "validated_at": version.validated_at,
        "published_at": version.published_at,
    }


@router.post("/tasks/{slug:slug}/moves", response={201: d.MoveMade}, summary="Move a task to another state")
def task_move(request: Request, slug: str, given: d.MoveGiven) -> Any:
    """Make one of the task's `moves`. Publishing takes a maintainer, a validated draft and no blocking finding."""
    task = editable_task(request, slug)
    _with_draft(task)
    review = publishing.move_on(task, given.to, by=request.user, reason=given.reason)
    return Status(
        201,
        {
            "slug": slug,
            "state": review.to_state,
            "from_state": review.from_state,
            "reason": review.reason,
            "version": review.version.number if review.version else None,
        },
    )


def _with_draft(task: Task) -> Any:
    try:
        return open_draft(task)
    except ValueError as error:
        raise ApiError(409, "no_version", str(error)) from error


@router.get("/tasks/{slug:slug}/draft", response=d.Draft, summary="Read a draft")
def draft_read(request: Request, slug: str) -> dict[str, Any]:
    """Return what is on the desk: the draft's fields, its revision, and what stands against publishing it."""
    task = editable_task(request, slug)
    try:
        return drafts.as_document(look_at(task))
    except ValueError as error:
        raise ApiError(409, "no_version", str(error)) from error


@router.patch("/tasks/{slug:slug}/draft", response=d.Draft, summary="Change a draft")
def draft_change(request: Request, slug: str, given: d.DraftGiven) -> dict[str, Any]:
    """Change the fields that are given, all or none of them.

    409 when someone else has changed one of them since revision `seen`, or has the task: the error then holds `mine`
    and `theirs`.
    """
    task = editable_task(request, slug)
    draft = _with_draft(task)
    try:
        drafts.change(draft, given, by=request.user)
    except EditConflict as conflict:
        both = {"mine": conflict.mine, "theirs": conflict.theirs}
        texts = {name: drafts.shown(conflict.field, value) for name, value in both.items()}
        raise ApiError(409, "conflict", str(conflict), conflict.field, **texts) from conflict
    return drafts.as_document(look_at(editable_task(request, slug)))


@router.get("/tasks/{slug:slug}/findings", response=d.Findings, summary="List findings")
def finding_list(request: Request, slug: str) -> dict[str, Any]:
    """List what was found in the draft and stands open, the blocking ones first; then what was waived."""
    task = editable_task(request, slug)
    try:
        found = open_findings(look_at(task))
    except ValueError:
        found = []
    waived = task.findings.filter(status=Finding.Status.WAIVED).select_related("waived_by").order_by("found_at", "id")
    return {"findings": [_finding(row) for row in (*found, *waived)]}


def _finding(row: Finding) -> dict[str, Any]:
    return {
        "fingerprint": row.fingerprint,
        "kind": row.kind,
        "severity": row.severity,
        "status": row.status,
        "title": row.title,
        "message": row.message,
        "waivable": row.waivable,
        "place": row.place,
        "waived_by": row.waived_by.username if row.waived_by else None,
        "waiver_reason": row.waiver_reason,
    }


@router.post("/tasks/{slug:slug}/findings/{fingerprint}/waive", response=d.Finding, summary="Waive a finding")
def finding_waive(request: Request, slug: str, fingerprint: str, given: d.WaiverGiven) -> dict[str, Any]:
    """Let a finding stand under your name, for a reason that stays with the task. Takes a maintainer."""
    task = get_object_or_404(Task.objects.managed_by(request.user).select_related("team"), slug=slug)
    found = {row.fingerprint: row for row in rescan(_with_draft(task))}
    if fingerprint not in found:
        raise Http404
    publishing.waive(found[fingerprint], by=request.user, reason=given.reason)
    return _finding(found[fingerprint])


@router.post("/tasks/{slug:slug}/validations", response={201: d.Validation}, summary="Validate a task")
def validate(request: Request, slug: str, given: d.ValidationGiven | None = None) -> Any:
    """Start a validation: nop and oracle try the version. One that is under way already is returned instead."""
    task = get_object_or_404(
        Task.objects.editable_by(request.user).select_related("team", "current_version__task"), slug=slug
    )
    given = given or d.ValidationGiven(version=None, draft=False)
    with transaction.atomic():
        if given.draft:
            _with_draft(task)
            version = publishing.freeze(task, by=request.user)
        else:
            version = _version(task, given.version)
        started = validation.start_validation(version, by=request.user)
        actions.submit(started.runs.all())
    return Status(
        201,
        {
            "id": started.pk,
            "slug": slug,
            "version": version.number,
            "status": started.status,
            "runs": list(started.runs.order_by("created_at", "pk").values_list("pk", flat=True)),
        },
    )


def _version(task: Task, number: int | None) -> TaskVersion:
    if number is not None:
        version = task.versions.select_related("task").filter(number=number).first()
    else:
        version = task.current_version
    if version is None:
        raise invalid(f"{task.slug} has no {'version' if number is None else f'version {number}'}.", "version")
    return version
