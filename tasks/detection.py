"""Guesses the environment of a repository from its files: languages, packages, set-up, and how its tests run.

A guess is shown to a curator as such. Its set-up lines are tolerant: what a project names for its tests is
tried, and left out when it cannot be installed, so that a stale extra does not cost the whole task.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any, Protocol

from tasks import python_projects

LARGEST_READ = 1_000_000


class Tree(Protocol):
    """The files of a repository. `paths` are repository-relative; `read` returns b"" for what it does not have."""

    paths: list[str]

    def read(self, path: str) -> bytes: ...


class Files:
    """A tree in memory, such as {"setup.py": b"…"}."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.paths = sorted(files)
        self._files = files

    def read(self, path: str) -> bytes:
        return self._files.get(path, b"")


def detect(tree: Tree, *, version: str = "", hidden_tests: Mapping[str, bytes] | None = None) -> dict[str, Any]:
    """Return the fields of an environment that the repository's files suggest.

    `version` is the project's own version at the base, as its tags tell it; "" when unknown. `hidden_tests` count
    for the way to test, since a repository without tests, or in another language, may be tested by them.
    Beside the fields of an environment, `guesses` says in words what was seen.
    """
    tests = hidden_tests or {}
    view = View(tree, tests)
    found = Guess()
    for look in (_node, _go, _rust, _shell):
        look(view, found)
    if view.has_root(*python_projects.PROJECT_FILES) or view.suffix_count(".py"):
        python_projects.look(view, found, version)
    if "python" not in found.languages and any(path.endswith(".py") for path in tests):
        found.languages.append("python")
        found.test_framework = "pytest"
        found.test_command = ""
        found.guesses.append("The hidden tests are Python files, so pytest runs them.")
    elif tests and not any(path.endswith(".py") for path in tests) and found.other_framework:
        found.test_framework, found.test_command = found.other_framework
    return found.as_dict()


class View:
    """What the detectors ask about a tree: the repository's files, with the hidden tests over them."""

    def __init__(self, tree: Tree, over: Mapping[str, bytes]) -> None:
        self._tree = tree
        self._over = over
        self.paths = sorted({*tree.paths, *over})
        self._root = {path for path in self.paths if "/" not in path}

    def text(self, path: str) -> str:
        """Return a file's text, bounded; "" when there is no such file."""
        data = self._over[path] if path in self._over else self._tree.read(path)
        return data[:LARGEST_READ].decode("utf-8", "replace")

    def has(self, path: str) -> bool:
        return path in self._over or path in self._known

    def has_root(self, *names: str) -> bool:
        return any(name in self._root for name in names)

    @property
    def _known(self) -> set[str]:
        if not hasattr(self, "_paths"):
            self._paths = set(self.paths)
        return self._paths

    def suffix_count(self, *suffixes: str) -> int:
        return sum(path.endswith(suffixes) for path in self.paths)

    def named(self, test: Callable[[PurePosixPath], bool]) -> list[str]:
        return [path for path in self.paths if test(PurePosixPath(path))]


class Guess:
    """What the detectors have found so far. The first language to name a way to test wins, Python last and over all."""

    def __init__(self) -> None:
        self.languages: list[str] = []
        self.packages: list[str] = []
        self.setup: list[str] = []
        self.env: dict[str, str] = {}
        self.base_image = ""
        self.test_framework = ""
        self.test_command = ""
        self.other_framework: tuple[str, str] | None = None
        self.guesses: list[str] = []

    def test_with(self, framework: str, command: str = "") -> None:
        if not self.test_framework:
            self.test_framework, self.test_command = framework, command
            self.other_framework = (framework, command)

    def as_dict(self) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "languages": sorted(set(self.languages)),
            "packages": sorted(set(self.packages)),
            "setup": self.setup,
            "env": self.env,
        }
        for name in ("base_image", "test_framework", "test_command"):
            if value := getattr(self, name):
                fields[name] = value
        fields["guesses"] = self.guesses
        return fields


def _node(view: View, found: Guess) -> None:
    if not view.has_root("package.json"):
        return
    try:
        package = json.loads(view.text("package.json"))
    except ValueError:
        found.guesses.append("package.json is no JSON, so it was left aside.")
        return
    if not isinstance(package, dict):
        return
    found.languages.append("node")
    wanted = {**_object(package, "dependencies"), **_object(package, "devDependencies")}
    found.setup += _node_setup(view, bool(wanted))
    script = str(_object(package, "scripts").get("test", ""))
    framework, command, extra = _node_tests(script, wanted)
    found.setup += extra
    if framework:
        found.test_with(framework, command)
    found.guesses.append(
        f"Node: package.json with {len(wanted)} dependencies; its test script is {script or 'missing'}."
    )


def _object(document: dict[str, Any], name: str) -> dict[str, Any]:
    value = document.get(name)
    return value if isinstance(value, dict) else {}


def _node_setup(view: View, has_dependencies: bool) -> list[str]:
    if not has_dependencies:
        return []
    if view.has_root("package-lock.json", "npm-shrinkwrap.json"):
        return ["npm ci || npm install"]
    if view.has_root("pnpm-lock.yaml"):
        return ["npm install --global pnpm", "pnpm install --frozen-lockfile || pnpm install"]
    if view.has_root("yarn.lock"):
        return ["npm install --global yarn", "yarn install --frozen-lockfile || yarn install"]
    return ["npm install --no-package-lock"]


def _node_tests(script: str, wanted: dict[str, Any]) -> tuple[str, str, list[str]]:
    """Return (framework, command, more set-up) for a test script: node's own runner, or one that can write JUnit."""
    if "vitest" in script:
        return "script", 'npx vitest run --reporter=junit --outputFile="$ONESHOT_JUNIT"', []
    if "jest" in script and "jest" in wanted:
        command = 'JEST_JUNIT_OUTPUT_FILE="$ONESHOT_JUNIT" npx jest --ci --reporters=default --reporters=jest-junit'
        return "script", command, ["npm install --no-save --no-package-lock jest-junit"]
    if "mocha" in script:
        return "script", 'npx mocha --reporter xunit --reporter-option output="$ONESHOT_JUNIT"', []
    return "node", "", []


def _go(view: View, found: Guess) -> None:
    if not view.has_root("go.mod"):
        return
    found.languages.append("go")
    if view.has_root("go.sum") or "require" in view.text("go.mod"):
        found.setup.append("go mod download")
    # Compiles the dependencies of the tests into the build cache, so that grading need not.
    found.setup.append("go test -run '^$' ./... || true")
    found.test_with("go")
    found.guesses.append("Go: go.mod.")


def _rust(view: View, found: Guess) -> None:
    if not view.has_root("Cargo.toml"):
        return
    found.languages.append("rust")
    found.setup += ["cargo fetch", "cargo test --no-run || true"]
    found.test_with("rust")
    found.guesses.append("Rust: Cargo.toml.")


def _shell(view: View, found: Guess) -> None:
    bats = view.named(lambda path: path.suffix == ".bats")
    if not bats:
        return
    found.packages.append("bats")
    folders = sorted({str(PurePosixPath(path).parent) for path in bats})
    where = " ".join(_quoted(folder) for folder in folders)
    found.test_with("script", f'bats --formatter junit {where} > "$ONESHOT_JUNIT"')
    found.guesses.append(f"Shell: {len(bats)} bats files in {', '.join(folders[:5])}.")


def _quoted(text: str) -> str:
    return text if re.fullmatch(r"[A-Za-z0-9._/-]+", text) else "'" + text.replace("'", "'\\''") + "'"
