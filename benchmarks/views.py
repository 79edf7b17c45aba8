"""Pages of boards: the leaderboard over everything, single boards, and what a member may do with them."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import redirect_to_login
from django.db.models import Count, F, Max, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_safe

from benchmarks.actions import create_board, delete_board, update_board
from benchmarks.cells import Activity, activity, tasks_of
from benchmarks.chart import AXES, chart, default_axis
from benchmarks.forms import BoardForm
from benchmarks.listing import Listing
from benchmarks.matrix import matrix
from benchmarks.models import Board
from benchmarks.standings import Standings, sort_rows, standings
from oneshot.accounts.models import Role, Team
from tasks.models import Task

# How often a page asks for news: while runs are going, before the first one has ended, and else.
BUSY_S, EMPTY_S, IDLE_S = 2, 4, 15
STAMP_HEADER = "X-Board-Stamp"
EXCERPT_ROWS = 6


@require_safe
def leaderboard(request: HttpRequest) -> HttpResponse:
    """Show every agent on every task that the user may read; strangers see public tasks or are asked to log in."""
    tasks = _all_tasks(request)
    if not request.user.is_authenticated and not tasks.exists():
        return redirect_to_login(request.get_full_path())
    teams = Team.objects.filter(pk__in=Task.objects.visible_to(request.user).values("team")).order_by("name")
    context = _context(request, tasks, reverse("leaderboard-live")) | {"teams": list(teams)}
    return render(request, "benchmarks/leaderboard.html", context)


@require_safe
def leaderboard_live(request: HttpRequest) -> HttpResponse:
    """Renew the leaderboard when it has changed."""
    return _live(request, _all_tasks(request), reverse("leaderboard-live"))


@require_safe
def board_detail(request: HttpRequest, slug: str) -> HttpResponse:
    """Show one board, over those of its tasks that the user may read."""
    board = _readable(request, slug)
    context = _context(request, _tasks_of_board(request, board), reverse("board-live", args=[slug]), board)
    context["may_edit"] = Board.objects.editable_by(request.user).filter(pk=board.pk).exists()
    return render(request, "benchmarks/board_detail.html", context)


@require_safe
def board_live(request: HttpRequest, slug: str) -> HttpResponse:
    """Renew a board when it has changed."""
    board = _readable(request, slug)
    return _live(request, _tasks_of_board(request, board), reverse("board-live", args=[slug]), board)


@require_safe
def board_list(request: HttpRequest) -> HttpResponse:
    """List the boards that the user may read."""
    boards = (
        Board.objects.visible_to(request.user)
        .select_related("team")
        .annotate(task_count=Count("tasks"), last=Max("tasks__current_version__tally__refreshed_at"))
        .order_by("title", "slug")
    )
    if not request.user.is_authenticated and not boards:
        return redirect_to_login(request.get_full_path())
    may_create = Team.objects.of(request.user, Role.MAINTAINER).exists()
    return render(
        request, "benchmarks/board_list.html", {"boards": boards, "may_create": may_create, "nav": "leaderboard"}
    )


@require_safe
def board_excerpt(request: HttpRequest) -> HttpResponse:
    """Show the first rows of a board, for the overview: the liveliest of one's own, else of any, else all tasks."""
    last = Max("tasks__current_version__tally__refreshed_at")
    boards = Board.objects.visible_to(request.user).annotate(last=last)
    boards = boards.order_by(F("last").desc(nulls_last=True), "-created_at")
    board = boards.filter(team__in=Team.objects.of(request.user), team__is_demo=False).first() or boards.first()
    tasks = _tasks_of_board(request, board) if board else _all_tasks(request)
    going = activity(tasks)
    if request.headers.get(STAMP_HEADER) == going.stamp:
        return HttpResponse(status=204)
    found = standings(tasks_of(tasks), going, tried_only=board is None)
    context = {"board": board, "rows": found.rows[:EXCERPT_ROWS], "more": len(found.rows) - EXCERPT_ROWS}
    return render(request, "benchmarks/_excerpt.html", context | {"going": going, "every_s": _pace(going, found)})


