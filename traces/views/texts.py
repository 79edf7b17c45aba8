"""Turns texts of a trace into bounded HTML: whatever an agent printed, a page has a size that was decided before.

Escaping can make a text forty times as long, so what is bounded is the HTML and not the text.
"""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import dataclass

from django.utils.safestring import SafeString, mark_safe

from oneshot import diffs, store
from oneshot.templatetags.prose import prose
from oneshot.visible import visible_html, without_colours
from traces import bodies

# Of one text in a window of steps, and of one text that was asked for by itself.
INLINE_BYTES = 8_192
INLINE_HTML = 24_000
INLINE_DIFF_LINES = 80
WHOLE_BYTES = 200_000
WHOLE_HTML = 800_000
# Of all texts in one window of steps.
WINDOW_HTML = 560_000


@dataclass(frozen=True, slots=True)
class Piece:
    """A text as HTML. `bytes` is the length of the whole text, `cut` whether only its beginning is shown."""

    html: SafeString
    bytes: int
    cut: bool
    form: str = "text"

    def __bool__(self) -> bool:
        return bool(self.html) or self.cut


EMPTY = Piece(mark_safe(""), 0, False)


class Budget:
    """What the HTML of one answer may still have. Texts beyond it are left to be asked for."""

    def __init__(self, left: int = WINDOW_HTML, most: int = INLINE_HTML) -> None:
        self.left = left
        self.most = most

    @property
    def next(self) -> int:
        """How long the next piece may be."""
        return max(0, min(self.most, self.left))

    def spend(self, piece: Piece) -> Piece:
        self.left -= _size(piece.html)
        return piece


def beginning(ref: str, most: int) -> tuple[str, int]:
    """Return at most `most` bytes of a stored text, and the length of all of it. A lost text says so."""
    place, _, length = ref.rpartition(":")
    if not length.isdecimal():
        raise bodies.BadReference(f"{ref!r} is no reference to a text of a trace.")
    total = int(length)
    try:
        data = bodies.read(f"{place}:{min(total, most)}")
    except store.ContentMissing as error:
        return str(error), total
    # A cut inside a character leaves at most three bytes that are none.
    return data.decode("utf-8", "replace").rstrip("\ufffd") if total > most else data.decode("utf-8", "replace"), total


def text_of(ref: str, preview: str, most: int) -> tuple[str, int]:
    """Return the beginning of a text that is stored, or is its preview, and its length in bytes."""
    return beginning(ref, most) if ref else (preview, len(preview.encode("utf-8", "replace")))


def as_text(text: str, total: int, budget: Budget) -> Piece:
    """Show text as it is: escaped, with invisible characters written out."""
    return budget.spend(_bounded(text.replace("\r\n", "\n"), total, budget.next, visible_html))


def as_output(text: str, total: int, budget: Budget) -> Piece:
    """Show what a program printed: without the colours and cursor moves of terminals."""
    return budget.spend(_bounded(text, total, budget.next, _output))


def as_prose(text: str, total: int, budget: Budget) -> Piece:
    """Show Markdown; a text that would become too long is shown as it is."""
    shown = prose(text)
    if _size(shown) <= budget.next:
        return budget.spend(Piece(shown, total, len(text.encode("utf-8", "replace")) < total, "prose"))
    return as_text(text, total, budget)


def as_diff(text: str, total: int, budget: Budget, lines: int = 0) -> tuple[diffs.Diff | None, Piece]:
    """Return the diff for the page's renderer, or None and the text when it is no diff. `lines` bounds it; 0 does not.

    A diff that does not fit is (None, a piece that is cut to nothing).
    """
    kept = text
    if lines:
        parts = text.split("\n", lines)
        kept = "\n".join(parts[:lines])
    whole = len(kept.encode("utf-8", "replace")) >= total
    diff = diffs.render(kept.encode("utf-8", "replace"))
    if diff.problem or not diff.files:
        return None, as_text(kept, total, budget)
    size = sum(_size(file.rows) + 400 for file in diff.files)
    if size > max(budget.next, min(60_000, budget.left)):
        return None, Piece(mark_safe(""), total, True, "diff")
    budget.left -= size
    return diff, Piece(mark_safe(""), total, not whole, "diff")


def _size(text: str) -> int:
    """Return how long a text is when it is sent: some characters are three bytes."""
    return len(text.encode("utf-8", "replace"))


def _output(text: str) -> SafeString:
    return mark_safe(html.escape(without_colours(text)))  # noqa: S308 - escaped right here


def _bounded(text: str, total: int, most: int, shown: Callable[[str], SafeString]) -> Piece:
    kept, result = text, shown(text)
    while kept and (size := _size(result)) > most:
        kept = kept[: min(len(kept) - 1, int(len(kept) * most / size))]
        result = shown(kept)
    cut = len(kept) < len(text) or len(text.encode("utf-8", "replace")) < total
    return Piece(result, total, cut)
