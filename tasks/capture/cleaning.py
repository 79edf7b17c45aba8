"""Takes secrets out of a snapshot while it lies in its private index. What is in no commit was shared with nobody.

Only files that differ from the commit at which a capture began are read, and a value that stands in that commit's
version of one of them is left: it was shared before, and the change must not seem to touch it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tasks.capture.worktree import Worktree
from traces.redaction import MASK, Finding, find_secrets, redact

MOST_BYTES = 10_000_000  # of a text file that is searched
BATCH_BYTES = 64_000_000
REGULAR = (b"100644", b"100755")


@dataclass
class Cleaned:
    """What was taken out: `secrets` are [{"kind": "secret", "what", "path", "line"}], `blobs` {raw id: clean id}."""

    paths: list[bytes] = field(default_factory=list)
    secrets: list[dict[str, Any]] = field(default_factory=list)
    blobs: dict[str, str] = field(default_factory=dict)


class _File(NamedTuple):
    mode: bytes
    blob: str
    path: bytes


def clean_index(worktree: Worktree, env: Mapping[str, str], *, since: str, known: Mapping[str, str]) -> Cleaned:
    """Replace secrets by [redacted] in the files of an index that differ from the commit `since`, "" for none.

    `known` is what an earlier cleaning found: the same file becomes the same again, and its values count as secrets
    wherever else they stand now, though this process may not know them. Raises BadRepository.
    """
    files, old = _differing(worktree, env, since)
    values = _values(worktree, known) if known else frozenset()
    found = list(_with_secrets(worktree, files, values))
    if not found:
        return Cleaned()
    shared = _shared(worktree, old, {text[start:end] for _, text, spans in found for _, start, end in spans})
    cleaned = Cleaned()
    texts: list[tuple[_File, str]] = []
    for file, text, spans in found:
        mine = [span for span in spans if text[span.start : span.end] not in shared]
        if mine:
            texts.append((file, _without(text, mine)))
            cleaned.paths.append(file.path)
            cleaned.secrets += _told(file.path, text, mine)
    made = [known.get(file.blob) for file, _ in texts]
    fresh = _stored(worktree, [text for (_, text), blob in zip(texts, made, strict=True) if blob is None])
    ids = [blob if blob is not None else next(fresh) for blob in made]
    rows = [b"%b %b\t%b\0" % (file.mode, blob.encode(), file.path) for (file, _), blob in zip(texts, ids, strict=True)]
    worktree.must(["update-index", "-z", "--index-info"], env=env, stdin=b"".join(rows))
    cleaned.blobs = {file.blob: blob for (file, _), blob in zip(texts, ids, strict=True)}
    return cleaned


def _differing(worktree: Worktree, env: Mapping[str, str], since: str) -> tuple[list[_File], list[str]]:
    """Return (regular files of the index that differ from `since`, the blobs that stand there in their place)."""
    base = since or worktree.must(["hash-object", "-t", "tree", "--stdin"]).decode().strip()
    listed = worktree.must(["diff-index", "--cached", "--raw", "-z", "--no-renames", base], env=env).split(b"\0")
    files, old = [], []
    for row, path in zip(listed[::2], listed[1::2], strict=False):
        was, mode, before, blob, _ = row.removeprefix(b":").split(b" ", 4)
        if was in REGULAR:
            old.append(before.decode())
        if mode in REGULAR:
            files.append(_File(mode, blob.decode(), path))
    return files, old


def _with_secrets(
    worktree: Worktree, files: list[_File], values: frozenset[str]
) -> Iterator[tuple[_File, str, list[Finding]]]:
    by_blob: dict[str, list[_File]] = {}
    for file in files:
        by_blob.setdefault(file.blob, []).append(file)
    for blob, text in _texts(worktree, by_blob):
        if spans := find_secrets(text, extra=values):
            for file in by_blob[blob]:
                yield file, text, spans


def _texts(worktree: Worktree, blobs: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield (id, text) of those blobs that are there, are text, and not too large."""
    wanted = list(dict.fromkeys(blobs))
    if not wanted:
        return
    asked = "".join(f"{blob}\n" for blob in wanted).encode()
    listed = worktree.must(["cat-file", "--batch-check=%(objectname) %(objectsize)"], stdin=asked).decode().split("\n")
    batch: list[tuple[str, int]] = []
    total = 0
    for row in listed:
        blob, _, size = row.partition(" ")
        # A blob that a partial clone lacks is "missing".
        if size.isdecimal() and int(size) <= MOST_BYTES:
            if total + int(size) > BATCH_BYTES:
                yield from _read(worktree, batch)
                batch, total = [], 0
            batch.append((blob, int(size)))
            total += int(size)
    yield from _read(worktree, batch)


def _read(worktree: Worktree, batch: list[tuple[str, int]]) -> Iterator[tuple[str, str]]:
    content = worktree.must(["cat-file", "--batch"], stdin="".join(f"{blob}\n" for blob, _ in batch).encode())
    position = 0
    for blob, size in batch:
        begin = content.index(b"\n", position) + 1
        data = content[begin : begin + size]
        position = begin + size + 1
        if b"\0" not in data:
            yield blob, _decoded(data)


def _values(worktree: Worktree, known: Mapping[str, str]) -> frozenset[str]:
    """Return the values that an earlier cleaning took out, by laying its clean files beside the raw ones."""
    texts = dict(_texts(worktree, [*known, *known.values()]))
    found: set[str] = set()
    for raw, clean in known.items():
        # Git may have removed the raw one since.
        if raw in texts and clean in texts:
            found |= values_between(texts[raw], texts[clean])
    return frozenset(found)


def values_between(raw: str, clean: str) -> set[str]:
    """Return what stands in `raw` where `clean` says [redacted]; nothing when they do not fit."""
    first, *parts = clean.split(MASK)
    if not raw.startswith(first):
        return set()
    position = len(first)
    found = set()
    for number, part in enumerate(parts, start=1):
        end = len(raw) - len(part) if number == len(parts) and raw.endswith(part) else raw.find(part, position)
        if end < position:
            return set()
        found.add(raw[position:end])
        position = end + len(part)
    return found - {MASK, ""}


def _shared(worktree: Worktree, old: list[str], values: set[str]) -> set[str]:
    found: set[str] = set()
    for _, text in _texts(worktree, old):
        found |= {value for value in values - found if value in text}
    return found


def _without(text: str, spans: list[Finding]) -> str:
    parts: list[str] = []
    position = 0
    for _, start, end in spans:
        parts += (text[position:start], MASK)
        position = end
    return "".join([*parts, text[position:]])


def _told(path: bytes, text: str, spans: list[Finding]) -> list[dict[str, Any]]:
    name = redact(path.decode("utf-8", "replace"))
    return [
        {"kind": "secret", "what": span.kind, "path": name, "line": text.count("\n", 0, span.start) + 1}
        for span in spans
    ]


def _stored(worktree: Worktree, texts: list[str]) -> Iterator[str]:
    """Store texts as blobs, and return their ids in order."""
    if not texts:
        return iter(())
    with tempfile.TemporaryDirectory(prefix="oneshot-clean-") as directory:
        paths = [Path(directory) / str(number) for number in range(len(texts))]
        for path, text in zip(paths, texts, strict=True):
            path.write_bytes(text.encode("utf-8", "surrogateescape"))
        listed = "".join(f"{path}\n" for path in paths).encode()
        return iter(
            worktree.must(["hash-object", "-w", "--no-filters", "--stdin-paths"], stdin=listed).decode().split()
        )


def _decoded(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
