"""Guesses how a Python project is installed and tested, from its project files, without running any of them."""

from __future__ import annotations

import ast
import configparser
import re
import tomllib
from email.parser import HeaderParser
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from tasks import python_tests

if TYPE_CHECKING:
    from tasks.detection import Guess, View

TEST_NAMES = ("test", "tests", "testing", "unittest", "unittests", "pytest")
DEV_NAMES = ("dev", "develop", "development", "devel")
PROJECT_FILES = ("pyproject.toml", "setup.py", "setup.cfg", "requirements.txt", "tox.ini", "Pipfile", "PKG-INFO")

# Named beside the tests in many projects and never needed by them; some pull in a great deal.
NOT_FOR_TESTS = re.compile(
    r"(black|isort|flake8|pylint|ruff|pre-?commit|sphinx|furo|mkdocs|myst|pdoc|twine|bump|tox|nox|codespell|pyupgrade"
    r"|towncrier|commitizen|semantic-release|codecov|coveralls|poetry$|hatch$|pip-tools|build$|interrogate|pydocstyle"
    r"|autoflake|bandit|safety|vulture|rstcheck|doc8|jupyter|notebook|ipython|ipdb|readme|gitpython|releasy)",
    re.IGNORECASE,
)
REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(\[[A-Za-z0-9._,\s-]*\])?\s*([<>=!~][^;#@]*)?(;[^#]*)?$")
SCM_TOOLS = re.compile(r"setuptools[-_]scm|hatch[-_]vcs|flit[-_]scm|use_scm_version|setuptools[-_]git[-_]versioning")
# A high version satisfies the least versions that a project's own plug-ins and tests ask of it.
UNKNOWN_VERSION = "99.0.0"
SITE_PYTHON = (3, 11)


class Project:
    """What the project files say. Unreadable ones count as empty: the guess is then poorer, never an error."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.pyproject = _toml(view.text("pyproject.toml"))
        self.setup_cfg = _ini(view.text("setup.cfg"))
        self.tox = _ini(view.text("tox.ini"))
        self.setup_py = _setup_arguments(view.text("setup.py"))
        self.pkg_info = HeaderParser().parsestr(view.text("PKG-INFO"))
        self.project = _table(self.pyproject, "project")
        self.poetry = _table(self.pyproject, "tool", "poetry")

    @property
    def is_installable(self) -> bool:
        declared = self.project or self.poetry or self.pyproject.get("build-system")
        flit = _table(self.pyproject, "tool", "flit", "metadata")
        return bool(declared or flit or self.view.has_root("setup.py") or self.setup_cfg.get("metadata"))

    def extras(self) -> list[str]:
        """Return the names of the extras that serve the tests, or else development."""
        names = {
            *_table(self.project, "optional-dependencies"),
            *_table(self.poetry, "extras"),
            *_table(self.pyproject, "tool", "flit", "metadata", "requires-extra"),
            *self.setup_cfg.get("options.extras_require", {}),
            *_as_dict(self.setup_py.get("extras_require")),
            *(self.pkg_info.get_all("Provides-Extra") or []),
        }
        chosen = _for_tests(names)
        tox_extras = re.split(r"[\s,]+", self.tox.get("testenv", {}).get("extras", ""))
        hatch = [name for env in self._hatch_environments() for name in _strings(env.get("features"))]
        return sorted({*chosen, *(name for name in [*tox_extras, *hatch] if name in names)})

    def groups(self) -> list[str]:
        """Return the names of the dependency groups (PEP 735) that serve the tests, or else development."""
        return _for_tests(_table(self.pyproject, "dependency-groups"))

    def test_requirements(self) -> list[str]:
        """Return single requirements that other tools' tables name for the tests, without linters."""
        found = [
            *_strings(self.setup_py.get("tests_require")),
            *self.setup_cfg.get("options", {}).get("tests_require", "").splitlines(),
            *self.tox.get("testenv", {}).get("deps", "").splitlines(),
            *_strings(_table(self.pyproject, "tool", "uv").get("dev-dependencies")),
            *_strings(_table(self.pyproject, "tool", "tox", "env_run_base").get("deps")),
            *self._poetry_requirements(),
            *_pipenv_requirements(self.view.text("Pipfile")),
        ]
        for env in self._hatch_environments():
            found += [*_strings(env.get("dependencies")), *_strings(env.get("extra-dependencies"))]
        for group, items in _table(self.pyproject, "tool", "pdm", "dev-dependencies").items():
            if group.lower() in (*TEST_NAMES, *DEV_NAMES):
                found += _strings(items)
        return sorted({line for line in map(_requirement, found) if line and not NOT_FOR_TESTS.match(line)})

    def _hatch_environments(self) -> list[dict[str, Any]]:
        environments = _table(self.pyproject, "tool", "hatch", "envs")
        names = ("default", "hatch-test", *TEST_NAMES, *DEV_NAMES)
        return [environments[name] for name in names if isinstance(environments.get(name), dict)]

    def _poetry_requirements(self) -> list[str]:
        tables = [_table(self.poetry, "dev-dependencies")]
        for name, group in _table(self.poetry, "group").items():
            if name.lower() in (*TEST_NAMES, *DEV_NAMES) and isinstance(group, dict):
                tables.append(_table(group, "dependencies"))
        return [line for table in tables for name, wanted in table.items() if (line := _from_poetry(str(name), wanted))]

    def build_needs(self) -> str:
        """Return everything that names a build tool or a compiled part, as text to search in."""
        build = self.pyproject.get("build-system", {})
        return " ".join(
            [
                str(build),
                str(self.setup_cfg.get("options", {}).get("setup_requires", "")),
                self.view.text("setup.py"),
                str(list(_table(self.pyproject, "tool"))),
            ]
        )

    def requires_python(self) -> str:
        return str(
            self.project.get("requires-python")
            or self.setup_cfg.get("options", {}).get("python_requires")
            or self.setup_py.get("python_requires")
            or self.pkg_info.get("Requires-Python")
            or ""
        )


def look(view: View, found: Guess, version: str) -> None:
    """Add what is seen of a Python project. Does nothing where another language owns the repository's tests."""
    tests = python_tests.test_files(view)
    if not view.has_root(*PROJECT_FILES) and found.languages and not tests:
        return
    project = Project(view)
    found.languages.append("python")
    wanted_pytest = _quoted(python_tests.pytest_requirement(view))
    lines = _install_lines(project, wanted_pytest) if project.is_installable else []
    lines += [f"python -m pip install -r {name}" for name in _main_requirements(view, project)]
    lines += [f"python -m pip install -r {name} || true" for name in _test_requirement_files(view)]
    framework = python_tests.framework(view, tests)
    if lines:
        # pytest runs unittest's tests too; the plain runner is for repositories that need nothing installed.
        framework = "pytest"
    extra = sorted({*project.test_requirements(), *python_tests.libraries(view, tests)} - {"pytest"})
    if framework == "pytest" and extra:
        quoted = " ".join(_quoted(name) for name in extra)
        lines.append(
            f'python -m pip install {quoted} || for each in {quoted}; do python -m pip install "$each" || true; done'
        )
    if framework == "pytest" and lines:
        # A pinned requirement may have brought parts that the pytest in place cannot use.
        working = "python -m pytest --version || " if project.is_installable else ""
        lines.append(f"{working}python -m pip install {wanted_pytest}")
    found.setup += lines
    if tests or not found.test_framework:
        found.test_framework, found.test_command = framework, ""
    _compiled(project, found)
    _scm_version(project, found, version)
    _base_image(project, found)
    if not project.is_installable and not lines and any(path.startswith("src/") for path in view.paths):
        found.env["PYTHONPATH"] = "src"
    kind = _backend(project) if project.is_installable else "nothing to install"
    found.guesses.append(f"Python: {kind}, {len(tests)} test files, run by {framework}.")


def _install_lines(project: Project, wanted_pytest: str) -> list[str]:
    extras = project.extras()
    install = "python -m pip install -e"
    # With pytest, so that a project which pytest itself needs is not replaced by a later release of it. The last
    # resort builds with the environment's own setuptools, for a setup.py older than isolated builds.
    tries = [f"{install} . {wanted_pytest}", f"{install} . --no-build-isolation"]
    if extras:
        with_extras = f'{install} ".[{",".join(extras)}]"'
        tries = [f"{with_extras} {wanted_pytest}", with_extras, *tries]
    lines = [" || ".join(tries)]
    if groups := project.groups():
        lines += [f"python -m pip install --group {group} || true" for group in groups]
    return lines


def _main_requirements(view: View, project: Project) -> list[str]:
    if project.is_installable or not view.has_root("requirements.txt"):
        return []
    return ["requirements.txt"]


def _test_requirement_files(view: View) -> list[str]:
    """Return the requirement files that name tests, or else development; compiled ones before their sources."""
    name = re.compile(
        r"(?:requirements?[-_.]?)?(tests?|testing|dev|develop|development)(?:[-_.]?requirements?)?\.(txt|in|pip)"
    )
    found: dict[str, tuple[str, str]] = {}
    for path in view.paths:
        pure = PurePosixPath(path)
        match = name.fullmatch(pure.name)
        folder = str(pure.parent)
        plain = pure.name in ("requirements.txt", "requirements.in") and folder in ("tests", "test")
        if not (match or plain) or folder not in (".", "requirements", "reqs", "tests", "test", "ci", "requires"):
            continue
        if match and folder == "." and "req" not in pure.name:
            continue
        kind = "test" if plain or (match and match[1].startswith("test")) else "dev"
        stem = str(pure.with_suffix(""))
        if stem not in found or pure.suffix == ".txt":
            found[stem] = (kind, path)
    kinds = {kind for kind, _ in found.values()}
    wanted = "test" if "test" in kinds else "dev"
    return sorted(_quoted(path) for kind, path in found.values() if kind == wanted)


def _compiled(project: Project, found: Guess) -> None:
    """Add a compiler where the project has a part to compile."""
    text = project.build_needs()
    if re.search(
        r"ext_modules|Extension\(|cython|cffi_modules|cffi|mesonpy|meson-python|scikit.build|pybind11|mypycify",
        text,
        re.I,
    ):
        found.packages += ["build-essential", "python3-dev"]
    if re.search(r"maturin|setuptools[-_]rust", text, re.I):
        found.packages += ["cargo", "rustc", "build-essential", "python3-dev"]


def _scm_version(project: Project, found: Guess, version: str) -> None:
    """Tell tools that read the version from tags, which the snapshot has none of, what it is."""
    known = version or str(project.pkg_info.get("Version") or "") or UNKNOWN_VERSION
    text = project.build_needs()
    tools = {
        "SETUPTOOLS_SCM_PRETEND_VERSION": bool(SCM_TOOLS.search(text)),
        "PBR_VERSION": bool(re.search(r"\bpbr\b", text)),
        "POETRY_DYNAMIC_VERSIONING_BYPASS": "poetry-dynamic-versioning" in text,
        "UV_DYNAMIC_VERSIONING_BYPASS": "uv-dynamic-versioning" in text,
        "PDM_BUILD_SCM_VERSION": _table(project.pyproject, "tool", "pdm", "version").get("source") == "scm",
    }
    used = [name for name, seen in tools.items() if seen]
    found.env.update(dict.fromkeys(used, known))
    if used:
        found.guesses.append(f"Python: the version comes from git tags; it is given as {known}.")


def reads_version_from_tags(view: View) -> bool:
    """Return whether a build would look for tags and find no other word of the version in the tree."""
    if "pyproject.toml" not in view.paths and "setup.py" not in view.paths:
        return False
    project = Project(view)
    text = project.build_needs()
    tools = re.search(r"\bpbr\b|poetry-dynamic-versioning|uv-dynamic-versioning", text)
    scm = _table(project.pyproject, "tool", "pdm", "version").get("source") == "scm"
    return bool(SCM_TOOLS.search(text) or tools or scm) and not project.pkg_info.get("Version")


def _base_image(project: Project, found: Guess) -> None:
    """Ask for an image with a fitting Python where the project refuses the one of Debian 12."""
    wanted = project.requires_python()
    least = re.search(r">=\s*3\.(\d+)", wanted)
    below = re.search(r"<\s*3\.(\d+)", wanted)
    minor = None
    if least and int(least[1]) > SITE_PYTHON[1]:
        minor = int(least[1])
    elif below and 6 < int(below[1]) <= SITE_PYTHON[1]:
        minor = int(below[1]) - 1
    if minor is not None:
        found.base_image = f"python:3.{minor}-slim-bookworm"
        found.guesses.append(f"Python: it wants Python {wanted}, so the base image is {found.base_image}.")


def _backend(project: Project) -> str:
    build = project.pyproject.get("build-system")
    name = build.get("build-backend") if isinstance(build, dict) else None
    return str(name or "setuptools")


def _for_tests(names: Any) -> list[str]:
    by_name = {re.sub(r"[-_.]+", "-", str(name)).lower(): str(name) for name in names}
    for wanted in (TEST_NAMES, DEV_NAMES):
        if chosen := [by_name[name] for name in wanted if name in by_name]:
            return sorted(chosen)
    return []


def _requirement(line: str) -> str:
    """Return a requirement of one line for pip; "" for paths, URLs, options and anything with tox's factors."""
    line = line.split(" #")[0].strip()
    match = REQUIREMENT.fullmatch(line)
    if not match:
        return ""
    name, extras, bounds, marker = match.groups()
    return "".join(part.strip() for part in (name, extras or "", bounds or "")) + (
        f" {marker.strip()}" if marker else ""
    )


def _from_poetry(name: str, wanted: Any) -> str:
    """Return poetry's `name = "^1.2"` as a requirement of pip; "" for a path, a URL or a repository."""
    if name.lower() == "python" or isinstance(wanted, list):
        return "" if name.lower() == "python" else name
    extras = ""
    if isinstance(wanted, dict):
        if {"path", "git", "url"} & set(wanted):
            return ""
        extras = "[" + ",".join(_strings(wanted.get("extras"))) + "]" if wanted.get("extras") else ""
        wanted = wanted.get("version", "*")
    bound = re.fullmatch(r"[\^~]?\s*(\d+(?:\.\d+)*)", str(wanted).strip())
    if bound and str(wanted).strip()[0] in "^~":
        return f"{name}{extras}>={bound[1]}"
    if bound:
        return f"{name}{extras}=={bound[1]}"
    plain = str(wanted).replace(" ", "")
    return f"{name}{extras}{plain}" if re.fullmatch(r"[<>=!~][\w.<>=!~,*]*", plain) else f"{name}{extras}"


def _pipenv_requirements(text: str) -> list[str]:
    return [str(name) for name in _table(_toml(text), "dev-packages")]


def _setup_arguments(text: str) -> dict[str, Any]:
    """Return the literal keyword arguments of setup(), with names resolved that are set to literals before."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}
    known: dict[str, Any] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            known[node.targets[0].id] = _literal(node.value, known)
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and getattr(call.func, "id", getattr(call.func, "attr", "")) == "setup":
            return {word.arg: _literal(word.value, known) for word in call.keywords if word.arg}
    return {}


def _literal(node: ast.expr, known: dict[str, Any]) -> Any:
    """Return the value of a literal, with the parts that are none left out (None)."""
    if isinstance(node, ast.Name):
        return known.get(node.id)
    if isinstance(node, ast.Dict):
        return {
            _literal(key, known): _literal(value, known)
            for key, value in zip(node.keys, node.values, strict=True)
            if isinstance(key, ast.Constant)
        }
    if isinstance(node, ast.List | ast.Tuple):
        return [_literal(item, known) for item in node.elts]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _literal(node.left, known), _literal(node.right, known)
        return left + right if isinstance(left, list) and isinstance(right, list) else left or right
    return node.value if isinstance(node, ast.Constant) else None


def _toml(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        return {}


def _ini(text: str) -> dict[str, dict[str, str]]:
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(text)
    except configparser.Error:
        return {}
    return {name: dict(parser[name]) for name in parser.sections()}


def _table(document: Any, *names: str) -> dict[str, Any]:
    for name in names:
        document = document.get(name) if isinstance(document, dict) else None
    return document if isinstance(document, dict) else {}


def _as_dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return value.splitlines()
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _quoted(text: str) -> str:
    return text if re.fullmatch(r"[A-Za-z0-9._/-]+", text) else "'" + text.replace("'", "'\\''") + "'"
