"""From a draft to a version that never changes, and from a version to a published task."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from oneshot.accounts.models import User
from tasks.actions import store_rubric
from tasks.curation import claims
from tasks.curation.content import VERSIONED, as_task_draft, content_of
from tasks.curation.editing import open_draft
from tasks.curation.states import NotAllowed, State, move
from tasks.findings.scan import rescan
from tasks.models import CurationDraft, Finding, Review, Task, TaskVersion

# What preparation and validation found out about the base, which is the same base for every version of a draft.
OF_THE_BASE = ("repo", "overlay_files", "snapshot_digest", "snapshot_commit", "detected_environment")


@transaction.atomic
def freeze(task: Task, *, by: User) -> TaskVersion:
    """Return a version that holds the draft's content: the newest one when it does already, else a new one.

    The rubric is frozen beside it under a number of its own. A task that was never published shows its newest
    version; a published one goes on showing what was published.
    """
    task = Task.objects.select_for_update().get(pk=task.pk)
    draft = CurationDraft.objects.select_for_update().get(pk=open_draft(task).pk)
    base = draft.base_version
    if base is None:
        raise NotAllowed(f"The version that the draft of {task.slug} was made from is gone.")
    read = as_task_draft(draft.content, base)
    rubric, _ = store_rubric(task, read, by=by)
    version = base
    if _differs(draft, base):
        version = _new_version(task, draft, base, read.digest(), by)
        if task.state not in (State.PUBLISHED, State.RETIRED):
            task.current_version = version
    task.title, task.tags = draft.content["title"], draft.content["tags"]
    task.save(update_fields=["title", "tags", "current_version"])
    draft.base_version, draft.base_rubric = version, rubric
    draft.save(update_fields=["base_version", "base_rubric"])
    return version


def _differs(draft: CurationDraft, base: TaskVersion) -> bool:
    was = content_of(base, None)
    return any(draft.content[field] != was[field] for field in VERSIONED)


def _new_version(task: Task, draft: CurationDraft, base: TaskVersion, digest: str, by: User) -> TaskVersion:
    same = task.versions.filter(digest=digest).first()
    if same is not None:
        return same
    provenance = {name: value for name, value in base.provenance.items() if name != "tests_from_diff"}
    content = draft.content
    return TaskVersion.objects.create(
        task=task,
        number=(task.versions.aggregate(last=Max("number"))["last"] or 0) + 1,
        digest=digest,
        title=content["title"],
        instructions=content["instructions"],
        environment=content["environment"],
        sensitivity=content["sensitivity"],
        reference_diff_digest=content["reference_diff"],
        hidden_tests=content["tests"],
        provenance={**provenance, "edited_from": base.number},
        created_by=by,
        **{name: getattr(base, name) for name in OF_THE_BASE},
    )


def blockers(draft: CurationDraft, findings: Iterable[Finding]) -> list[str]:
    """Return why a draft with these open findings cannot be published, a sentence each; [] when it can."""
    base = draft.base_version
    said = []
    if not draft.content["instructions"].strip():
        said.append("There are no instructions.")
    if not draft.content["reference_diff"]:
        said.append("There is no reference diff.")
    if base is None or _differs(draft, base):
        said.append("The draft has changed since the last validation. Validate it.")
    elif base.validation == TaskVersion.Validation.NONE:
        said.append("It has not been validated.")
    elif base.validation == TaskVersion.Validation.RUNNING:
        said.append("Its validation is still running.")
    elif base.validation == TaskVersion.Validation.INVALID:
        said.append(f"It is not valid: {base.validation_reason}")
    blocking = sum(finding.severity == Finding.Severity.BLOCK for finding in findings)
    if blocking:
        said.append(f"{blocking} finding{'s block' if blocking > 1 else ' blocks'} it: mend or waive.")
    return said


@transaction.atomic
def publish(task: Task, *, by: User, reason: str = "") -> Review:
    """Publish what is on the desk. Raises NotAllowed with every reason that stands against it."""
    task = Task.objects.select_for_update().select_related("team").get(pk=task.pk)
    draft = open_draft(task)
    if against := blockers(draft, rescan(draft)):
        raise NotAllowed(" ".join(against))
    version = freeze(task, by=by)
    review = move(task, State.PUBLISHED, by=by, reason=reason, version=version)
    if version.published_at is None:
        version.published_at, version.published_by = timezone.now(), by
        version.save(update_fields=["published_at", "published_by"])
    Task.objects.filter(pk=task.pk).update(current_version=version, claimed_by=None, claimed_at=None)
    return review


@transaction.atomic
def move_on(task: Task, to: str, *, by: User, reason: str = "") -> Review:
    """Make one of the moves that a task offers, with what belongs to it: the desk's content is frozen for a review
    and published only when nothing stands against it; the desk is free for others then. Raises NotAllowed."""
    if to not in State.values:
        raise NotAllowed("There is no such state.")
    if to == State.PUBLISHED:
        return publish(task, by=by, reason=reason)
    if to == State.REVIEW:
        freeze(task, by=by)
    review = move(task, to, by=by, reason=reason)
    claims.release(task, by)
    return review


def waive(finding: Finding, *, by: User, reason: str) -> None:
    """Let a finding stand, under a name and for a reason that are shown for ever. Raises NotAllowed."""
    if not reason.strip():
        raise NotAllowed("Say why this may stand: the reason is shown with the task for ever.")
    if not finding.waivable:
        raise NotAllowed(f"This cannot be waived: {finding.message}")
    waived = Finding.objects.filter(pk=finding.pk, status=Finding.Status.OPEN).update(
        status=Finding.Status.WAIVED, waived_by=by, waiver_reason=reason.strip(), closed_at=timezone.now()
    )
    if not waived:
        raise NotAllowed("This finding is closed already. Load the page again.")
    finding.refresh_from_db()
