"""Readers of traces, one file per source, found by name and by what a file looks like."""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import entry_points
from pathlib import Path

from traces.readers.base import Reader

GROUP = "oneshot.readers"


@lru_cache(maxsize=1)
def readers() -> tuple[Reader, ...]:
    """Return every known reader, OneShot's own first."""
    from traces.readers.atif import AtifReader
    from traces.readers.claude_code import ClaudeCodeReader
    from traces.readers.codex import CodexReader
    from traces.readers.original import OriginalReader
    from traces.readers.proxy import ProxyReader

    own: list[Reader] = [ProxyReader(), CodexReader(), ClaudeCodeReader(), OriginalReader(), AtifReader()]
    return (*own, *(entry.load()() for entry in entry_points(group=GROUP)))


def recognise(path: Path) -> Reader | None:
    """Return the reader of a file, or None when it is of no known kind."""
    return next((reader for reader in readers() if reader.recognises(path)), None)


def reader_named(name: str) -> Reader:
    """Return the reader of this name. Raises LookupError."""
    for reader in readers():
        if reader.name == name:
            return reader
    raise LookupError(f"There is no reader {name!r}.")
