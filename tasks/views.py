"""Pages of tasks: the list, and one task with its versions. What shows runs is embedded from the app of runs."""

from typing import Any

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from oneshot import diffs, store
from oneshot.accounts.models import Visibility
from tasks import facts
from tasks.access import set_visibility
from tasks.listing import PAGE, Listing
from tasks.models import Task, TaskVersion
from tasks.views_captures import open_captures_of

# Ids of tests to fix on the page itself; the rest is one click away.
MOST_TESTS = 12


class _Counted(Paginator):
    """A paginator that is told how many there are, instead of asking the database again."""

    def __init__(self, rows: QuerySet[Task], total: int) -> None:
        super().__init__(rows, PAGE)
        self.count = total


@require_GET
def task_list(request: HttpRequest) -> HttpResponse:
    """List the tasks that the reader may see."""
    listing = Listing.read(request.GET)
    visible = Task.objects.visible_to(request.user)
    states, validations, total = listing.segments(visible)
    page = _Counted(listing.rows(visible), total).get_page(listing.page)
    context = {
        "listing": listing,
        "states": states,
        "validations": validations,
        "page": page,
        "rows": [(task, task.current_version and facts.repository(task.current_version)["name"]) for task in page],
        "captures": list(open_captures_of(request.user)) if request.user.is_authenticated else [],
        "any_at_all": total > 0 or (listing.is_filtered and visible.exists()),
        "nav": "tasks",
    }
    return render(request, "tasks/task_list.html", context)


@require_GET
def task_detail(request: HttpRequest, slug: str) -> HttpResponse:
    """Show a task in its current version, or in the one that `?version=` names."""
    task = get_object_or_404(Task.objects.visible_to(request.user).select_related("team", "current_version"), slug=slug)
    version = _version(task, request.GET.get("version", ""))
    inside = Task.objects.answered_to(request.user).filter(pk=task.pk).exists()
    context: dict[str, Any] = {
        "task": task,
        "version": version,
        "versions": task.versions.defer("instructions").order_by("-number"),
        "inside": inside,
        "may_edit": Task.objects.editable_by(request.user).filter(pk=task.pk).exists(),
        "may_manage": Task.objects.managed_by(request.user).filter(pk=task.pk).exists(),
        "nav": "tasks",
    }
    if version is not None:
        rubric = task.rubrics.order_by("-number").first()
        criteria = list(rubric.criteria.all()) if rubric else []
        context |= {
            "repo": facts.repository(version),
            "environment": facts.environment(version),
            "limits": facts.limits(version),
            "network": facts.network(version),
            "rubric": rubric,
            "criteria": criteria,
            "rubric_kinds": facts.rubric_kinds(rubric, criteria),
            **(_answers(version) if inside else {}),
        }
    return render(request, "tasks/task_detail.html", context)


def _answers(version: TaskVersion) -> dict[str, Any]:
    """Return what would tell an agent the solution, and is therefore shown to members of the team only."""
    try:
        expected = version.expectations()
        diff = diffs.of(version.reference_diff_digest)
    except store.ContentMissing as error:
        return {"missing": str(error)}
    return {
        "expected": expected,
        "to_fix": expected["fail_to_pass"][:MOST_TESTS],
        "more_to_fix": max(0, len(expected["fail_to_pass"]) - MOST_TESTS),
        "diff": diff,
    }


def _version(task: Task, number: str) -> TaskVersion | None:
    if not number:
        return task.current_version
    if not (number.isascii() and number.isdigit() and len(number) < 7):
        raise Http404
    return get_object_or_404(task.versions, number=int(number))


def _version_with_answers(request: HttpRequest, slug: str, number: int) -> TaskVersion:
    """Return the version for members of its team; reference diff and hidden tests are nobody else's to read."""
    task = get_object_or_404(Task.objects.answered_to(request.user), slug=slug)
    return get_object_or_404(task.versions, number=number)


@require_GET
def reference_diff(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    """Send the reference diff as it is stored; to the page, `?file=` sends one long file of it as a fragment."""
    version = _version_with_answers(request, slug, number)
    position = request.GET.get("file", "")
    if not request.headers.get("HX-Request"):
        return _plain(version.reference_diff(), f"{slug}-v{number}.diff")
    file = diffs.file_of(version.reference_diff_digest, int(position) if position.isdecimal() else -1)
    if file is None:
        raise Http404
    return render(request, "partials/_diff_body.html", {"file": file})


@require_GET
def hidden_test(request: HttpRequest, slug: str, number: int, position: int) -> HttpResponse:
    """Send one hidden test: as a fragment to the page, as plain text to anyone else."""
    version = _version_with_answers(request, slug, number)
    if position >= len(version.hidden_tests):
        raise Http404
    test = version.hidden_tests[position]
    try:
        data = store.get(test["digest"])
    except store.ContentMissing as error:
        raise Http404(str(error)) from error
    if request.headers.get("HX-Request"):
        return render(request, "tasks/_hidden_test.html", {"text": data[:200_000].decode("utf-8", "replace")})
    return _plain(data, "")


def _plain(data: bytes, filename: str) -> HttpResponse:
    # Plain text with nosniff, which SecurityMiddleware sets: nothing in it can act as a page.
    response = HttpResponse(data, content_type="text/plain; charset=utf-8")
    if filename:
        response.headers["Content-Disposition"] = f'attachment; filename="{filename}"'
    return response


@require_POST
def task_visibility(request: HttpRequest, slug: str) -> HttpResponse:
    """Let everyone read a task and its runs, or only the team."""
    task = get_object_or_404(Task.objects.managed_by(request.user), slug=slug)
    wanted = request.POST.get("visibility", "")
    if wanted in Visibility.values:
        set_visibility(task, wanted)
    return redirect("task-detail", slug=slug)
