"""Writes that concern tasks: taking them in from files, and completing what the import could not know."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from django.db import DataError, IntegrityError, transaction
from django.db.models import Max
from django.utils.text import slugify

from oneshot import store
from oneshot.accounts.models import Team, User, Visibility
from tasks.formats.base import DraftFile, TaskDraft, recognise
from tasks.formats.diff_tests import ReadBase, tests_after, tests_of_diff
from tasks.formats.discovery import Candidate, find_tasks
from tasks.models import Criterion, Rubric, Task, TaskVersion
from tasks.problems import Problem
from traces.models import Session

NEW, UNCHANGED, NEW_VERSION, REFUSED = "new", "unchanged", "new_version", "refused"

MAX_SLUG = 100
STAMP = re.compile(r"_(\d{8}_\d{6})$")
TRIES = 5


@dataclass(kw_only=True)
class ImportResult:
    """What became of one task. `slug` and `version` are None when it was refused and is not known from before."""

    path: str
    result: str
    slug: str | None = None
    version: int | None = None
    problems: list[Problem] = field(default_factory=list)
    notes: list[Problem] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return it with the keys that `import_tasks --json` promises, and `notes` beside them."""
        return {
            "path": self.path,
            "slug": self.slug,
            "version": self.version,
            "result": self.result,
            "problems": [problem.as_dict() for problem in self.problems],
            "notes": [note.as_dict() for note in self.notes],
        }


def import_tasks(
    paths: Iterable[str | Path],
    *,
    team: Team,
    by: User | None = None,
    public: bool = False,
    dry_run: bool = False,
    local_repositories: bool = True,
    on_result: Callable[[ImportResult], None] = lambda result: None,
) -> list[ImportResult]:
    """Take in every task found at `paths`, each on its own: a bad one is refused whole and stops no other.

    `public` makes new tasks readable by everyone, save those marked sensitive. A dry run says what would happen
    and stores nothing. `local_repositories=False` refuses repositories on this machine, for tasks that strangers
    hand in. `on_result` hears of each task as soon as it is done.
    """
    results = []
    for path in paths:
        for candidate in find_tasks(path):
            result = _import_one(
                candidate, team=team, by=by, public=public, dry_run=dry_run, local_repositories=local_repositories
            )
            results.append(result)
            on_result(result)
    return results


def store_draft(
    draft: TaskDraft,
    *,
    team: Team,
    by: User | None = None,
    state: str = Task.State.DRAFT,
    session: Session | None = None,
) -> TaskVersion:
    """Store a draft that has no problems and came from elsewhere than files; return its version.

    A new task gets `state` and the session that it was made from. A draft of a known id and content is not stored
    twice. It may be called within a transaction.
    """
    if draft.problems:
        raise ValueError(f"The draft cannot be stored: {draft.problems[0].message}")
    for attempt in range(1, TRIES + 1):
        storing = _Storing(draft, team=team, by=by, public=False, state=state, session=session)
        try:
            result = storing.run("")
        except IntegrityError:
            # Somebody else took the slug or the number between our look and our write.
            if attempt == TRIES:
                raise
            continue
        return TaskVersion.objects.select_related("task").get(task__slug=result.slug, number=result.version or 0)
    raise AssertionError("unreachable")


def complete_hidden_tests(version: TaskVersion, read_base: ReadBase) -> list[Problem]:
    """Fill in the tests that the reference diff changes rather than adds, now that the base is at hand.

    `read_base` returns a file of the base by its path in the diff, or None. Safe to call again; the version's
    digest stays, since these tests follow from it. Returns why tests are missing; [] when none is.
    """
    if not version.provenance.get("tests_from_diff"):
        return []
    # Asked of the diff anew: preparation may have brought its paths to those of a sub-directory.
    diff = version.reference_diff()
    have = {test["path"]: test for test in version.hidden_tests}
    missing = [path for path in tests_of_diff(diff)[0] if path not in have]
    if not missing:
        return []
    files, problems = tests_after(diff, missing, read_base)
    if files:
        have |= {row["path"]: row for row in map(_test_row, files)}
        version.hidden_tests = [have[path] for path in sorted(have)]
        version.save(update_fields=["hidden_tests"])
    return problems


