"""Pointers of Git LFS, written as its filter would write them, without running it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from tasks.capture.worktree import Worktree

START = b"version https://git-lfs.github.com/spec/v1\n"
LARGEST_POINTER = 1024


def pointer_of(file: Path) -> bytes:
    """Return the pointer to a file's content; of a file that is a pointer already, itself."""
    with file.open("rb") as source:
        head = source.read(LARGEST_POINTER)
        if head.startswith(START) and len(head) < LARGEST_POINTER:
            return head
        source.seek(0)
        digest = hashlib.file_digest(source, "sha256").hexdigest()
        size = source.tell()
    # An empty file is its own pointer, as the filter has it.
    return START + f"oid sha256:{digest}\nsize {size}\n".encode() if size else b""


def index_rows(worktree: Worktree, paths: list[bytes]) -> bytes:
    """Return the input of `git update-index -z --index-info` that puts pointers at these paths."""
    rows = []
    for path in paths:
        file = worktree.top / os.fsdecode(path)
        blob = worktree.must(["hash-object", "-w", "--no-filters", "--stdin"], stdin=pointer_of(file)).decode().strip()
        mode = "100755" if os.access(file, os.X_OK) else "100644"
        rows.append(f"{mode} {blob} 0\t".encode() + path + b"\0")
    return b"".join(rows)
