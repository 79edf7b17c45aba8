"""Capture: someone's work is recorded from a start to an end, and a task draft comes out of it.

    capture = start(worktree=Path.cwd(), title="Fix the adder", client=client)
    ended = end(capture, summary="done", client=client)

The names are imported when they are first used: the MCP server answers its client before the database is loaded.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tasks.capture.errors import BadRepository, CannotRebuild, CaptureError, NotReady, SeveralOpen, WrongState
    from tasks.capture.lifecycle import Ended, drop, end, find_open, finish, open_captures, start
    from tasks.capture.rebuilding import from_session

_PLACES = {
    **dict.fromkeys(
        ("BadRepository", "CannotRebuild", "CaptureError", "NotReady", "SeveralOpen", "WrongState"), "errors"
    ),
    **dict.fromkeys(("Ended", "drop", "end", "find_open", "finish", "open_captures", "start"), "lifecycle"),
    "from_session": "rebuilding",
}

__all__ = [
    "BadRepository",
    "CannotRebuild",
    "CaptureError",
    "Ended",
    "NotReady",
    "SeveralOpen",
    "WrongState",
    "drop",
    "end",
    "find_open",
    "finish",
    "from_session",
    "open_captures",
    "start",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
