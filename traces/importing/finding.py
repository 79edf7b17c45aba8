"""Finds what can be imported: in given paths, and where the agents of this machine keep their transcripts."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from traces.readers import recognise
from traces.readers.base import Reader

# More than this below one directory is a mistake in the path rather than a collection of traces.
MOST_FILES = 200_000
SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".json", ".sqlite3", ".sqlite", ".db")
_NOT_ENTERED = {".git", "node_modules", ".venv", "__pycache__"}
# A thread id that may stand in a file's name: no separator, no dot at its start, nothing that a pattern means.
THREAD_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{5,119}")


def codex_homes() -> list[Path]:
    """Return the directories in which Codex keeps its sessions here."""
    home = Path(os.environ.get("CODEX_HOME") or Path.home() / ".codex")
    return [path for name in ("sessions", "archived_sessions") if (path := home / name).is_dir()]


def claude_homes() -> list[Path]:
    """Return the directories in which Claude Code keeps its transcripts here."""
    home = Path(os.environ.get("CLAUDE_CONFIG_DIR") or Path.home() / ".claude")
    return [path for path in (home / "projects",) if path.is_dir()]


def files_in(path: Path) -> Iterator[tuple[Path, Reader]]:
    """Yield the traces in a directory, or the file itself, with their readers. Symbolic links are not followed."""
    if path.is_file():
        if reader := recognise(path):
            yield path, reader
        return
    for number, found in enumerate(_walk(path)):
        if number >= MOST_FILES:
            return
        if reader := recognise(found):
            yield found, reader


def _walk(directory: Path) -> Iterator[Path]:
    for folder, names, files in os.walk(directory, followlinks=False):
        names[:] = sorted(name for name in names if name not in _NOT_ENTERED)
        for name in sorted(files):
            path = Path(folder, name)
            if name.endswith(SUFFIXES) and path.is_file() and not path.is_symlink():
                yield path


def transcripts_of(agent: str, thread_id: str) -> list[Path]:
    """Return the transcripts of one session on this machine; none for an id that is no plain name."""
    if not THREAD_ID.fullmatch(thread_id):
        return []
    found: list[Path] = []
    if agent in ("codex", ""):
        for home in codex_homes():
            found += sorted(home.glob(f"**/rollout-*{thread_id}.jsonl*"))
    if agent in ("claude_code", ""):
        for home in claude_homes():
            found += sorted(home.glob(f"*/{thread_id}.jsonl"))
            found += sorted(home.glob(f"*/{thread_id}/subagents/*.jsonl"))
    return [path for path in found if path.is_file() and not path.is_symlink()]
