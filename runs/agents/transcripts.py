"""Fetches the session files that an agent leaves in its home: its own account of what it did."""

from __future__ import annotations

import re

from runs.agents.base import Log
from runs.errors import InfraError
from runs.sandboxes.base import Sandbox

MAX_BYTES = 50_000_000
MAX_TOTAL_BYTES = 200_000_000
MAX_FILES = 50
LIST = 'cd -- "$1" || exit 0; for f in $2; do if [ -f "$f" ] && [ ! -L "$f" ]; then printf "%s\\n" "$1/$f"; fi; done'


def collect(
    sandbox: Sandbox, home: str, patterns: tuple[str, ...], allowed: re.Pattern[str], log: Log
) -> dict[str, bytes]:
    """Return the files below `home` that match a shell pattern, by file name. They are there also after a kill.

    A path must match `allowed` too; what cannot be read is told in the log and left out.
    """
    found: dict[str, bytes] = {}
    left = MAX_TOTAL_BYTES
    try:
        listed = sandbox.exec(
            ["sh", "-c", LIST, "sh", home, " ".join(patterns)], timeout_s=30, max_output_bytes=100_000
        )
    except InfraError as error:
        log("agent", f"the transcripts could not be read: {error}")
        return found
    paths = [path for path in listed.stdout.decode("utf-8", "replace").splitlines() if allowed.match(path)]
    for path in paths[:MAX_FILES]:
        try:
            data = sandbox.get(path, max_bytes=min(MAX_BYTES, left))
        except (FileNotFoundError, InfraError) as error:
            log("agent", f"a transcript could not be read: {error}")
            continue
        found[path.rpartition("/")[2]] = data
        left -= len(data)
    if len(paths) > MAX_FILES:
        log("agent", f"{len(paths) - MAX_FILES} transcripts more than {MAX_FILES} were left out")
    return found
