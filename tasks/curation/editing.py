"""Changing a draft: every edit is kept, an undo is an edit too, and two people never overwrite each other."""

from __future__ import annotations

import json
from typing import Any

from django.db import transaction
from django.utils import timezone

from oneshot import store
from oneshot.accounts.models import User
from tasks.curation import claims
from tasks.curation.content import Content, checked, content_of
from tasks.models import CurationDraft, DraftEdit, Rubric, Task, TaskVersion


class EditConflict(Exception):
    """Someone else changed the field, or has the task. Nothing was written; both texts are here.

    `holder` is who has it or changed it; None when the account is gone.
    """

    def __init__(self, message: str, *, field: str, mine: Any, theirs: Any, holder: User | None) -> None:
        super().__init__(message)
        self.field, self.mine, self.theirs, self.holder = field, mine, theirs, holder


def newest_version(task: Task) -> TaskVersion | None:
    """Return the version that a draft starts from."""
    return task.versions.select_related("task").order_by("-number").first()


def newest_rubric(task: Task) -> Rubric | None:
    """Return the rubric that a draft starts from."""
    return task.rubrics.order_by("-number").first()


def look_at(task: Task) -> CurationDraft:
    """Return the task's draft without writing anything: a page that is only read must not wait for a writer.

    Raises ValueError for a task without any version.
    """
    version, rubric = newest_version(task), newest_rubric(task)
    if version is None:
        raise ValueError(f"{task.slug} has no version yet, so there is nothing to curate.")
    draft = CurationDraft.objects.filter(task=task).select_related("base_version__task", "base_rubric").first()
    if draft is None:
        draft = CurationDraft(task=task)
    elif not _is_behind(draft, version, rubric) or is_changed(draft):
        draft.task = task
        return draft
    draft.task, draft.base_version, draft.base_rubric = task, version, rubric
    draft.content = content_of(version, rubric)
    return draft


def _is_behind(draft: CurationDraft, version: TaskVersion, rubric: Rubric | None) -> bool:
    return (draft.base_version_id, draft.base_rubric_id) != (version.pk, rubric.pk if rubric else None)


@transaction.atomic
def open_draft(task: Task) -> CurationDraft:
    """Return the task's draft, made from its newest version and rubric when there is none.

    A draft that nobody has changed follows a newer version, such as one from another import.
    Raises ValueError for a task without any version.
    """
    version, rubric = newest_version(task), newest_rubric(task)
    if version is None:
        raise ValueError(f"{task.slug} has no version yet, so there is nothing to curate.")
    fresh = {"base_version": version, "base_rubric": rubric, "content": content_of(version, rubric)}
    draft, _ = CurationDraft.objects.select_for_update().get_or_create(task=task, defaults=fresh)
    if _is_behind(draft, version, rubric) and not is_changed(draft):
        for name, value in fresh.items():
            setattr(draft, name, value)
        draft.save(update_fields=list(fresh))
    return draft


def is_changed(draft: CurationDraft) -> bool:
    """Whether the draft differs from what it was made from."""
    if draft.base_version is None:
        return True
    return draft.content != content_of(draft.base_version, draft.base_rubric)


@transaction.atomic
def edit(draft: CurationDraft, field: str, value: Any, *, seen: int, by: User) -> DraftEdit | None:
    """Set one field, as it was seen at revision `seen`. None when it has that value already.

    Raises ValueError for a value that the field cannot have, EditConflict when someone else has the task or has
    changed this field since.
    """
    value = checked(field, value)
    draft = _locked(draft)
    _refuse_others(draft, field, value, seen=seen, by=by)
    return _write(draft, field, value, by=by)


@transaction.atomic
def undo(draft: CurationDraft, *, by: User) -> DraftEdit | None:
    """Take back the newest edit of `by` that is not taken back yet. None when there is none.

    Raises EditConflict when someone has changed that field since.
    """
    draft = _locked(draft)
    own = draft.edits.filter(by=by, undoes=None, undone_by=None)
    last = own.order_by("-revision").first()
    if last is None:
        return None
    before = last.before()
    if draft.content[last.field] != last.after():
        raise EditConflict(
            f"The {label(last.field)} changed after your edit, so it cannot be taken back.",
            field=last.field,
            mine=before,
            theirs=draft.content[last.field],
            holder=draft.updated_by,
        )
    _refuse_others(draft, last.field, before, seen=draft.revision, by=by)
    return _write(draft, last.field, before, by=by, undoes=last)


def label(field: str) -> str:
    """Return a field's name as people say it."""
    return field.replace("_", " ").replace("criteria", "rubric")


def _locked(draft: CurationDraft) -> CurationDraft:
    return CurationDraft.objects.select_for_update().select_related("task").get(pk=draft.pk)


def _refuse_others(draft: CurationDraft, field: str, value: Any, *, seen: int, by: User) -> None:
    if not claims.claim(draft.task, by):
        holder = claims.holder(draft.task)
        raise EditConflict(
            f"{holder or 'Someone else'} has this task now. Your text was not saved; copy it before you go on.",
            field=field,
            mine=value,
            theirs=draft.content[field],
            holder=holder,
        )
    since = draft.edits.filter(field=field, revision__gt=seen).exclude(by=by).select_related("by").last()
    if since is not None and draft.content[field] != value:
        raise EditConflict(
            f"{since.by or 'Someone'} changed the {label(field)} while you did. Both texts are kept: choose one.",
            field=field,
            mine=value,
            theirs=draft.content[field],
            holder=since.by,
        )


def _write(
    draft: CurationDraft, field: str, value: Any, *, by: User, undoes: DraftEdit | None = None
) -> DraftEdit | None:
    before = draft.content[field]
    if before == value:
        return None
    content: Content = {**draft.content, field: value}
    draft.content, draft.revision = content, draft.revision + 1
    draft.updated_by, draft.updated_at = by, timezone.now()
    draft.save(update_fields=["content", "revision", "updated_by", "updated_at"])
    if draft.task.state == Task.State.CAPTURED:
        # Whoever begins to edit what was captured has taken it up.
        from tasks.curation.states import move

        move(draft.task, Task.State.DRAFT, by=by)
    return DraftEdit.objects.create(
        draft=draft,
        revision=draft.revision,
        field=field,
        before_digest=store.put_text(json.dumps(before)),
        after_digest=store.put_text(json.dumps(value)),
        undoes=undoes,
        by=by,
    )
