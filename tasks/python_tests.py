"""Guesses which runner a Python project's tests need, and which libraries of testing they import."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasks.detection import View

MOST_FILES_READ = 400

# Options and settings of pytest that only a plug-in knows: without it, pytest refuses to start or tests fail.
PLUGIN_OPTIONS = {
    r"--(no-)?cov\b": "pytest-cov",
    r"(^|\s)-n\s*(\d|auto|logical)|--dist\b|--numprocesses": "pytest-xdist",
    r"--timeout\b|^timeout\s*=|\"?timeout\"?\s*=\s*\d": "pytest-timeout",
    r"asyncio_mode|--asyncio-mode|asyncio_default": "pytest-asyncio",
    r"--benchmark-": "pytest-benchmark",
    r"--forked\b": "pytest-forked",
    r"--reruns\b": "pytest-rerunfailures",
    r"--random-order": "pytest-random-order",
    r"--randomly": "pytest-randomly",
    r"--doctest-plus|doctest_plus": "pytest-doctestplus",
    r"DJANGO_SETTINGS_MODULE": "pytest-django",
    r"--mypy\b": "pytest-mypy",
    r"--black\b": "pytest-black",
    r"--flake8\b": "pytest-flake8",
    r"--ruff\b": "pytest-ruff",
    r"--isort\b": "pytest-isort",
    r"--checkdocs\b": "pytest-checkdocs",
    r"--pycodestyle\b": "pytest-pycodestyle",
    r"--sugar\b": "pytest-sugar",
    r"--snapshot-": "syrupy",
    r"--disable-socket|--allow-hosts": "pytest-socket",
    r"--mock-": "pytest-mock",
    r"(^|\s)--instafail": "pytest-instafail",
    r"^env\s*=|\[tool\.pytest_env\]": "pytest-env",
    r"--codeblocks": "pytest-codeblocks",
    r"--emoji\b": "pytest-emoji",
    r"--verbose-parametrize": "pytest-verbose-parametrize",
    r"--lazy-fixture": "pytest-lazy-fixture",
    r"--subprocess-vcr|--vcr-record|--record-mode": "pytest-recording",
}

# Modules that test files import → what installs them. Only well-known ones: a name found in a stranger's file is
# no reason to install whatever is registered under it.
TEST_MODULES = {
    "hypothesis": "hypothesis",
    "mock": "mock",
    "freezegun": "freezegun",
    "time_machine": "time-machine",
    "responses": "responses",
    "respx": "respx",
    "requests_mock": "requests-mock",
    "httpretty": "httpretty",
    "vcr": "vcrpy",
    "pyfakefs": "pyfakefs",
    "parameterized": "parameterized",
    "ddt": "ddt",
    "nose": "pynose",
    "testtools": "testtools",
    "testscenarios": "testscenarios",
    "fixtures": "fixtures",
    "testpath": "testpath",
    "pretend": "pretend",
    "flexmock": "flexmock",
    "sybil": "sybil",
    "syrupy": "syrupy",
    "dirty_equals": "dirty-equals",
    "inline_snapshot": "inline-snapshot",
    "pytest_asyncio": "pytest-asyncio",
    "pytest_mock": "pytest-mock",
    "pytest_httpserver": "pytest-httpserver",
    "pytest_httpbin": "pytest-httpbin",
    "pytest_benchmark": "pytest-benchmark",
    "pytest_subtests": "pytest-subtests",
    "pytest_lazyfixture": "pytest-lazy-fixture",
    "pytest_check": "pytest-check",
    "pytest_regressions": "pytest-regressions",
    "coverage": "coverage",
    "trio": "trio",
    "anyio": "anyio",
    "trustme": "trustme",
    "faker": "faker",
    "factory": "factory-boy",
    "webtest": "webtest",
    "numpy": "numpy",
    "pandas": "pandas",
    "yaml": "pyyaml",
    "requests": "requests",
    "httpx": "httpx",
    "six": "six",
    "toml": "toml",
    "tomli": "tomli",
    "tomli_w": "tomli-w",
    "attr": "attrs",
    "attrs": "attrs",
    "psutil": "psutil",
    "pytz": "pytz",
    "dateutil": "python-dateutil",
    "jsonschema": "jsonschema",
    "cloudpickle": "cloudpickle",
    "pexpect": "pexpect",
    "greenlet": "greenlet",
    "gevent": "gevent",
    "simplejson": "simplejson",
    "lxml": "lxml",
    "bs4": "beautifulsoup4",
    "pkg_resources": "setuptools<81",
    "setuptools": "setuptools<81",
}

# Fixtures that only a plug-in gives; a test asks for them by the name of an argument.
FIXTURE_PLUGINS = {
    "mocker": "pytest-mock",
    "benchmark": "pytest-benchmark",
    "subtests": "pytest-subtests",
    "httpbin": "pytest-httpbin",
    "httpserver": "pytest-httpserver",
    "requests_mock": "requests-mock",
    "datadir": "pytest-datadir",
    "data_regression": "pytest-regressions",
    "snapshot": "syrupy",
    "faker": "faker",
    "fs": "pyfakefs",
    "httpx_mock": "pytest-httpx",
    "respx_mock": "respx",
    "aiohttp_client": "pytest-aiohttp",
}
MARK_PLUGINS = {
    "asyncio": "pytest-asyncio",
    "trio": "pytest-trio",
    "timeout": "pytest-timeout",
    "flaky": "flaky",
    "django_db": "pytest-django",
    "vcr": "pytest-recording",
    "forked": "pytest-forked",
    "xdist_group": "pytest-xdist",
    "parametrize_with_cases": "pytest-cases",
}

# pytest 9 turns what older suites do into warnings, which many of them take for errors.
USUAL_PYTEST = "pytest<9"
WANTS_LATER_PYTEST = re.compile(
    r"\bpytest(?:\[[^\]\n]*\])?[\"']?[ \t]*(?:=[ \t]*(?:\{[ \t]*version[ \t]*=[ \t]*)?[\"'])?[ \t]*"
    r"(?:>=|==|~=|>|\^)[ \t]*(?:9|\d\d)\b"
    r"|^\s*minversion\s*=\s*[\"']?(?:9|\d\d)\b|^\[tool\.pytest\]",
    re.MULTILINE,
)

CONFIG_FILES = ("pytest.ini", ".pytest.ini", "pytest.toml", "tox.ini", "setup.cfg", "pyproject.toml", "noxfile.py")


def test_files(view: View) -> list[str]:
    """Return the Python files that a test runner would collect or load, by their names."""
    return view.named(_is_test_file)


def _is_test_file(path: PurePosixPath) -> bool:
    if path.suffix != ".py":
        return False
    named = path.name.startswith("test_") or path.stem.endswith("_test") or path.name in ("tests.py", "test.py")
    return named or path.name == "conftest.py"


def framework(view: View, tests: Iterable[str]) -> str:
    """Return "unittest" where the tests use it and nothing speaks of pytest, else "pytest"."""
    tests = list(tests)
    spoken = any("pytest" in view.text(name) for name in (*CONFIG_FILES, "setup.py", "PKG-INFO", "Pipfile"))
    named = any("pytest" in view.text(path) for path in view.paths if _is_requirement_file(path))
    if spoken or named or any(path.endswith("conftest.py") for path in tests):
        return "pytest"
    texts = [view.text(path) for path in tests[:MOST_FILES_READ]]
    if any(re.search(r"^\s*(import|from) pytest\b|^(async )?def test", text, re.M) for text in texts):
        return "pytest"
    return "unittest" if any(re.search(r"^\s*(import|from) unittest\b", text, re.M) for text in texts) else "pytest"


def pytest_requirement(view: View) -> str:
    """Return the pytest to install where the project leaves it open; one that is there and fits stays."""
    if view.has_root("pytest.toml", ".pytest.toml"):
        return "pytest"
    names = [*CONFIG_FILES, "setup.py", "Pipfile", *(path for path in view.paths if _is_requirement_file(path))]
    return "pytest" if any(WANTS_LATER_PYTEST.search(view.text(name)) for name in names) else USUAL_PYTEST


def _is_requirement_file(path: str) -> bool:
    return "requirement" in path and path.endswith((".txt", ".in", ".pip")) and path.count("/") < 2


def libraries(view: View, tests: Iterable[str]) -> set[str]:
    """Return what the tests import, or ask of pytest, that has to be installed for them."""
    found: set[str] = set()
    config = "\n".join(_pytest_settings(view, name) for name in CONFIG_FILES)
    found |= {plugin for option, plugin in PLUGIN_OPTIONS.items() if re.search(option, config, re.M)}
    own = {PurePosixPath(path).parts[0] for path in view.paths} | {
        PurePosixPath(path).parts[1] for path in view.paths if path.startswith("src/")
    }
    own |= {PurePosixPath(path).stem for path in view.paths}
    for path in list(tests)[:MOST_FILES_READ]:
        text = view.text(path)
        for module in re.findall(r"^\s*(?:import|from) ([A-Za-z_]\w*)", text, re.M):
            if module in TEST_MODULES and module not in own:
                found.add(TEST_MODULES[module])
        for mark in re.findall(r"\bmark\.(\w+)", text):
            found |= {MARK_PLUGINS[mark]} if mark in MARK_PLUGINS else set()
        for arguments in re.findall(r"^\s*(?:async )?def test\w*\(([^)]*)\)", text, re.M):
            names = set(re.findall(r"\w+", arguments)) - _fixtures_of(view)
            found |= {FIXTURE_PLUGINS[name] for name in names & set(FIXTURE_PLUGINS)}
    return found


def _fixtures_of(view: View) -> set[str]:
    """Return the fixtures that the repository defines itself, wherever in its tests."""
    cached: set[str] | None = getattr(view, "_fixtures", None)
    if cached is None:
        cached = set()
        for path in test_files(view)[:MOST_FILES_READ]:
            cached |= set(re.findall(r"fixture[^\n]*\n(?:\s*@[^\n]*\n)*\s*(?:async )?def (\w+)", view.text(path)))
            cached |= set(re.findall(r"parametrize\(\s*[\"']([^\"']+)", view.text(path)))
            cached |= {
                name.strip()
                for names in re.findall(r"parametrize\(\s*[\"'(\[]+([^\"')\]]+)", view.text(path))
                for name in names.split(",")
            }
        view._fixtures = cached  # type: ignore[attr-defined]
    return cached


def _pytest_settings(view: View, name: str) -> str:
    """Return the part of a configuration file that speaks to pytest."""
    text = view.text(name)
    if name.endswith(("pytest.ini", "pytest.toml")):
        return text
    heading = r"\[tool\.pytest.*?\]" if name == "pyproject.toml" else r"\[(?:tool:)?pytest\]"
    sections = re.split(r"^(?=\[)", text, flags=re.M)
    return "\n".join(section for section in sections if re.match(heading, section))
