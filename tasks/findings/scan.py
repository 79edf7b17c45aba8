"""Looks through a draft and keeps its findings in step: new ones open, those that are gone are fixed by themselves."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.db import transaction
from django.utils import timezone

from oneshot import store
from oneshot.accounts.models import Visibility
from tasks import trees
from tasks.curation.content import Content
from tasks.findings.base import Found, Part
from tasks.findings.leaks import answer_of, leaks_in
from tasks.findings.licences import licence_of
from tasks.findings.personal import personal_data_in
from tasks.findings.secrets import secrets_in
from tasks.models import CurationDraft, Finding, Task, TaskVersion
from tasks.patches import line_counts, touched_paths
from tasks.snapshot import ArchiveTree

# Beyond this a text of the trace is not looked at; it was redacted when it came in.
MOST_STEP = 50_000
MOST_STEPS = 2_000
MOST_LINES = 500
MOST_FILES = 20
# Kinds that a scan of the content decides about; flaky tests and validation have writers of their own.
SCANNED = ("secret", "personal", "leak", "licence", "visibility", "quality")


@transaction.atomic
def rescan(draft: CurationDraft) -> list[Finding]:
    """Look through the draft as it is and return its open findings, the blocking ones first."""
    draft = (
        CurationDraft.objects.select_for_update(of=("self",)).select_related("task", "base_version").get(pk=draft.pk)
    )
    found = {one.fingerprint(): one for one in scan(draft.content, draft.task, draft.base_version)}
    rows = {row.fingerprint: row for row in Finding.objects.filter(task=draft.task, kind__in=SCANNED)}
    now = timezone.now()
    for fingerprint, one in found.items():
        row = rows.get(fingerprint)
        fields = {"severity": one.severity, "message": one.message[:1000], "place": one.place()}
        if row is None:
            Finding.objects.create(
                task=draft.task,
                fingerprint=fingerprint,
                kind=one.kind,
                title=one.title[:200],
                waivable=one.waivable,
                **fields,
            )
        elif row.status == Finding.Status.FIXED:
            Finding.objects.filter(pk=row.pk).update(status=Finding.Status.OPEN, closed_at=None, found_at=now, **fields)
        elif any(getattr(row, name) != value for name, value in fields.items()):
            Finding.objects.filter(pk=row.pk).update(**fields)
    gone = [row.pk for key, row in rows.items() if key not in found and row.status == Finding.Status.OPEN]
    Finding.objects.filter(pk__in=gone).update(status=Finding.Status.FIXED, closed_at=now)
    return list(Finding.objects.filter(task=draft.task, status=Finding.Status.OPEN))


def open_findings(draft: CurationDraft) -> list[Finding]:
    """Return what `rescan` would leave open, without writing: rows that are there, and new ones that are not saved."""
    task = draft.task
    rows = {row.fingerprint: row for row in Finding.objects.filter(task=task)}
    shown = [row for row in rows.values() if row.kind not in SCANNED and row.status == Finding.Status.OPEN]
    for one in scan(draft.content, task, draft.base_version):
        fingerprint = one.fingerprint()
        row = rows.get(fingerprint) or Finding(
            task=task, fingerprint=fingerprint, kind=one.kind, title=one.title[:200], waivable=one.waivable
        )
        if row.status == Finding.Status.WAIVED:
            continue
        row.severity, row.message, row.place = one.severity, one.message[:1000], one.place()
        shown.append(row)
    return sorted(shown, key=lambda row: (row.severity != Finding.Severity.BLOCK, row.title))


def scan(content: Content, task: Task, version: TaskVersion | None) -> list[Found]:
    """Return everything that should not be in a task of this content, in the order of its parts."""
    found: list[Found] = []
    for part in parts_of(content, task):
        found += secrets_in(part)
        if part.part in ("title", "instructions", "trace", "tests"):
            found += personal_data_in(part)
    found += leaks_in(content["instructions"], _answer(content["reference_diff"], _test_digests(content)))
    found += _about_the_whole(content, task, version)
    return found


def parts_of(content: Content, task: Task) -> Iterator[Part]:
    """Give the texts of a draft, and those of the session it was captured from."""
    yield Part(part="title", text=content["title"])
    yield Part(part="instructions", text=content["instructions"])
    if content["reference_diff"]:
        yield Part(part="reference", text=_text(content["reference_diff"]))
    for test in content["tests"]:
        if not test["path"].endswith("/"):
            yield Part(part="tests", path=test["path"], text=_text(test["digest"]))
    if content["environment"]:
        yield Part(part="environment", text=json.dumps(content["environment"], indent=2, ensure_ascii=False))
    if task.session is not None:
        for step in task.session.shown_steps()[:MOST_STEPS].iterator(chunk_size=200):
            yield Part(part="trace", step=step.position, text=f"{step.preview}\n{step.result_preview}"[:MOST_STEP])


@lru_cache(maxsize=64)
def _text(digest: str) -> str:
    return store.get_text(digest)


def _test_digests(content: Content) -> tuple[tuple[str, str], ...]:
    return tuple((test["path"], test["digest"]) for test in content["tests"] if not test["path"].endswith("/"))


@lru_cache(maxsize=16)
def _answer(reference: str, tests: tuple[tuple[str, str], ...]) -> Any:
    return answer_of(_text(reference) if reference else "", [(path, _text(digest)) for path, digest in tests])


def _about_the_whole(content: Content, task: Task, version: TaskVersion | None) -> Iterator[Found]:
    def one(kind: str, severity: str, title: str, message: str, part: str = "", **more: Any) -> Found:
        return Found(kind=kind, severity=severity, title=title, message=message, part=part, essence=title, **more)

    if task.visibility == Visibility.PUBLIC and content["sensitivity"] == "sensitive":
        yield one("visibility", "block", "Sensitive, and readable by everyone", "Let only the team read it.")
    licence = _licence(version.snapshot_digest) if version and version.snapshot_digest else None
    if licence == "":
        message = "The repository has no licence file. Its code may not be passed on without its owner's consent."
        yield one("licence", "warn", "No licence", message)
    elif licence == "other":
        yield one("licence", "warn", "Unknown licence", "Read the repository's licence before you publish its code.")
    if len(content["instructions"].split()) < 5:
        yield one(
            "quality",
            "warn",
            "Hardly any instructions",
            "Say what is wanted, and how one sees that it works.",
            "instructions",
        )
    if not content["tests"]:
        message = "Nothing but the repository's own suite tells a solution from none. Add a hidden test."
        yield one("quality", "warn", "No hidden tests", message, "tests")
    if content["reference_diff"]:
        diff = store.get(content["reference_diff"])
        lines, files = sum(line_counts(diff)), len(set(touched_paths(diff)))
        if lines > MOST_LINES or files > MOST_FILES:
            message = f"The reference changes {lines} lines in {files} files. Is this one task?"
            yield one("quality", "warn", "A large change", message, "reference")


@lru_cache(maxsize=256)
def _licence(snapshot_digest: str) -> str:
    with tempfile.NamedTemporaryFile(prefix="oneshot-licence-") as file:
        path = Path(file.name)
        store.get_file(snapshot_digest, path)
        with trees.open_archive(path) as archive:
            tree = ArchiveTree(archive)
            return licence_of(tree.paths, tree.read)
