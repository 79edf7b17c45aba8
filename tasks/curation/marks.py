"""Instructions as HTML with the findings marked where they stand."""

from __future__ import annotations

import re
from collections.abc import Iterable

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from oneshot.templatetags.prose import prose
from oneshot.visible import visible
from tasks.models import Finding

TAG = re.compile(r"(<[^>]*>)")
LEAST = 3


def marked(text: str, findings: Iterable[Finding]) -> SafeString:
    """Return Markdown as HTML in which what findings are about stands in <mark id="finding-…">.

    A finding that formatting divides, or that spans paragraphs, is marked where its first piece stands.
    """
    pieces = TAG.split(prose(text))
    for finding in findings:
        place = finding.place
        if place.get("part") == "instructions":
            excerpt = text[place.get("start", 0) : place.get("end", 0)]
            _mark(pieces, excerpt, f"finding-{finding.fingerprint}")
    return mark_safe("".join(pieces))  # noqa: S308 - prose escapes; what is added here holds only an own id


def _mark(pieces: list[str], excerpt: str, name: str) -> None:
    parts = [part.strip() for part in re.split(r"[\n`*_\[\]]+", excerpt)]
    for part in sorted((part for part in parts if len(part) >= LEAST), key=len, reverse=True):
        wanted = str(escape(visible(part)))
        for at in range(0, len(pieces), 2):  # every other piece is a tag
            found = pieces[at].find(wanted)
            if found >= 0 and "<mark" not in pieces[at]:
                end = found + len(wanted)
                pieces[at : at + 1] = [
                    pieces[at][:found],
                    f'<mark id="{name}">',
                    pieces[at][found:end],
                    "</mark>",
                    pieces[at][end:],
                ]
                return
