"""Makes a task afterwards: from a session that was not captured, and the history of its repository."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.utils import timezone

from oneshot.accounts.models import Team, User
from tasks.actions import store_draft
from tasks.capture import difference, keeping
from tasks.capture.drafting import Material, folder_for, make_draft
from tasks.capture.errors import CannotRebuild
from tasks.capture.instructions import request_of
from tasks.capture.lifecycle import MAX_TITLE, TRACE, Ended, slug_of
from tasks.capture.worktree import Worktree, without_credentials
from tasks.models import Task
from tasks.patches import touched_paths
from traces.models import Session, Step

# A commit is often made a little after the last word of a session.
AFTERWARDS = timedelta(minutes=10)


@dataclass(frozen=True)
class _Change:
    """What was found out: from `start` on, to a commit `end` or, where it is "", by patches of the trace."""

    start: str
    end: str
    diff: bytes
    note: str


def from_session(
    session: Session,
    *,
    repository: Path | None = None,
    start: str = "",
    end: str = "",
    title: str = "",
    team: Team | None = None,
    user: User | None = None,
) -> Ended:
    """Make a draft of a session. Called again for the same session and title it makes no second task.

    `repository` is read with the rights of this process; None makes a draft with instructions and trace, without
    code. `start` and `end` name commits; left out, the start is the commit that the session says, and the change is
    what its patches do to it, or else the last commit on the session's branch within its time. Raises CannotRebuild,
    naming what is missing, and BadRepository.
    """
    title = " ".join((title or session.title or "Task from a session").split())[:MAX_TITLE]
    external_id = f"{slug_of(title)}_{session.started_at or session.created_at:%Y%m%d_%H%M%S}"
    place = Worktree.locate(repository) if repository is not None else None
    change = _rebuild(session, place, start, end) if place else _Change(start or session.commit, end, b"", NO_CODE)
    if place is None and request_of(session) is None:
        raise CannotRebuild(
            "The session holds no request of a user, and no repository was named: there is no task in it."
        )
    material = Material(
        worktree=place,
        external_id=external_id,
        title=title,
        start_commit=change.start,
        end_commit=change.end,
        head=change.start,
        branch=session.branch,
        remote=without_credentials(session.repository),
        diff=change.diff,
        touched=sorted(touched_paths(change.diff)),
        session=session,
        provenance=_provenance(session),
    )
    draft = make_draft(material)
    notes = [change.note, *(note.message for note in draft.notes)]
    version = store_draft(draft, team=team or session.team, by=user, state=Task.State.CAPTURED, session=session)
    task_dir = folder_for(external_id, Path(settings.DATA_DIR))
    if place:
        notes += keeping.complete(version, place.common_dir, change.start, task_dir)
    return Ended(
        capture=None,
        task=version.task,
        version=version,
        diff_bytes=len(change.diff),
        touched_files=material.touched,
        task_dir=task_dir,
        trace_path=task_dir / TRACE if place else None,
        notes=notes,
    )


NO_CODE = "No repository was named: the draft has what was asked and the trace, without base, change and tests."


def _provenance(session: Session) -> dict[str, str]:
    known = {
        "from_session": timezone.now().isoformat(),
        "created_at": (session.started_at or session.created_at).isoformat(),
        "agent": session.agent,
        "agent_version": session.agent_version,
        "thread_id": session.thread_id,
    }
    return {key: value for key, value in known.items() if value}


def _rebuild(session: Session, place: Worktree, start: str, end: str) -> _Change:
    begin = _start(session, place, start)
    if end:
        last = place.resolve(end)
        if not last:
            raise CannotRebuild(
                f"{end} is no commit of {place.top}. Name one as `git log` shows it, or fetch it first."
            )
        return _between(place, begin, last, f"The change is that from {begin[:12]} to {last[:12]}.")
    patches = list(_patches(session))
    diff, applied, why = difference.combined(
        place, begin, [patch for _, patch in patches], below=_below(session, place)
    )
    if diff:
        note = (
            f"The change is rebuilt from {len(patches)} patches of the trace, on {begin[:12]}; what commands changed, "
            "and what was not committed before the session, is not in it."
        )
        return _Change(begin, "", diff, note)
    if last := _last_commit(session, place, begin):
        return _between(place, begin, last, f"The change is that from {begin[:12]} to {last[:12]}, the session's last.")
    if patches:
        number, paths = patches[applied][0], ", ".join(touched_paths(patches[applied][1])[:3])
        raise CannotRebuild(
            f"The change cannot be rebuilt: the patch in step {number} ({paths}) does not apply to {begin[:12]}, and "
            f"no commit was made in the session's time. git says: {why} Name the commit after the work as the end."
        )
    raise CannotRebuild(
        f"The session shows no patches, and no commit after {begin[:12]} was made in its time. Name the commit after "
        "the work as the end."
    )


def _start(session: Session, place: Worktree, named: str) -> str:
    wanted = named or session.commit
    if not wanted:
        raise CannotRebuild("The session does not say at which commit it began. Name the commit before the work.")
    if found := place.resolve(wanted):
        return found
    if named:
        raise CannotRebuild(f"{named} is no commit of {place.top}. Name one as `git log` shows it, or fetch it first.")
    raise CannotRebuild(
        f"The commit {wanted[:12]}, at which the session began, is not in {place.top}. Fetch it, name the repository "
        "that the session worked in, or name another commit before the work."
    )


def _between(place: Worktree, start: str, end: str, note: str) -> _Change:
    try:
        return _Change(start, end, difference.reference_diff(place, start, end), note)
    except difference.DoesNotApply as error:
        raise CannotRebuild(str(error)) from None


def _patches(session: Session) -> Iterator[tuple[int, bytes]]:
    """Yield (position, diff) of every patch that was applied."""
    for step in session.shown_steps().filter(kind=Step.Kind.PATCH).exclude(failed=True):
        body = step.body()
        yield step.position, body.encode("utf-8", "surrogateescape")


def _below(session: Session, place: Worktree) -> str:
    """Return the directory of the repository that the session worked in; its patches name paths below it."""
    relative = os.path.relpath(session.cwd, place.top) if session.cwd.startswith("/") else "."
    return "" if relative == "." or relative.startswith("..") else relative


def _last_commit(session: Session, place: Worktree, start: str) -> str:
    """Return the last commit after `start` on the session's branch, up to a little after its end; "" for none."""
    tip = (place.resolve(f"refs/heads/{session.branch}") if session.branch else "") or place.resolve("HEAD")
    if not tip or session.ended_at is None:
        return ""
    until = int((session.ended_at + AFTERWARDS).timestamp())
    listed = place.run(["rev-list", "-1", f"--before=@{until}", tip, f"^{start}"])
    return listed.stdout.decode().strip() if listed.ok else ""
