"""What of an agent's diff takes part in grading: everything but what decides how the tests come out.

Changes to tests, to what steers the test runner, and to whatever would stand in for the runner itself are left out;
the reference's tests and the hidden ones are written in their place.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from tasks.patches import mailbox_diffs, parse, strip_paths, touched_paths
from tasks.testfiles import is_test_config_path, is_test_path

# A pytest section may stand in these beside what an honest change needs; see inside/pytest_main.py.
SHARED_CONFIG = ("pyproject.toml", "setup.cfg")

# What only installation writes. A change that carries it wants to be run instead of read.
INSTALLED_DIRECTORIES = {"__pycache__", "site-packages", "dist-packages", "node_modules", ".venv", "venv"}
INSTALLED_NAME = re.compile(r".*\.(py[co]|pth)|(site|user)customize\.py", re.IGNORECASE)
INSTALLED_DIRECTORY = re.compile(r".*\.(egg|dist)-info", re.IGNORECASE)

# Top-level modules that Python must find where they belong, and not in the repository.
RUNNER_MODULES = {
    "_pytest", "attr", "attrs", "colorama", "coverage", "exceptiongroup", "execnet", "iniconfig", "packaging",
    "pluggy", "py", "pygments", "pytest", "tomli", "typing_extensions", "xdist",
}  # fmt: skip
IMPORT_ROOTS = ("", "src", "lib", "python")
MODULE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(/__init__)?(\.py|\.[A-Za-z0-9_.-]*so)")

FILES_OF_RUNNERS = {
    "rust": re.compile(r"(.*/)?(Cargo\.toml|\.cargo/config(\.toml)?|rust-toolchain(\.toml)?)"),
    "node": re.compile(r"(.*/)?(\.npmrc|\.yarnrc(\.yml)?|\.pnp\.[cm]?js|\.node-version)"),
    "go": re.compile(r"(.*/)?go\.work"),
}
# What a test command reads without naming it.
FILES_OF_COMMANDS = {
    "make": r"(GNUm|M|m)akefile|.*\.mk",
    "just": r"\.?[Jj]ustfile",
    "rake": r"[Rr]akefile(\.rb)?",
    "tox": r"pyproject\.toml|setup\.cfg",
    "pytest": r"pyproject\.toml|setup\.cfg",
    "npm": r"(.*/)?package\.json|(.*/)?\.npmrc",
    "npx": r"(.*/)?package\.json|(.*/)?\.npmrc",
    "yarn": r"(.*/)?package\.json|(.*/)?\.yarnrc(\.yml)?|\.pnp\.[cm]?js",
    "pnpm": r"(.*/)?package\.json|(.*/)?\.npmrc",
    "cargo": r"(.*/)?(Cargo\.toml|\.cargo/config(\.toml)?)",
}


@dataclass(frozen=True, kw_only=True)
class Guard:
    """Knows, for one task, which paths an agent's diff may not decide about.

    `hidden` are the paths of hidden tests. `reference_paths` are all that the reference touches: where a file is no
    test but could steer the runner, and the reference had to change it, an agent may change it too.
    """

    framework: str
    hidden: frozenset[str]
    reference_paths: frozenset[str]
    environment: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, *, framework: str, environment: Mapping[str, Any], hidden: Iterable[str], reference: bytes) -> Guard:
        """Make the guard of a task. `framework` is the name of what really runs the tests."""
        return cls(
            framework=framework,
            hidden=frozenset(hidden),
            reference_paths=frozenset(touched_paths(reference)),
            environment=environment,
        )

    def clean(self, diff: bytes) -> tuple[bytes, list[str]]:
        """Return (the diff without its protected files, the paths that were left out)."""
        added = {section.new_path for section in parse(diff) if section.change in ("add", "rename", "copy")}
        dropped = {path for path in touched_paths(diff) if self.protects(path, is_new=path in added)}
        return strip_paths(diff, lambda path: path in dropped), sorted(dropped)

    def tests_of_reference(self, reference: bytes) -> list[bytes]:
        """Return the reference's changes to tests, to be applied for every agent, in order."""
        parts = [strip_paths(part, lambda path: not is_test(path)) for part in mailbox_diffs(reference)]
        return [part for part in parts if parse(part)]

    def config_of_reference(self, reference: bytes) -> list[bytes]:
        """Return the reference's changes to files that hold pytest's configuration among other things."""
        parts = [strip_paths(part, lambda path: path not in SHARED_CONFIG) for part in mailbox_diffs(reference)]
        return [part for part in parts if parse(part)]

    def protects(self, path: str, *, is_new: bool) -> bool:
        """Return whether an agent's change to this path is left out."""
        if is_test(path) or self._touches_hidden(path):
            return True
        if path in self.reference_paths:
            return False
        parts = PurePosixPath(path).parts
        if any(part in INSTALLED_DIRECTORIES or INSTALLED_DIRECTORY.fullmatch(part) for part in parts):
            return True
        if INSTALLED_NAME.fullmatch(parts[-1]) or self._steers(path):
            return True
        return is_new and self._stands_in(path)

    def _touches_hidden(self, path: str) -> bool:
        """Whether it is a hidden test, or a file where one needs a directory, or lies below one."""
        return any(
            path == hidden or hidden.startswith(f"{path}/") or path.startswith(f"{hidden}/") for hidden in self.hidden
        )

    def _steers(self, path: str) -> bool:
        of_runner = FILES_OF_RUNNERS.get(self.framework)
        if of_runner and of_runner.fullmatch(path):
            return True
        if self.framework != "script":
            return False
        words = _words(str(self.environment.get("test_command") or ""))
        if PurePosixPath(path).as_posix() in words:
            return True
        return any(re.fullmatch(files, path) for tool, files in FILES_OF_COMMANDS.items() if tool in words)

    def _stands_in(self, path: str) -> bool:
        """Whether a new file would be imported in the place of the standard library or of the test runner."""
        for root in self._import_roots():
            inner = path.removeprefix(f"{root}/") if root else path
            if root and inner == path:
                continue
            match = MODULE.fullmatch(inner)
            if match and (
                match.group(1) in RUNNER_MODULES
                or match.group(1) in sys.stdlib_module_names
                or match.group(1).startswith("pytest_")
            ):
                return True
        return False

    def _import_roots(self) -> list[str]:
        declared = str((self.environment.get("env") or {}).get("PYTHONPATH") or "")
        workdir = str(self.environment.get("workdir") or "/work").rstrip("/")
        roots = [entry.removeprefix(workdir).strip("/").removeprefix("./") for entry in declared.split(":")]
        return list(dict.fromkeys([*IMPORT_ROOTS, *roots]))


def is_test(path: str) -> bool:
    """Return whether a file is a test, serves one, or does nothing but steer the test runner."""
    return is_test_path(path) or is_test_config_path(path)


def _words(command: str) -> set[str]:
    """Return the words of a command line, each also without the directories and the leading ./ of a program."""
    try:
        words = shlex.split(command, comments=True)
    except ValueError:
        words = command.split()
    words = [part for word in words for part in re.split(r"[;&|()<>\s=]+", word) if part]
    return {form for word in words for form in (word, word.removeprefix("./"), PurePosixPath(word).name)}
