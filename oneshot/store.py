"""Content store: bytes by their sha256, compressed, written whole or not at all.

Diffs, logs, snapshots, reports and artifacts live here; rows hold the digest. Equal bytes are stored once.
"""

import hashlib
import os
import tempfile
from pathlib import Path

import zstandard
from django.conf import settings

LEVEL = 3


class ContentMissing(FileNotFoundError):
    """The store has no content under this digest: the data directory is incomplete."""


def digest_of(data: bytes) -> str:
    """Return the name under which `data` is stored: its sha256 in 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def path_of(digest: str) -> Path:
    """Return where the content lies. Raises ValueError for a name that is no sha256."""
    if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
        raise ValueError(f"{digest!r} is not a content digest (64 hex digits).")
    return Path(settings.DATA_DIR) / "content" / digest[:2] / digest[2:4] / f"{digest}.zst"


def put(data: bytes) -> str:
    """Store `data` and return its digest. Safe to call from many processes at once, and again."""
    digest = digest_of(data)
    path = path_of(digest)
    if path.exists():
        return digest
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(zstandard.ZstdCompressor(level=LEVEL).compress(data))
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return digest


def put_file(source: Path) -> str:
    """Store what a file holds, without reading it whole into memory, and return its digest."""
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    path = path_of(digest)
    if path.exists():
        return digest
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with os.fdopen(handle, "wb") as packed, source.open("rb") as file:
            zstandard.ZstdCompressor(level=LEVEL).copy_stream(file, packed, size=source.stat().st_size)
            packed.flush()
            os.fsync(packed.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return digest


def get_file(digest: str, target: Path) -> None:
    """Write what is stored under `digest` into the file `target`, piece by piece. Raises ContentMissing."""
    try:
        packed = path_of(digest).open("rb")
    except FileNotFoundError:
        raise ContentMissing(f"The content store has nothing under {digest}; was the data directory moved?") from None
    with packed, target.open("wb") as file:
        zstandard.ZstdDecompressor().copy_stream(packed, file)


def put_text(text: str) -> str:
    """Store `text` as UTF-8 and return its digest; lone surrogates are kept as replacement characters."""
    return put(text.encode("utf-8", "replace"))


def get(digest: str) -> bytes:
    """Return the bytes stored under `digest`. Raises ContentMissing when there are none."""
    try:
        packed = path_of(digest).read_bytes()
    except FileNotFoundError:
        raise ContentMissing(f"The content store has nothing under {digest}; was the data directory moved?") from None
    return zstandard.ZstdDecompressor().decompress(packed)


def get_text(digest: str) -> str:
    """Return the text stored under `digest`, with undecodable bytes replaced. Raises ContentMissing."""
    return get(digest).decode("utf-8", "replace")


def has(digest: str) -> bool:
    """Return whether the store holds this content."""
    return path_of(digest).exists()
