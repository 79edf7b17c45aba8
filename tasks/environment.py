"""The environment of a task: what it declares, what is guessed from its files, and the site's defaults.

Every field is optional. The site's settings are overridden by what was detected in the repository
(tasks/detection.py), and that by what the task declares.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import PurePosixPath
from typing import Any

from django.conf import settings

from tasks.detection import detect
from tasks.problems import Problem, shown

__all__ = ["FIELDS", "IMAGE_FIELDS", "LANGUAGES", "TEST_FRAMEWORKS", "detect", "problems", "resolve"]

LANGUAGES = ("python", "node", "go", "rust")
TEST_FRAMEWORKS = ("pytest", "unittest", "node", "go", "rust", "script")
# Other words for the same, which graders accept too.
OTHER_WORDS = ("junit", "cargo", "node:test", "golang")
PLUG_INS = "oneshot.frameworks"
NETWORKS = ("none", "model-only", "full")
WORKDIR = "/work"

# What an image depends on; the other fields steer a run and may change without a rebuild.
IMAGE_FIELDS = ("languages", "base_image", "packages", "setup", "env", "workdir", "test_framework", "dockerfile")

# Directories of the system, of OneShot and of the sandbox, which the repository may neither replace nor lie in.
TAKEN_DIRECTORIES = (
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/lib",
    "/lib32",
    "/lib64",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/sys",
    "/tmp",  # noqa: S108 - a name to compare with
    "/usr",
    "/var/run",
    "/home/agent",
    "/opt/oneshot",
    "/opt/venv",
)

PACKAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+:~@/=-]*")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
IMAGE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]*")
# The sandbox sets these, and everything that begins with ONESHOT_.
TAKEN_VARIABLES = ("HOME", "USER", "LOGNAME")
LONGEST_TEXT = 200_000

Complaint = tuple[str, Any, str]
"""Field path below `environment`, the value there, and what is wrong with it."""


def problems(environment: object, *, file: str = "tb_meta.json") -> list[Problem]:
    """Return what is wrong with a declared environment; empty when it can be used. Unknown fields are problems too."""
    if not isinstance(environment, dict):
        return [Problem(file, "environment", shown(environment), "This must be an object; leave it out to detect it.")]
    found = []
    for name, value in environment.items():
        for place, bad, message in _check_field(str(name), value):
            found.append(Problem(file, f"environment.{place}", shown(bad), message))
    return found


def _check_field(name: str, value: object) -> Iterator[Complaint]:
    check = FIELDS.get(name)
    if check is None:
        yield name, value, f"There is no such field. The fields are {', '.join(FIELDS)}."
    elif value is not None:
        yield from check(name, value)


def _check_text(name: str, value: object) -> Iterator[Complaint]:
    if not isinstance(value, str):
        yield name, value, "This must be text."
    elif "\x00" in value or len(value) > LONGEST_TEXT:
        yield name, value, f"This must be text without NUL, of at most {LONGEST_TEXT} characters."


def _check_name_of(pattern: re.Pattern[str], what: str) -> Callable[[str, object], Iterator[Complaint]]:
    def check(name: str, value: object) -> Iterator[Complaint]:
        if not isinstance(value, str) or not pattern.fullmatch(value) or len(value) > 300:
            yield name, value, f"This is not {what}."

    return check


def _check_choice(*choices: str) -> Callable[[str, object], Iterator[Complaint]]:
    def check(name: str, value: object) -> Iterator[Complaint]:
        if value not in choices:
            yield name, value, f"This must be one of {', '.join(choices)}."

    return check


def _check_framework(name: str, value: object) -> Iterator[Complaint]:
    plug_ins = {entry.name for entry in entry_points(group=PLUG_INS)}
    if not isinstance(value, str) or value not in {*TEST_FRAMEWORKS, *OTHER_WORDS, *plug_ins}:
        yield name, value, f"This must be one of {', '.join([*TEST_FRAMEWORKS, *sorted(plug_ins)])}."


def _check_number(least: float, most: float, *, whole: bool) -> Callable[[str, object], Iterator[Complaint]]:
    def check(name: str, value: object) -> Iterator[Complaint]:
        number = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
        if not number or not least <= value <= most:  # type: ignore[operator]
            kind = "whole number" if whole else "number"
            yield name, value, f"This must be a {kind} from {least:g} to {most:g}."

    return check


def _check_list(
    check_item: Callable[[str, object], Iterator[Complaint]],
) -> Callable[[str, object], Iterator[Complaint]]:
    def check(name: str, value: object) -> Iterator[Complaint]:
        if not isinstance(value, list) or len(value) > 1000:
            yield name, value, "This must be a list of at most 1000 items."
            return
        for position, item in enumerate(value):
            yield from check_item(f"{name}[{position}]", item)

    return check


def _check_setup(name: str, value: object) -> Iterator[Complaint]:
    """Accept a list of shell lines, or one text of several lines."""
    yield from _check_text(name, value) if isinstance(value, str) else _check_list(_check_text)(name, value)


def _check_env(name: str, value: object) -> Iterator[Complaint]:
    if not isinstance(value, dict):
        yield name, value, "This must be an object of names and values."
        return
    for variable, content in value.items():
        place = f"{name}.{variable}"
        if not VARIABLE.fullmatch(str(variable)):
            yield place, variable, "This is not the name of an environment variable."
        elif variable in TAKEN_VARIABLES or str(variable).startswith("ONESHOT_"):
            yield place, content, "A task cannot set this variable; OneShot does."
        elif not isinstance(content, str | int | float):
            yield place, content, "The value of a variable must be text."
        else:
            yield from _check_text(place, str(content))


def _check_workdir(name: str, value: object) -> Iterator[Complaint]:
    if not isinstance(value, str) or not re.fullmatch(r"(/[A-Za-z0-9._-]+)+", value):
        yield name, value, "This must be an absolute path of plain names, such as /work."
        return
    path = PurePosixPath(value)
    if ".." in path.parts or "." in value.split("/"):
        yield name, value, "This must be an absolute path without dots, such as /work."
        return
    taken = {PurePosixPath(directory) for directory in TAKEN_DIRECTORIES}
    if taken & {path, *path.parents} or any(path in directory.parents for directory in taken):
        yield name, value, "This directory belongs to the system. Use /work, or one like /app or /srv/project."


FIELDS: dict[str, Callable[[str, object], Iterator[Complaint]]] = {
    "languages": _check_list(_check_choice(*LANGUAGES)),
    "base_image": _check_name_of(IMAGE_NAME, "the name of an image, such as debian:bookworm-slim"),
    "packages": _check_list(_check_name_of(PACKAGE, "the name of a package of the image's package manager")),
    "setup": _check_setup,
    "env": _check_env,
    "workdir": _check_workdir,
    "test_framework": _check_framework,
    "test_command": _check_text,
    "timeout_s": _check_number(1, 604_800, whole=False),
    "test_timeout_s": _check_number(1, 604_800, whole=False),
    "memory_mb": _check_number(64, 1_048_576, whole=True),
    "cpus": _check_number(0.1, 1024, whole=False),
    "pids": _check_number(16, 100_000, whole=True),
    "disk_mb": _check_number(16, 10_485_760, whole=True),
    "network": _check_choice(*NETWORKS),
    "dockerfile": _check_text,
}


def site_defaults() -> dict[str, Any]:
    """Return the value of every field where neither the task nor its repository says anything."""
    return {
        "languages": [],
        "base_image": settings.BASE_IMAGE,
        "packages": [],
        "setup": [],
        "env": {},
        "workdir": WORKDIR,
        "test_framework": "pytest",
        "test_command": "",
        "timeout_s": settings.AGENT_TIMEOUT_S,
        "test_timeout_s": settings.TEST_TIMEOUT_S,
        "memory_mb": settings.MEMORY_MB,
        "cpus": settings.CPUS,
        "pids": settings.PIDS,
        "disk_mb": settings.DISK_MB,
        "network": "model-only",
        "dockerfile": "",
    }


def resolve(declared: dict[str, Any], detected: dict[str, Any] | None) -> dict[str, Any]:
    """Return every field: the declared environment over the detected one over the site's settings.

    `env` is merged variable by variable; every other field is taken whole. `detected` is None before the version
    was prepared. With a Dockerfile of its own, a task gets nothing that was detected but the way to test it.
    """
    found = {name: value for name, value in (detected or {}).items() if name in FIELDS and value is not None}
    said = {name: value for name, value in declared.items() if name in FIELDS and value is not None}
    if said.get("dockerfile"):
        found = {name: value for name, value in found.items() if name in ("test_framework", "test_command")}
        found["workdir"] = _last_workdir(said["dockerfile"]) or WORKDIR
    result = {**site_defaults(), **found, **said}
    result["env"] = {
        name: str(value) for name, value in {**found.get("env", {}), **said.get("env", {})}.items() if value is not None
    }
    if isinstance(result["setup"], str):
        result["setup"] = [result["setup"]] if result["setup"].strip() else []
    return result


def _last_workdir(dockerfile: str) -> str:
    """Return where a Dockerfile ends up, when its last WORKDIR is a path that the repository may have; else ""."""
    for line in reversed(dockerfile.splitlines()):
        word, _, path = line.strip().partition(" ")
        if word.upper() == "WORKDIR":
            path = path.strip().strip("\"'").rstrip("/")
            return "" if any(_check_workdir("workdir", path)) else path
    return ""
