"""The test frameworks that a task can name, one file each. Packages add more by entry points "oneshot.frameworks"."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any, Protocol

from runs.errors import TaskError
from runs.grading.base import Reading
from runs.grading.channel import Transcript
from runs.grading.driver import Plan

ALIASES = {"junit": "script", "cargo": "rust", "node:test": "node", "golang": "go"}


class Framework(Protocol):
    """A way to run a repository's tests and to read what came of it."""

    name: str

    def files(self, plan: Plan) -> dict[str, bytes]:
        """Return what it needs inside, by path below the plan's directory."""
        ...

    def script(self, plan: Plan) -> str:
        """Return lines of POSIX shell that run the tests from the repository's root.

        Standard output is the report's way out and begins with `$begun ran`; what the tests print goes to standard
        error. They set `status` to how the tests ended, and end with a line `$ended exit $status`. `$dir` is the
        plan's directory.
        """
        ...

    def read(self, transcript: Transcript, plan: Plan) -> Reading:
        """Return what the report says. Raises TaskError when the image cannot run such tests at all."""
        ...


@cache
def _all() -> dict[str, Framework]:
    from runs.grading.frameworks import go, node, pytest, rust, script, unittest

    known: dict[str, Framework] = {
        "pytest": pytest.Pytest(),
        "unittest": unittest.Unittest(),
        "node": node.Node(),
        "go": go.Go(),
        "rust": rust.Rust(),
        "script": script.Script(),
    }
    for entry in entry_points(group="oneshot.frameworks"):
        known.setdefault(entry.name, entry.load()())
    return known


def names() -> list[str]:
    """Return the frameworks that `environment.test_framework` may name."""
    return sorted(_all())


def of(environment: Mapping[str, Any]) -> Framework:
    """Return what runs the tests of a task: a test command goes before the framework. Raises TaskError.

    A command that only runs pytest is run by the framework of that name, with the command's arguments.
    """
    if str(environment.get("test_command") or "").strip():
        from runs.grading.frameworks import commands, pytest

        command = commands.as_pytest(environment)
        return pytest.Pytest(command) if command else _all()["script"]
    name = str(environment.get("test_framework") or "pytest")
    name = ALIASES.get(name, name)
    if name == "script":
        raise TaskError(
            "environment.test_framework is script, but there is no environment.test_command. "
            "Give a command that writes JUnit XML to $ONESHOT_JUNIT."
        )
    found = _all().get(name)
    if found is None:
        raise TaskError(f"environment.test_framework is {name!r}, which is none of {', '.join(names())}.")
    return found
