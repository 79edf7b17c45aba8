"""Slugs for addresses."""

import re


def slugify(text):
    """Return `text` in lower case, with one hyphen between words and nothing else but letters and digits."""
    return "-".join(re.findall(r"[a-z0-9]+", text.lower()))
