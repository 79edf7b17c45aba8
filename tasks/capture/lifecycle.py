"""The life of a capture: start, end, finish later, drop. The row is the truth; a kill at any moment loses nothing.

`start` writes the row before the ref, `end` writes task and row in one transaction, and each may be called again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from oneshot import store
from oneshot.accounts.actions import default_team
from oneshot.accounts.models import Team, User
from tasks.actions import store_draft
from tasks.capture import difference, keeping, snapshot
from tasks.capture.client import Client
from tasks.capture.drafting import Material, folder_for, make_draft
from tasks.capture.errors import BadRepository, CaptureError, NotReady, SeveralOpen, WrongState
from tasks.capture.readiness import check
from tasks.capture.redacting import without_secrets
from tasks.capture.sessions import session_of
from tasks.capture.worktree import Worktree
from tasks.models import Capture, Task, TaskVersion
from tasks.repositories import locked
from traces.redaction import redact

MAX_TITLE = 300
MAX_TEXT = 100_000
SLUG_TRIES = 30
NOBODY = Client()
TRACE = Path("trace") / "session_clean.json"


@dataclass(frozen=True, kw_only=True)
class Ended:
    """What came out of a capture; `capture` is None for a task that was made from a session afterwards.

    `trace_path` is the session's trace in `task_dir`, None when there is none. `notes` are sentences for the user.
    """

    capture: Capture | None
    task: Task
    version: TaskVersion
    diff_bytes: int
    touched_files: list[str]
    task_dir: Path
    trace_path: Path | None
    notes: list[str] = field(default_factory=list)


def start(
    *,
    worktree: Path,
    title: str,
    notes: str = "",
    labels: Iterable[str] = (),
    client: Client = NOBODY,
    team: Team | None = None,
    user: User | None = None,
) -> Capture:
    """Snapshot the repository around `worktree` and open a capture of it.

    A call that is made twice, by the same thread with the same title and nothing changed since, opens one. Raises
    NotReady, BadRepository, or CaptureError for a title that says nothing.
    """
    title = " ".join(_clean(title).split())[:MAX_TITLE]
    if not title:
        raise CaptureError("The capture has no title. Say in a few words what is to be done.")
    place = Worktree.locate(worktree)
    readiness = check(place.top)
    if not readiness.ok:
        raise NotReady(readiness)
    taken = snapshot.take(place, message=f"OneShot start: {title}")
    if twin := _twin(place, client, title, taken.tree):
        return twin
    capture = Capture(
        team=team or default_team(),
        user=user,
        title=title,
        notes=_clean(notes)[:MAX_TEXT],
        labels=_labels(labels),
        worktree=str(place.top),
        git_dir=str(place.git_dir),
        head_commit=taken.head,
        branch=taken.branch[:300],
        remote_urls=place.remote_urls,
        start_commit=taken.commit,
        agent=client.agent[:40],
        thread_id=client.thread_id[:200],
        detail={
            "common_dir": str(place.common_dir),
            "readiness": readiness.as_dict(),
            "submodules": taken.submodules,
            **_kept_out(taken),
            "notes": taken.notes,
            "client": asdict(client),
        },
    )
    _save_with_slug(capture)
    try:
        snapshot.keep(place, capture.pk, "start", taken.commit)
    except BadRepository:
        # Without its ref the snapshot could be cleaned away before the end.
        capture.delete()
        raise
    return capture


def open_captures(worktree: Path | None = None, thread_id: str = "") -> QuerySet[Capture]:
    """Return the open captures, newest first; of one worktree or thread where it is given."""
    found = Capture.objects.filter(status=Capture.Status.OPEN).select_related("team").order_by("-started_at")
    if worktree is not None:
        found = found.filter(worktree=str(_top_of(worktree)))
    return found.filter(thread_id=thread_id) if thread_id else found


def find_open(worktree: Path, client: Client) -> Capture | None:
    """Return the open capture that a client means, None when there is none.

    Its own thread's comes first: the newest, so that one capture within another ends first; in this worktree before
    others. Without one, the only open capture of the worktree. Raises SeveralOpen.
    """
    top = str(_top_of(worktree))
    if client.thread_id and (own := list(open_captures(thread_id=client.thread_id))):
        return next((capture for capture in own if capture.worktree == top), own[0])
    here = list(open_captures(worktree))
    if len(here) > 1:
        names = "\n".join(
            f"  {capture.slug}  {capture.title[:60]}  (started {capture.started_at:%Y-%m-%d %H:%M} UTC)"
            for capture in here
        )
        raise SeveralOpen(f"{len(here)} captures are open in {top}; name the one you mean:\n{names}")
    return here[0] if here else None


def end(
    capture: Capture,
    *,
    summary: str = "",
    labels: Iterable[str] = (),
    client: Client = NOBODY,
    worktree: Path | None = None,
) -> Ended:
    """Snapshot the repository again and make a task draft of what was done since the start.

    Called again it returns the same. `worktree` says where the repository is now, if it was moved. Until the draft
    is stored the capture stays open, whatever fails. Raises BadRepository, WrongState, CaptureError.
    """
    return _end(capture, summary=summary, labels=labels, client=client, worktree=worktree, by_hand=False)


def finish(capture: Capture, *, summary: str = "", worktree: Path | None = None) -> Ended:
    """End a capture whose agent never did, with the tree as it is now, or as it was when an end was tried before.

    Raises what `end` raises.
    """
    return _end(capture, summary=summary, labels=(), client=NOBODY, worktree=worktree, by_hand=True)


def drop(capture: Capture) -> None:
    """Give an open capture up and remove its refs; of an ended one, only the refs. A task that was made stays."""
    with locked(f"capture-{capture.pk}"):
        capture.refresh_from_db()
        common = Path(str(capture.detail.get("common_dir") or capture.git_dir))
        # A repository that is gone took the refs with it.
        if common.is_dir():
            snapshot.forget(Worktree(common, common, common), capture.pk)
        if capture.status == Capture.Status.OPEN:
            capture.status, capture.ended_at = Capture.Status.DROPPED, timezone.now()
            capture.save(update_fields=["status", "ended_at"])


def slug_of(title: str) -> str:
    """Return the first part of a capture's slug, as the original makes it from a title; "" for one of signs only."""
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", title.lower())).strip("-")[:50]


