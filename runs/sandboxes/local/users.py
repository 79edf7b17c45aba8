"""Gives each local sandbox a host user of its own, where OneShot runs as root.

With its own user a sandbox's processes can be counted and killed as one, and cannot touch those of another. The
numbers belong to nobody: no account is made.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import subprocess
from pathlib import Path

from runs.errors import InfraError
from runs.sandboxes.local.jail import PATH

logger = logging.getLogger(__name__)

# Above every range that systemd, containers and subordinate ids use; else, in a small user namespace, from the
# range of systemd's dynamic users.
LARGE, SMALL = range(1_900_000_000, 1_990_000_000), range(61_184, 65_520)
TRIES = 50


def reserve(directory: Path, sandbox_id: str) -> int | None:
    """Return a user for a new sandbox, kept until `release`; None when OneShot is not root. Raises InfraError."""
    if os.geteuid() != 0:
        return None
    directory.mkdir(mode=0o700, exist_ok=True)
    numbers = LARGE if _maps(LARGE) else SMALL
    for _ in range(TRIES):
        number = random.choice(numbers)  # noqa: S311
        try:
            with (directory / str(number)).open("x") as file:
                file.write(sandbox_id)
            return number
        except FileExistsError:
            continue
    raise InfraError(f"No free user number for a sandbox: {directory} is full. Run the sweep command.")


def release(directory: Path, uid: int | None) -> None:
    """Let the number be used again; call it when nothing of the sandbox is left."""
    if uid is not None:
        (directory / str(uid)).unlink(missing_ok=True)


def kill_all(uid: int) -> None:
    """Kill every process of the user in one stroke, which a fork bomb cannot outrun."""
    who = ["setpriv", "--reuid", str(uid), "--regid", str(uid), "--clear-groups"]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(
            [*who, "/bin/sh", "-c", "kill -9 -1"],
            env={"PATH": PATH},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=5,
            check=False,
        )


def _maps(numbers: range) -> bool:
    """Whether this process' user namespace knows all of these numbers."""
    try:
        lines = Path("/proc/self/uid_map").read_text().splitlines()
    except OSError:
        return False
    for line in lines:
        first, _, count = (int(field) for field in line.split())
        if first <= numbers.start and numbers.stop <= first + count:
            return True
    return False
