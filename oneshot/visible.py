"""Makes hostile text safe to look at: what would be invisible, reorder a line or ring a bell is shown as its name.

Repositories, agents and tests write these texts; a page must show what is really in them.
"""

import html
import re

from django.utils.safestring import SafeString, mark_safe

# Unicode's invisible and direction-changing characters: reviewers would read another program than the computer.
_HIDDEN_RANGES = (
    (0x00AD, 0x00AD),
    (0x034F, 0x034F),
    (0x061C, 0x061C),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x200B, 0x200F),
    (0x2028, 0x202E),
    (0x2060, 0x206F),
    (0x3164, 0x3164),
    (0xD800, 0xDFFF),
    (0xFE00, 0xFE0E),
    (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0),
    (0xFFF0, 0xFFFB),
    (0x1BCA0, 0x1BCA3),
    (0x1D173, 0x1D17A),
    (0xE0000, 0xE0FFF),
)
_HIDDEN = "".join(f"{chr(first)}-{chr(last)}" for first, last in _HIDDEN_RANGES)
# Tab and newline are laid out by the page itself.
_CONTROL = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f{_HIDDEN}]")
# Colours and cursor moves of terminals; a log shows the words without them.
_TERMINAL = re.compile(r"\x1b(?:\[[0-?]{0,64}[ -/]{0,8}[@-~]|\][^\x07\x1b]{0,512}(?:\x07|\x1b\\)|[@-Z\\^_])")


def name_of(character: str) -> str:
    """Return how an invisible character is written: ␛ for the old control codes, else its code point."""
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else f"\u2039U+{code:04X}\u203a"


def visible(text: str) -> str:
    """Return `text` with every invisible character written out. Tabs and newlines stay."""
    return _CONTROL.sub(lambda match: name_of(match[0]), text)


def visible_html(text: str) -> SafeString:
    """Return `text` escaped for HTML, invisible characters marked as `.ctl` with their code point as title."""
    escaped = html.escape(text)
    if _CONTROL.search(escaped):
        escaped = _CONTROL.sub(_marked, escaped)
    return mark_safe(escaped)  # noqa: S308 - escaped above


def _marked(match: re.Match[str]) -> str:
    return f'<span class="ctl" title="U+{ord(match[0]):04X}">{name_of(match[0])}</span>'


def without_colours(text: str) -> str:
    """Return a terminal's output as words: escape sequences dropped, a carriage return's earlier text replaced."""
    text = _TERMINAL.sub("", text) if "\x1b" in text else text
    if "\r" in text:
        text = "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    return visible(text)