def _save_with_slug(capture: Capture) -> None:
    """Save a new capture under a slug of its own: title and time, a second later when that is taken."""
    at = timezone.now()
    for extra in range(SLUG_TRIES):
        capture.slug = f"{slug_of(capture.title)}_{at + timedelta(seconds=extra):%Y%m%d_%H%M%S}"
        if Capture.objects.filter(slug=capture.slug).exists():
            continue
        try:
            with transaction.atomic():
                capture.save(force_insert=True)
        except IntegrityError:
            continue
        return
    raise CaptureError(f"{SLUG_TRIES} captures called {capture.title!r} were started at once. Try again.")


def _kept_out(taken: snapshot.Snapshot) -> dict[str, Any]:
    return {"left_out": taken.left_out, "secrets": taken.cleaned.secrets, "redacted": taken.cleaned.blobs}


def _twin(place: Worktree, client: Client, title: str, tree: str) -> Capture | None:
    if not client.thread_id:
        return None
    same = open_captures(place.top, client.thread_id).filter(title=title)
    for capture in same:
        known = place.run(["rev-parse", "--verify", "--quiet", f"{capture.start_commit}^{{tree}}"])
        if known.stdout.decode().strip() == tree:
            snapshot.keep(place, capture.pk, "start", capture.start_commit)
            return capture
    return None


def _top_of(path: Path) -> Path:
    try:
        return Worktree.locate(path).top
    except BadRepository:
        return path.absolute()


def _clean(text: str) -> str:
    """Return text without secrets, and without what a database cannot hold."""
    return redact(text.replace("\0", "").encode("utf-8", "replace").decode())


def _labels(labels: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(" ".join(_clean(str(label)).split())[:100] for label in labels if str(label).strip()))[
        :50
    ]


def _end(
    capture: Capture, *, summary: str, labels: Iterable[str], client: Client, worktree: Path | None, by_hand: bool
) -> Ended:
    with locked(f"capture-{capture.pk}"):
        capture.refresh_from_db()
        if capture.status == Capture.Status.DROPPED:
            raise WrongState(f"The capture {capture.slug} was dropped. Start another one.")
        if capture.status == Capture.Status.OPEN:
            ending = _Ending(capture, worktree)
            ending.say(summary, labels, client, by_hand)
            ending.run()
        return _finished(capture)