def stem_of(external_id: str) -> str:
    """Return a task id without the time stamp that a capture adds, as in fix-it_20261120_225428."""
    match = STAMP.search(external_id)
    if match:
        try:
            datetime.strptime(match.group(1), "%Y%m%d_%H%M%S")
        except ValueError:
            return external_id
        return external_id[: match.start()]
    return external_id


def free_slug(*names: str) -> str:
    """Return a slug made from the first of `names` that yields one, and that no task has yet."""
    base = next((slug for slug in (slugify(name)[:MAX_SLUG].strip("-_") for name in names) if slug), "task")
    taken = set(Task.objects.filter(slug__startswith=base).values_list("slug", flat=True))
    slug, number = base, 2
    while slug in taken:
        slug, number = f"{base}-{number}", number + 1
    return slug


def _import_one(
    candidate: Candidate, *, team: Team, by: User | None, public: bool, dry_run: bool, local_repositories: bool
) -> ImportResult:
    refused = ImportResult(path=candidate.path, result=REFUSED, problems=candidate.problems)
    form = recognise(candidate.directory) if candidate.directory else None
    if candidate.directory is None or form is None:
        return refused
    try:
        draft = form.read(candidate.directory, local_repositories=local_repositories)
    except OSError as error:
        message = f"It cannot be read: {error.strerror or error}. Check the permissions."
        refused.problems = [*candidate.problems, Problem("", "", "", message)]
        return refused
    draft.problems = [*candidate.problems, *draft.problems]
    if candidate.archived:
        _refuse_archived_repository(draft)
    known = Task.objects.filter(team=team, external_id=draft.external_id).first()
    if draft.problems:
        refused.problems, refused.notes = draft.problems, draft.notes
        refused.slug = known.slug if known else None
        return refused
    if dry_run:
        return _foresee(candidate.path, draft, known)
    for attempt in range(1, TRIES + 1):
        try:
            return _Storing(draft, team=team, by=by, public=public).run(candidate.path)
        except IntegrityError:
            # Another import took the slug or the number between our look and our write.
            if attempt == TRIES:
                raise
        except DataError as error:
            message = f"The database does not take its content: {str(error).strip()}. Look for odd characters in it."
            refused.problems = [Problem("", "", "", message)]
            return refused
    raise AssertionError("unreachable")


def _refuse_archived_repository(draft: TaskDraft) -> None:
    """Refuse a repository that lies beside the task in an archive: it is gone once the import ends."""
    if draft.repo.get("git_url", "").startswith("/") and not draft.address.startswith("/"):
        message = "The repository lies in the archive, which is unpacked only for the import. Unpack it first."
        draft.refuse("tb_meta.json", "repo.git_url", draft.address, message)


def _foresee(path: str, draft: TaskDraft, known: Task | None) -> ImportResult:
    """Say what storing the draft would do."""
    if known is None:
        slug = free_slug(stem_of(draft.external_id), draft.title)
        return ImportResult(path=path, result=NEW, slug=slug, version=1, notes=draft.notes)
    same = _same_content(known, draft)
    if same:
        return ImportResult(path=path, result=UNCHANGED, slug=known.slug, version=same.number, notes=draft.notes)
    number = _next_number(known)
    return ImportResult(path=path, result=NEW_VERSION, slug=known.slug, version=number, notes=draft.notes)


def _same_content(task: Task, draft: TaskDraft) -> TaskVersion | None:
    """Return the version with the draft's content, or the one that was exported to its files."""
    same = task.versions.filter(digest=draft.digest()).first()
    if same is None and draft.exported_from:
        same = task.versions.filter(digest=draft.exported_from).first()
    return same


