"""What a task's page says about a version: where it comes from, what it may use, how it is tested."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from oneshot.templatetags.figures import limit_time
from tasks.models import Criterion, Network, Rubric, TaskVersion

LONGEST = 4_000


@dataclass(frozen=True)
class Setting:
    """One entry of an environment: its value as text, and where it comes from: the task, a guess, or this site."""

    name: str
    value: str
    source: str


def repository(version: TaskVersion) -> dict[str, str]:
    """Return name, address without any password, and what is taken of the repository."""
    repo = version.repo or {}
    address = without_password(str(repo.get("git_url") or ""))
    name = address.rstrip("/").rpartition("/")[2].removesuffix(".git")
    return {
        "name": name[:100],
        "address": address,
        # A path of this machine is nobody else's business.
        "shared": address if address.startswith(("https://", "http://")) else "",
        "branch": str(repo.get("branch") or ""),
        "start": str(repo.get("start_commit_sha") or ""),
        "subdir": str(repo.get("subdir") or ""),
        "sparse": ", ".join(str(path) for path in repo.get("sparse_checkout") or [])[:LONGEST],
    }


def without_password(address: str) -> str:
    """Return a git address without the user and password that some carry in it.

    >>> without_password("https://bot:secret@example.org/a.git"), without_password("git@example.org:a.git")
    ('https://example.org/a.git', 'git@example.org:a.git')
    """
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    if "@" not in parts.netloc or not parts.scheme:
        return address
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def environment(version: TaskVersion) -> list[Setting]:
    """Return the effective environment, each entry with its source."""
    declared, detected = version.environment or {}, version.detected_environment or {}
    settings = []
    for name, value in sorted(version.effective_environment().items()):
        if value in (None, "", [], {}):
            continue
        source = "the task" if name in declared else "a guess" if name in detected else "this site"
        settings.append(Setting(name, _as_text(value), source))
    return settings


def limits(version: TaskVersion) -> str:
    """Return the limits in one line, such as "30 min, 2 GB, 2 CPUs"; empty when the task and site set none."""
    effective = version.effective_environment()
    parts = []
    if timeout := effective.get("timeout_s"):
        parts.append(str(limit_time(timeout)))
    if memory := effective.get("memory_mb"):
        parts.append(f"{memory / 1024:g} GB" if memory % 1024 == 0 else f"{memory:,} MB")
    if cpus := effective.get("cpus"):
        parts.append(f"{cpus:g} {'CPU' if cpus == 1 else 'CPUs'}")
    return ", ".join(parts)


def network(version: TaskVersion) -> str:
    """Return what an agent at this task may reach, in words."""
    effective = version.effective_environment().get("network") or Network.MODEL_ONLY
    return str(Network(effective).label) if effective in Network.values else str(effective)


def rubric_kinds(rubric: Rubric | None, criteria: list[Criterion]) -> list[tuple[str, int, int | None]]:
    """Return (kind, number of criteria, percent of the weight) by kind; None where there is no weight to share."""
    if rubric is None:
        return []
    weighing = [criterion for criterion in criteria if criterion.kind != Criterion.Kind.PITFALL]
    whole = sum((criterion.weight for criterion in weighing), Decimal(0))
    rows: list[tuple[str, int, int | None]] = []
    for kind in Criterion.Kind:
        of_kind = [criterion for criterion in criteria if criterion.kind == kind]
        if of_kind:
            weight = sum((criterion.weight for criterion in of_kind), Decimal(0))
            share = round(100 * weight / whole) if whole > 0 and kind != Criterion.Kind.PITFALL else None
            rows.append((str(kind.label), len(of_kind), share))
    return rows


def _as_text(value: Any) -> str:
    if isinstance(value, dict):
        text = "\n".join(f"{key}={item}" for key, item in value.items())
    elif isinstance(value, list):
        text = "\n".join(str(item) for item in value)
    else:
        text = str(value)
    return text[:LONGEST]
