"""Tells a test command that does nothing but run pytest, so that the guarded runner can do the same in its place.

A command of any other kind stays a command: nothing is lost but the protection.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

VARIABLE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
PYTHON = re.compile(r"python(3(\.\d+)?)?")
REPORTS = ("$ONESHOT_JUNIT", "${ONESHOT_JUNIT}")
REPORT_OPTIONS = ("--junitxml", "--junit-xml")
# Another configuration, root or way to import would have to be weighed against what the runner sets itself.
NOT_UNDERSTOOD = re.compile(r"-c.*|--(config-file|rootdir|confcutdir|pyargs|import-mode|help|version)?(=.*)?|-[hV]")
# The shell would do more with these than the runner: joining, redirecting, expanding.
SHELL = re.compile(r"[;&|<>`$*?\[\](){}~\\\n#!]")
SHELL_EVEN_QUOTED = re.compile(r"[$`\\\n]")


@dataclass(frozen=True)
class PytestCommand:
    """`program` is how the command names Python or pytest; `root_on_path` is what `python -m` adds to pytest alone."""

    program: str
    arguments: tuple[str, ...]
    root_on_path: bool
    env: Mapping[str, str] = field(default_factory=dict)


def as_pytest(environment: Mapping[str, Any]) -> PytestCommand | None:
    """Return what a test command asks of pytest, or None when it does anything else, or writes no report."""
    text = str(environment.get("test_command") or "").strip()
    workdir = str(environment.get("workdir") or "/work").rstrip("/")
    text = re.sub(rf"^cd\s+({re.escape(workdir)}/?|\.)\s*(&&|;)\s*", "", text)
    words = _words(text)
    if not words:
        return None
    env = {}
    while words and (match := VARIABLE.fullmatch(words[0])):
        env[match[1]] = match[2]
        words.pop(0)
    if not words:
        return None
    program, *rest = words
    name = PurePosixPath(program).name
    as_module = bool(PYTHON.fullmatch(name)) and rest[:2] == ["-m", "pytest"]
    if not as_module and name not in ("pytest", "py.test"):
        return None
    arguments = _without_report(rest[2:] if as_module else rest)
    if arguments is None or any(NOT_UNDERSTOOD.fullmatch(word) for word in arguments):
        return None
    return PytestCommand(program, tuple(arguments), as_module, env)


def _words(text: str) -> list[str]:
    """Return the words of a command line; none when a shell would do more than split it."""
    plain = text
    for report in REPORTS:
        plain = plain.replace(f'"{report}"', "REPORT").replace(report, "REPORT")
    unquoted = re.sub(r"'[^']*'|\"[^\"]*\"", "", plain)
    if SHELL.search(unquoted) or SHELL_EVEN_QUOTED.search(plain):
        return []
    try:
        return shlex.split(text)
    except ValueError:
        return []


def _without_report(words: list[str]) -> list[str] | None:
    """Return the words without the option that names the report; None when it is not there."""
    kept: list[str] = []
    found = False
    rest = iter(words)
    for word in rest:
        option, _, value = word.partition("=")
        if option in REPORT_OPTIONS:
            found = (value or next(rest, "")) in REPORTS
        else:
            kept.append(word)
    return kept if found else None
