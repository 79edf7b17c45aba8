"""What a sandbox's file system shows, as a list of steps that bubblewrap and our own `unshare` script both follow."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from runs.sandboxes.base import BASE_GIT, HOME
from runs.sandboxes.local.plan import NETWORK_ETC, SYSTEM, SYSTEM_ETC, SYSTEM_ETC_PATTERNS, Plan, python_prefix

# Shared memory vanishes with the command and counts as memory where a control group holds that.
SHM_MB = 256


@dataclass(frozen=True)
class Step:
    """Show `source` of the host as `target`; for a link, `source` is what it says; for a tmpfs, its megabytes."""

    kind: Literal["ro", "rw", "dir", "link", "tmpfs"]
    target: str
    source: str = ""


def steps(plan: Plan) -> list[Step]:
    """Return the steps in order. /proc and /dev are made by whoever follows them, before these."""
    found = [*_system(), *_etc(plan)]
    found += [Step("dir", "/home"), Step("dir", "/run"), Step("dir", "/var"), Step("dir", "/opt")]
    found += [Step("rw", "/tmp", str(plan.tmp)), Step("link", "/var/tmp", "../tmp")]  # noqa: S108
    found.append(Step("tmpfs", "/dev/shm", str(min(SHM_MB, plan.limits.memory_mb // 2))))  # noqa: S108
    prefix = python_prefix()
    if prefix:
        found.append(Step("ro", str(prefix), str(prefix)))
    found += _opt(plan)
    found.append(Step("rw", HOME, str(plan.home)))
    found.append(Step("rw", plan.workdir, str(plan.work)))
    found += [Step("ro", mount.target, str(mount.source)) for mount in plan.mounts]
    return _with_parents(found)


def _with_parents(wanted: list[Step]) -> list[Step]:
    """Put before each step the directories above it; left to themselves, bwrap as root makes them for root alone."""
    found: list[Step] = []
    made = {"/", "/dev"}
    for step in wanted:
        parents = [str(parent) for parent in reversed(Path(step.target).parents)]
        found += [Step("dir", parent) for parent in parents if parent not in made]
        found.append(step)
        made |= {*parents, step.target}
    return found


def _system() -> list[Step]:
    found = []
    for name in SYSTEM:
        path = Path(name)
        if path.is_symlink():
            found.append(Step("link", name, str(path.readlink())))
        elif path.is_dir():
            found.append(Step("ro", name, name))
    return found


def _etc(plan: Plan) -> list[Step]:
    names = SYSTEM_ETC + (NETWORK_ETC if plan.network == "full" else ())
    found = [Step("dir", "/etc")]
    patterns = [path.name for pattern in SYSTEM_ETC_PATTERNS for path in sorted(Path("/etc").glob(pattern))]
    for name in (*names, *patterns):
        path = Path("/etc", name)
        if path.exists():
            # The file itself, wherever a link leads: /etc/resolv.conf often points into /run, which is not shown.
            found.append(Step("ro", str(path), str(path.resolve())))
    found += [Step("ro", f"/etc/{path.name}", str(path)) for path in sorted(plan.etc.iterdir())]
    return found


def _opt(plan: Plan) -> list[Step]:
    """Show the image's /opt under that name and under its real one, entry by entry, so that mounts find room beside."""
    kind: Literal["ro", "rw"] = "rw" if plan.builder else "ro"
    real = str(plan.opt.resolve())
    found = []
    if plan.opt.is_dir():
        if plan.builder:
            found = [Step("rw", "/opt", str(plan.opt))]
        else:
            entries = sorted(path for path in plan.opt.iterdir() if path.name != "oneshot")
            found = [
                Step("link", f"/opt/{path.name}", str(path.readlink()))
                if path.is_symlink()
                else Step("ro", f"/opt/{path.name}", str(path))
                for path in entries
            ]
        found.append(Step(kind, real, str(plan.opt)))
    if plan.base_git.is_dir():
        found.append(Step("ro", BASE_GIT, str(plan.base_git)))
    return found