@login_required
def board_create(request: HttpRequest) -> HttpResponse:
    """Make a board for one of the user's teams."""
    form = BoardForm(request.POST or None, user=request.user)
    if request.method == "POST" and form.is_valid():
        board = create_board(**form.chosen())
        messages.success(request, f"{board.title} is there.")
        return redirect(board)
    return render(request, "benchmarks/board_form.html", {"form": form, "nav": "leaderboard"})


@login_required
def board_edit(request: HttpRequest, slug: str) -> HttpResponse:
    """Change a board of one of the user's teams."""
    board = get_object_or_404(Board.objects.editable_by(request.user), slug=slug)
    form = BoardForm(request.POST or None, user=request.user, board=board)
    if request.method == "POST" and form.is_valid():
        update_board(board, **form.chosen())
        messages.success(request, "Changes saved.")
        return redirect(board)
    return render(request, "benchmarks/board_form.html", {"form": form, "board": board, "nav": "leaderboard"})


@login_required
def board_delete(request: HttpRequest, slug: str) -> HttpResponse:
    """Ask, then delete a board; its tasks and runs stay."""
    board = get_object_or_404(Board.objects.editable_by(request.user), slug=slug)
    if request.method == "POST":
        delete_board(board)
        messages.success(request, f"{board.title} is deleted. Its tasks and runs are still there.")
        return redirect("board-list")
    return render(request, "benchmarks/board_delete.html", {"board": board, "nav": "leaderboard"})


def _readable(request: HttpRequest, slug: str) -> Board:
    return get_object_or_404(Board.objects.visible_to(request.user).select_related("team"), slug=slug)


def _all_tasks(request: HttpRequest) -> QuerySet[Task]:
    tasks = Task.objects.visible_to(request.user).exclude(state=Task.State.RETIRED)
    team = Listing.read(request.GET).team
    return tasks.filter(team__slug=team) if team else tasks


def _tasks_of_board(request: HttpRequest, board: Board) -> QuerySet[Task]:
    """Return the board's tasks that this user may read: a public board never shows a private task."""
    return Task.objects.visible_to(request.user).filter(
        pk__in=board.tasks.through.objects.filter(board=board).values("task")
    )


def _live(request: HttpRequest, tasks: QuerySet[Task], live_url: str, board: Board | None = None) -> HttpResponse:
    going = activity(tasks)
    if request.headers.get(STAMP_HEADER) == going.stamp:
        return HttpResponse(status=204)
    return render(request, "benchmarks/_board.html", _context(request, tasks, live_url, board, going))


def _context(
    request: HttpRequest,
    tasks: QuerySet[Task],
    live_url: str,
    board: Board | None = None,
    going: Activity | None = None,
) -> dict[str, Any]:
    """Return everything that a board's template shows."""
    listing = Listing.read(request.GET)
    # Counted before the cells are read: what ends in between makes the next stamp another one.
    going = going or activity(tasks)
    found = standings(tasks_of(tasks), going, isolated_only=listing.isolated, tried_only=board is None)
    rows = sort_rows(found.rows, listing.sort_key, falling=listing.falling)
    axis = listing.axis or default_axis(found.rows)
    return {
        "nav": "leaderboard",
        "board": board,
        "is_demo": board.team.is_demo if board else bool(found.tasks) and all(task.is_demo for task in found.tasks),
        "listing": listing,
        "found": found,
        "rows": rows,
        "best": found.rows[0] if found.rows else None,
        "going": going,
        "live_url": live_url,
        "every_s": _pace(going, found),
        "axes": AXES.values(),
        "axis": axis,
        "chart": json.dumps(chart(found.rows, axis)),
        "matrix": matrix(found, rows, request.user, page=listing.page, all_tasks=listing.all_tasks),
    }


def _pace(going: Activity, found: Standings) -> int:
    return BUSY_S if going.total else IDLE_S if found.rows else EMPTY_S
