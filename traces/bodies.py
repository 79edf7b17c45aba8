"""Keeps the many small texts of a trace: some hundred of them together in one blob of the content store.

A reference is "<digest>:<offset>:<length>", in bytes of the unpacked blob. One file per message would make an import
wait for the disk thousands of times.
"""

from __future__ import annotations

from functools import lru_cache
from types import TracebackType

from oneshot import store

BLOB_BYTES = 2 * 1024 * 1024


class BadReference(ValueError):
    """A reference that no BodyWriter wrote."""


class BodyWriter:
    """Collects texts and writes them in blobs; a reference is known only when its blob is written.

    `add` returns a ticket; after `flush` (or the end of the `with` block) `ref(ticket)` gives the reference.
    """

    def __init__(self) -> None:
        self._pending = bytearray()
        self._spans: list[tuple[int, int, int]] = []
        self._refs: list[str] = []

    def add(self, text: str | bytes) -> int:
        """Take one text. A blob that is full is written at once."""
        data = text.encode("utf-8", "replace") if isinstance(text, str) else text
        ticket = len(self._refs)
        self._refs.append("")
        self._spans.append((ticket, len(self._pending), len(data)))
        self._pending += data
        if len(self._pending) >= BLOB_BYTES:
            self.flush()
        return ticket

    def flush(self) -> None:
        """Write what is pending."""
        if not self._spans:
            return
        digest = store.put(bytes(self._pending))
        for ticket, offset, length in self._spans:
            self._refs[ticket] = f"{digest}:{offset}:{length}"
        self._pending.clear()
        self._spans.clear()

    def ref(self, ticket: int) -> str:
        """Return where the text of this ticket lies. Raises LookupError before it is written."""
        if not self._refs[ticket]:
            raise LookupError("flush() comes before ref().")
        return self._refs[ticket]

    def __enter__(self) -> BodyWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.flush()


def read(ref: str) -> bytes:
    """Return the bytes behind a reference. Raises BadReference, or store.ContentMissing."""
    digest, _, span = ref.partition(":")
    offset, _, length = span.partition(":")
    if not (offset.isdecimal() and length.isdecimal()):
        raise BadReference(f"{ref!r} is no reference to a text of a trace.")
    return _blob(digest)[int(offset) : int(offset) + int(length)]


def read_text(ref: str) -> str:
    """Return the text behind a reference, with undecodable bytes replaced."""
    return read(ref).decode("utf-8", "replace")


@lru_cache(maxsize=8)
def _blob(digest: str) -> bytes:
    return store.get(digest)
