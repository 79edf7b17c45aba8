"""Makes texts fit to be kept: without secrets, without characters that a database refuses; and lays them down."""

from __future__ import annotations

from collections.abc import Sequence

from traces import bodies
from traces.redaction import redact

# So much text is looked through at once; looking through many small ones singly costs several times as much.
_TOGETHER = 128 * 1024
# Several together must not look like one: no secret reaches over a line's end.
_BETWEEN = "\n\n"
PREVIEW = 500


def clean(text: str, limit: int | None = None) -> str:
    """Return text that UTF-8 and PostgreSQL can hold: NUL and lone surrogates are replaced. Cut to `limit`."""
    if limit is not None and len(text) > limit:
        text = text[: limit - 1] + "…"
    if "\x00" in text:
        text = text.replace("\x00", "\ufffd")
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-8", "replace").decode()
    return text


class Redactor:
    """Redacts many texts; texts are taken with `add` and had back, by their number, after `run`."""

    def __init__(self, extra: Sequence[str] = ()) -> None:
        self._extra = tuple(extra)
        self._texts: list[str] = []
        # Every request of a session brings the same tools.
        self._numbers: dict[str, int] = {}

    def add(self, text: str) -> int:
        """Take a text; return its number, which equal texts share."""
        number = self._numbers.get(text)
        if number is None:
            number = self._numbers[text] = len(self._texts)
            self._texts.append(clean(text))
        return number

    def run(self) -> None:
        """Redact what has been taken."""
        group: list[int] = []
        size = 0
        for number, text in enumerate(self._texts):
            group.append(number)
            size += len(text)
            if size >= _TOGETHER:
                self._redact(group)
                group, size = [], 0
        self._redact(group)

    def _redact(self, group: list[int]) -> None:
        together = _BETWEEN.join(self._texts[number] for number in group)
        if redact(together, extra=self._extra) == together:
            return
        if len(group) == 1:
            self._texts[group[0]] = redact(together, extra=self._extra)
            return
        half = len(group) // 2
        self._redact(group[:half])
        self._redact(group[half:])

    def __getitem__(self, number: int) -> str:
        return self._texts[number]


class Laid:
    """A text's preview and, when that is not all of it, where the whole lies."""

    __slots__ = ("_ticket", "preview", "size", "writer")

    def __init__(self, writer: bodies.BodyWriter, text: str, preview: str | None = None) -> None:
        self.writer = writer
        self.preview = clean(text if preview is None else preview, PREVIEW)
        self.size = len(text.encode())
        self._ticket = None if text == self.preview else writer.add(text)

    @property
    def ref(self) -> str:
        """Where the whole lies; "" when the preview is the whole. Known once the writer is flushed."""
        return "" if self._ticket is None else self.writer.ref(self._ticket)
