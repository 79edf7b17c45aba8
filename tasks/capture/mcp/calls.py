"""What the tools do: the calls of an MCP client, answered with the installation's database."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.capture.client import Client
from tasks.capture.mcp import log, tools

if TYPE_CHECKING:
    from tasks.capture import Ended
    from tasks.models import Capture

_preparing = threading.Lock()
_prepared = False


def prepare() -> None:
    """Load Django and bring the database up to date, once. Raises what keeps the installation from being used."""
    global _prepared
    with _preparing:
        if _prepared:
            return
        import os

        import django

        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "oneshot.settings")
        django.setup()
        _log_to_the_log()
        from oneshot.management.base import ensure_database

        ensure_database(log.write)
        _prepared = True
    # Loaded before the first call waits for it.
    import_module("tasks.capture.lifecycle")


def answer(tool: str, arguments: dict[str, Any], *, worktree: Path, client: Client) -> dict[str, Any]:
    """Return the result of a tool. Whatever goes wrong is told in it: ok false, a code and a message."""
    try:
        prepare()
        from django.db import DatabaseError, close_old_connections

        close_old_connections()
        try:
            return DOING[tool](worktree, client, **arguments)
        except DatabaseError as error:
            log.write(traceback.format_exc())
            return failure("STATE_READ_ERROR", f"OneShot's database cannot be used: {error}")
        finally:
            _close_connections()
    except Exception as error:  # noqa: BLE001 - the agent must get an answer; the traceback is in the log
        log.write(traceback.format_exc())
        return failure("INTERNAL_ERROR", f"{_plain(error)} Details are in logs/mcp.log of OneShot's data directory.")


def failure(code: str, message: str, **more: Any) -> dict[str, Any]:
    """Return the answer of a call that could not do what was asked, with the secrets taken out of its message."""
    from traces.redaction import redact

    return {"ok": False, "code": code, "message": redact(message), **more}


def _start(worktree: Path, client: Client, *, task_title: str, notes: str, labels: list[str]) -> dict[str, Any]:
    from tasks import capture

    try:
        started = capture.start(worktree=worktree, title=task_title.strip(), notes=notes, labels=labels, client=client)
    except capture.NotReady as error:
        return failure(error.code, str(error), details=error.details)
    except capture.CaptureError as error:
        return failure(error.code, str(error))
    return start_result(started)


def start_result(started: Capture) -> dict[str, Any]:
    """Return what `repo.start_task.v1` and `oneshot capture start --json` say about a capture that was opened."""
    return {
        "ok": True,
        "task_slug": started.slug,
        "start_commit": started.start_commit,
        "started_at": started.started_at.isoformat(),
        "head_commit": started.head_commit,
        "worktree": started.worktree,
        "notes": list(started.detail["notes"]),
    }


def _end(worktree: Path, client: Client, *, summary: str, labels: list[str]) -> dict[str, Any]:
    from tasks import capture

    try:
        found = capture.find_open(worktree, client)
        if found is None:
            return failure("NO_STATE", "No task in progress in this repository. Call repo.start_task.v1 first.")
        ended = capture.end(found, summary=summary, labels=labels, client=client)
    except capture.CaptureError as error:
        return failure(error.code, str(error))
    return end_result(ended)


def end_result(ended: Ended) -> dict[str, Any]:
    """Return what `repo.end_task.v1` and `oneshot capture end --json` say about an ended capture."""
    return {
        "ok": True,
        "task_dir": str(ended.task_dir),
        "diff_bytes": ended.diff_bytes,
        "touched_files": list(ended.touched_files),
        "clean_trace_path": str(ended.trace_path or ""),
        "task_slug": ended.capture.slug if ended.capture else "",
        "task": ended.task.slug,
        "url": task_url(ended.task.slug),
        "notes": list(ended.notes),
    }


def task_url(slug: str) -> str:
    """Return the address of a task's page on this installation's server."""
    from django.conf import settings
    from django.urls import reverse

    return settings.SITE_URL + reverse("task-detail", args=[slug])


def _check(worktree: Path, client: Client) -> dict[str, Any]:
    from tasks.capture import readiness

    return readiness.check(worktree).as_dict()


def _autofix(worktree: Path, client: Client) -> dict[str, Any]:
    from tasks.capture.autofix import autofix

    return autofix(worktree)


DOING: dict[str, Callable[..., dict[str, Any]]] = {
    tools.START: _start,
    tools.END: _end,
    tools.CHECK: _check,
    tools.AUTOFIX: _autofix,
}


def _log_to_the_log() -> None:
    """Send what the project's modules log to the server's log; standard error belongs to the agent."""
    import logging

    class ToTheLog(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            log.write(f"{record.levelname} {record.name}: {self.format(record)}")

    logging.getLogger().handlers[:] = [ToTheLog()]


def _close_connections() -> None:
    from django.db import connections

    connections.close_all()


def _plain(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text if text.endswith((".", "!", "?")) else f"{text}."