class _Ending:
    """An open capture on its way to a task."""

    def __init__(self, capture: Capture, worktree: Path | None) -> None:
        self.capture = capture
        self.notes: list[str] = [str(note) for note in capture.detail.get("notes", [])]
        self.provenance: dict[str, Any] = {}
        self.is_there = True
        self.place = self._locate(worktree)

    def say(self, summary: str, labels: Iterable[str], client: Client, by_hand: bool) -> None:
        """Take what the one who ends it says."""
        capture = self.capture
        capture.summary = _clean(summary)[:MAX_TEXT] or capture.summary
        capture.labels = _labels([*capture.labels, *labels])
        capture.agent = capture.agent or client.agent[:40]
        capture.thread_id = capture.thread_id or client.thread_id[:200]
        if client.version and not capture.detail["client"].get("version"):
            capture.detail["client"]["version"] = client.version
        if by_hand:
            self.provenance["finished_by_hand"] = True
            self.notes.append(
                "It was never ended by its agent. It was finished by hand, with the files as they were then."
            )

    def run(self) -> None:
        capture = self.capture
        self._snapshot()
        diff = self._diff()
        touched = difference.touched_files(self.place, capture.start_commit, capture.end_commit)
        session, notes = session_of(capture)
        self.notes += notes
        material = Material(
            worktree=self.place,
            external_id=capture.slug,
            title=capture.title,
            start_commit=capture.start_commit,
            end_commit=capture.end_commit,
            head=capture.head_commit,
            branch=capture.branch,
            diff=diff,
            touched=touched,
            session=session,
            notes=capture.notes,
            summary=capture.summary,
            labels=capture.labels,
            capture=capture,
            provenance=self._provenance(),
        )
        draft = make_draft(material)
        self.notes += [note.message for note in draft.notes]
        capture.diff_digest = store.put(without_secrets(diff)) if diff else ""
        with transaction.atomic():
            version = store_draft(draft, team=capture.team, by=capture.user, state=Task.State.CAPTURED, session=session)
            capture.task = version.task
            capture.status, capture.ended_at = Capture.Status.ENDED, timezone.now()
            capture.detail["end"] |= {
                "version": str(version.pk),
                "diff_bytes": len(diff),
                "touched_files": touched,
                "notes": self.notes,
            }
            capture.save()

    def _locate(self, worktree: Path | None) -> Worktree:
        """Find the repository again; without its folder the objects will do, if the end was kept before."""
        capture = self.capture
        folder = worktree or Path(capture.worktree)
        if (folder / ".git").exists() or worktree:
            place = Worktree.locate(folder)
            if place.resolve(capture.start_commit):
                return place
            raise BadRepository(
                f"{place.top} does not have the start of {capture.slug} ({capture.start_commit[:12]}): it is another "
                f"repository, or was cloned again. Put the first one back, or give up: "
                f"oneshot capture drop {capture.slug}"
            )
        common = Path(str(capture.detail.get("common_dir", "")))
        if capture.end_commit and common.is_dir():
            self.is_there = False
            return Worktree(common, common, common)
        raise BadRepository(
            f"{folder}, where {capture.slug} was started, is not there any more. If it was moved, move it back and "
            f"end the capture; if it is gone, give up: oneshot capture drop {capture.slug}"
        )

    def _snapshot(self) -> None:
        """Take the end and note it in the row at once, so that it can be finished even when the folder goes."""
        capture = self.capture
        if not self.is_there:
            self.notes.append("The folder is gone: the end is as it was when ending was tried before.")
            return
        begun = snapshot.Before(
            capture.head_commit, capture.detail.get("left_out", []), capture.detail.get("redacted", {})
        )
        taken = snapshot.take(self.place, message=f"OneShot end: {capture.title}", before=begun)
        snapshot.keep(self.place, capture.pk, "start", capture.start_commit)
        snapshot.keep(self.place, capture.pk, "end", taken.commit)
        self.notes += [note for note in taken.notes if note not in self.notes]
        capture.end_commit = taken.commit
        capture.detail["end"] = {
            "head": taken.head,
            "branch": taken.branch,
            "submodules": taken.submodules,
            **_kept_out(taken),
        }
        capture.save(update_fields=["end_commit", "detail"])

    def _diff(self) -> bytes:
        try:
            return difference.reference_diff(self.place, self.capture.start_commit, self.capture.end_commit)
        except difference.DoesNotApply as error:
            self.notes.append(str(error))
            return error.diff

    def _provenance(self) -> dict[str, Any]:
        capture = self.capture
        end = capture.detail.get("end", {})
        known = {
            "capture": str(capture.pk),
            "created_at": capture.started_at.isoformat(),
            "agent": capture.agent,
            "agent_version": str(capture.detail["client"].get("version", "")),
            "thread_id": capture.thread_id,
            "end_head_commit": end.get("head", ""),
            "end_branch": end.get("branch", ""),
            "submodules": capture.detail.get("submodules", []),
            **self.provenance,
        }
        return {key: value for key, value in known.items() if value}


def _finished(capture: Capture) -> Ended:
    """Return what an ended capture came to; does what was not done yet after the draft was stored."""
    result = capture.detail["end"]
    version = TaskVersion.objects.select_related("task").filter(pk=result["version"]).first()
    if version is None:
        raise WrongState(f"The task of the capture {capture.slug} was removed.")
    notes = [str(note) for note in result["notes"]]
    repository = Path(str(capture.detail["common_dir"]))
    task_dir = folder_for(capture.slug, Path(settings.DATA_DIR))
    if not (task_dir / "tb_meta.json").is_file() or not keeping.has_base(version):
        if keeping.is_large(repository, capture.start_commit):
            keeping.keep_in_background(capture)
            notes.append(f"The repository is large: {task_dir} is being written, which takes some seconds more.")
        else:
            notes += keeping.complete(version, repository, capture.start_commit, task_dir)
    return Ended(
        capture=capture,
        task=version.task,
        version=version,
        diff_bytes=result["diff_bytes"],
        touched_files=[str(path) for path in result["touched_files"]],
        task_dir=task_dir,
        trace_path=task_dir / TRACE if version.task.session_id else None,
        notes=notes,
    )
