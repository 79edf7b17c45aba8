"""What a run left: its tests by group, each with its output, and its artifacts."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from django.db.models import Case, Count, QuerySet, Sum, Value, When
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_GET

from oneshot import store
from oneshot.visible import without_colours
from runs.models import Artifact, Run, TestResult
from runs.views.access import is_inside, sees_answers, visible_run

Group, Verdict = TestResult.Group, TestResult.Verdict

# Lines of a group on the page itself; the others are asked for.
MOST_FAILED = 100
MOST_PASSED = 20
PAGE = 500
LONGEST_OUTPUT = 20_000
PREVIEW_BYTES = 64_000
TEXTUAL = ("text/", "application/json", "application/jsonl", "application/xml", "application/x-ndjson")


@dataclass(kw_only=True)
class TestGroup:
    """The tests of one group: the counts of all of them, and the lines to show first."""

    __test__ = False  # its name would make pytest collect it

    name: str
    label: str
    counts: dict[str, int] = field(default_factory=dict)
    seconds: float | None = None
    lines: list[TestResult] = field(default_factory=list)

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def passed(self) -> int:
        return self.counts.get(Verdict.PASSED, 0)

    @property
    def counted(self) -> bool:
        return self.name in (Group.FAIL_TO_PASS, Group.PASS_TO_PASS)

    @property
    def bad(self) -> int:
        """How many of these speak against the run; a test that is not counted never does."""
        return self.total - self.passed if self.counted else 0

    @property
    def rest(self) -> int:
        return self.total - len(self.lines)

    @property
    def is_open(self) -> bool:
        return bool(self.bad) or self.total <= MOST_PASSED

    @property
    def summary(self) -> str:
        """Return the counts in words: "4 of 4 passed", or for uncounted tests each verdict by itself."""
        if self.counted:
            return f"{self.passed:,} of {self.total:,} passed"
        words = {Verdict.MISSING: "not collected", Verdict.ERROR: "with an error"}
        return ", ".join(f"{n:,} {words.get(Verdict(verdict), verdict)}" for verdict, n in self.counts.items() if n)


def test_groups(run: Run, *, with_lines: bool) -> list[TestGroup]:
    """Return the groups of a run's tests, in the order in which they matter. Empty groups are left out."""
    groups = {name: TestGroup(name=name, label=label) for name, label in Group.choices}
    totals = run.test_results.values("group", "verdict").annotate(n=Count("pk"), spent=Sum("seconds"))
    for row in totals.order_by("group", "verdict"):
        group = groups[row["group"]]
        group.counts[row["verdict"]] = row["n"]
        if row["spent"] is not None:
            group.seconds = (group.seconds or 0.0) + row["spent"]
    found = [group for group in groups.values() if group.total]
    for group in found if with_lines else []:
        most = min(group.total - group.passed, MOST_FAILED) + MOST_PASSED
        group.lines = list(_in_order(run, group.name)[:most])
    return found


@require_GET
def run_tests(request: HttpRequest, pk: UUID, group: str) -> HttpResponse:
    """Send the lines of a group that the page left out: the passed ones after the `?after=`th."""
    run = visible_run(request, pk)
    if group not in Group.values or not sees_answers(run, inside=is_inside(request.user, run)):
        raise Http404
    after = request.GET.get("after", "0")
    start = min(int(after), 1_000_000) if after.isascii() and after.isdigit() else 0
    rows = _in_order(run, group)
    lines = list(rows[start : start + PAGE])
    left = rows.count() - start - len(lines)
    context = {"run": run, "lines": lines, "group": group, "after": start + len(lines), "left": left}
    return render(request, "runs/_test_lines.html", context)


def _in_order(run: Run, group: str) -> QuerySet[TestResult]:
    """Return a group's tests as the page lists them: what did not pass first."""
    passed = Case(When(verdict=Verdict.PASSED, then=Value(1)), default=Value(0))
    rows = run.test_results.only("run", "test_id", "group", "verdict", "seconds", "message", "output_digest")
    return rows.filter(group=group).order_by(passed, "test_id")


@require_GET
def test_output(request: HttpRequest, pk: UUID, result: int) -> HttpResponse:
    """Send what one test printed and why it failed, as a fragment."""
    run = visible_run(request, pk)
    if not sees_answers(run, inside=is_inside(request.user, run)):
        raise Http404
    row = get_object_or_404(run.test_results, pk=result)
    output = stored_text(row.output_digest)
    return render(request, "runs/_test_output.html", {"row": row, "output": output})


def stored_text(digest: str, most: int = LONGEST_OUTPUT) -> str:
    """Return stored text for a page: without colours, bounded, and saying so when it is cut or lost."""
    if not digest:
        return ""
    try:
        data = store.get(digest)
    except store.ContentMissing as error:
        return str(error)
    text = without_colours(data[: 2 * most].decode("utf-8", "replace"))
    if len(data) > 2 * most or len(text) > most:
        return f"{text[:most]}\n… {len(data):,} bytes in all, only the beginning is shown"
    return text


def _artifact(request: HttpRequest, pk: UUID, artifact: int) -> Artifact:
    run = visible_run(request, pk)
    if not sees_answers(run, inside=is_inside(request.user, run)):
        raise Http404
    return get_object_or_404(run.artifacts, pk=artifact)


@require_GET
def run_artifact(request: HttpRequest, pk: UUID, artifact: int) -> HttpResponse:
    """Send an artifact as a file. Its name and bytes are an agent's: it is never shown as a page."""
    row = _artifact(request, pk, artifact)
    return attachment(stored_bytes(row.digest), row.name.rpartition("/")[2] or "artifact")


@require_GET
def artifact_preview(request: HttpRequest, pk: UUID, artifact: int) -> HttpResponse:
    """Send the beginning of a text artifact, as a fragment of escaped text."""
    row = _artifact(request, pk, artifact)
    if not is_text(row):
        raise Http404
    return render(request, "runs/_preview.html", {"text": stored_text(row.digest, PREVIEW_BYTES)})


def is_text(artifact: Artifact) -> bool:
    return artifact.media_type.startswith(TEXTUAL)


def stored_bytes(digest: str) -> bytes:
    """Return stored bytes. Raises Http404 when the store has lost them."""
    try:
        return store.get(digest)
    except store.ContentMissing as error:
        raise Http404(str(error)) from error


def attachment(data: bytes, filename: str) -> HttpResponse:
    """Return bytes as a download that no browser runs or shows, whatever they are."""
    response = HttpResponse(data, content_type="application/octet-stream")
    name = "".join(character for character in filename if character.isprintable())[:150] or "file"
    response.headers["Content-Disposition"] = content_disposition_header(True, name) or "attachment"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Content-Security-Policy"] = "sandbox; default-src 'none'"
    return response
