"""Writes that concern boards, used by pages and commands alike."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import transaction
from django.utils.text import slugify

from benchmarks.models import Board
from oneshot.accounts.models import Team
from tasks.models import Task

# These would hide a page of the same address.
RESERVED = {"new", "excerpt"}


@transaction.atomic
def create_board(
    *, title: str, team: Team, visibility: str, description: str = "", tasks: Iterable[Task] = ()
) -> Board:
    """Make a board of `team` with a slug of its own."""
    board = Board.objects.create(
        slug=_free_slug(title), title=title, team=team, visibility=visibility, description=description
    )
    board.tasks.set(tasks)
    return board


@transaction.atomic
def update_board(
    board: Board, *, title: str, team: Team, visibility: str, description: str, tasks: Iterable[Task]
) -> None:
    """Change everything about a board but its slug, so that links to it stay."""
    board.title, board.team, board.visibility, board.description = title, team, visibility, description
    board.save(update_fields=["title", "team", "visibility", "description"])
    board.tasks.set(tasks)


def delete_board(board: Board) -> None:
    """Delete a board; its tasks and runs stay."""
    board.delete()


def _free_slug(title: str) -> str:
    base = slugify(title)[:40].strip("-") or "board"
    slug, number = base, 2
    while slug in RESERVED or Board.objects.filter(slug=slug).exists():
        slug, number = f"{base}-{number}", number + 1
    return slug