class _Storing:
    """One draft on its way into the database, in one transaction."""

    def __init__(
        self,
        draft: TaskDraft,
        *,
        team: Team,
        by: User | None,
        public: bool,
        state: str = Task.State.DRAFT,
        session: Session | None = None,
    ) -> None:
        self.draft = draft
        self.state = state
        self.session = session
        self.team = team
        self.by = by
        self.public = public and draft.sensitivity != "sensitive"
        self.notes = list(draft.notes)
        if public and not self.public:
            message = "The task is marked sensitive, so it stays with the members of its team."
            self.notes.append(Problem("tb_meta.json", "sensitivity.level", draft.sensitivity, message))

    def run(self, path: str) -> ImportResult:
        content = self._content()
        with transaction.atomic():
            task = self._task()
            same = _same_content(task, self.draft)
            if same:
                result = UNCHANGED
                version = self._refresh(task, same)
            else:
                result = NEW_VERSION if task.versions.exists() else NEW
                version = TaskVersion.objects.create(task=task, number=_next_number(task), **content)
                task.current_version = version
            if task.current_version_id == version.pk:
                task.title, task.tags = self.draft.title, self.draft.tags
                task.save(update_fields=["title", "tags", "current_version"])
            known = task.rubrics.exists()
            rubric, made = store_rubric(task, self.draft, by=self.by)
            if known and made and rubric:
                self.notes.append(Problem("tb_meta.json", "evaluation.rubrics", "", f"new rubric {rubric.number}"))
        return ImportResult(path=path, result=result, slug=task.slug, version=version.number, notes=self.notes)

    def _content(self) -> dict[str, Any]:
        """Put the files into the content store, where they do no harm should the rest fail; return the row."""
        draft = self.draft
        provenance = dict(draft.provenance)
        if self.by:
            provenance["imported_by"] = self.by.get_username()
        if draft.attachments:
            provenance["files"] = {name: store.put(data) for name, data in draft.attachments.items()}
        return {
            "digest": draft.digest(),
            "title": draft.title,
            "instructions": draft.instructions,
            "repo": draft.repo,
            "reference_diff_digest": store.put(draft.reference_diff) if draft.reference_diff else "",
            "environment": draft.environment,
            "hidden_tests": [_test_row(test) for test in draft.tests],
            "overlay_files": [
                {"path": file.path, "digest": store.put(file.content), "mode": file.mode} for file in draft.overlay
            ],
            "sensitivity": draft.sensitivity,
            "provenance": provenance,
        }

    def _task(self) -> Task:
        """Return the team's task of this id, locked where the database can; made when it is new."""
        draft = self.draft
        task = Task.objects.select_for_update().filter(team=self.team, external_id=draft.external_id).first()
        return task or Task.objects.create(
            slug=free_slug(stem_of(draft.external_id), draft.title),
            title=draft.title,
            team=self.team,
            visibility=Visibility.PUBLIC if self.public else Visibility.PRIVATE,
            tags=draft.tags,
            external_id=draft.external_id,
            state=self.state,
            session=self.session,
        )

    def _refresh(self, task: Task, version: TaskVersion) -> TaskVersion:
        """Take over what is no content: where the repository is fetched from, and how sensitive it is."""
        # An export names its own copy of the base, which is not where the version's comes from.
        if not version.snapshot_digest and version.digest == self.draft.digest():
            version.repo = self.draft.repo
        version.sensitivity = self.draft.sensitivity
        version.save(update_fields=["repo", "sensitivity"])
        if task.current_version and task.current_version_id != version.pk:
            current = task.current_version.number
            message = f"This is the content of version {version.number}; version {current} stays the current one."
            self.notes.append(Problem("", "", "", message))
        return version


def store_rubric(task: Task, draft: TaskDraft, *, by: User | None) -> tuple[Rubric | None, bool]:
    """Keep the draft's criteria as the task's next rubric, unless it has one of just this content.

    Returns the rubric, None for a draft without criteria, and whether it was made now.
    """
    digest = draft.rubric_digest()
    if not digest:
        return None, False
    if same := task.rubrics.filter(digest=digest).first():
        return same, False
    number = (task.rubrics.aggregate(last=Max("number"))["last"] or 0) + 1
    rubric = Rubric.objects.create(task=task, number=number, digest=digest, created_by=by)
    Criterion.objects.bulk_create(
        Criterion(
            rubric=rubric,
            position=position,
            key=criterion.key,
            text=criterion.text,
            weight=criterion.weight,
            kind=criterion.kind,
            checks=list(criterion.checks),
            **({"sees": list(criterion.sees)} if criterion.sees else {}),
        )
        for position, criterion in enumerate(draft.criteria)
    )
    return rubric, True


def _test_row(test: DraftFile) -> dict[str, Any]:
    return {"path": test.path, "digest": store.put(test.content), "rubric_id": test.rubric_id, "mode": test.mode}


def _next_number(task: Task) -> int:
    return (task.versions.aggregate(last=Max("number"))["last"] or 0) + 1
