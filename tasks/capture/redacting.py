"""Takes secrets out of the change that a capture keeps, so that it still applies."""

from __future__ import annotations

from tasks.patches import parse
from traces.redaction import MASK, find_secrets


def without_secrets(diff: bytes) -> bytes:
    """Return the diff with the secrets of the lines that it adds replaced by [redacted].

    What it takes away or only shows must be as it is in the base, and is left; so are binary files.
    """
    if not find_secrets(_text(diff)):
        return diff
    parts: list[bytes] = []
    position = 0
    for section in parse(diff):
        if section.binary:
            continue
        parts += (diff[position : section.start], _cleaned(diff[section.start : section.end]))
        position = section.end
    return b"".join([*parts, diff[position:]])


def _cleaned(section: bytes) -> bytes:
    text = _text(section)
    hunks = text.find("\n@@") + 1
    parts: list[str] = []
    position = 0
    for _, start, end in find_secrets(text):
        line = text.rfind("\n", 0, start + 1) + 1
        if not hunks or line <= hunks or text[line] != "+":
            continue
        # The mark of an added line may look like the first letter of a secret.
        start = max(start, line + 1)
        parts += (text[position:start], MASK)
        position = end
    return "".join([*parts, text[position:]]).encode("utf-8", "surrogateescape")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
