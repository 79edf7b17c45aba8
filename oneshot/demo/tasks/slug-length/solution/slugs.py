"""Slugs for addresses."""

import re


def slugify(text, *, longest=None):
    """Return `text` in lower case, with one hyphen between words and nothing else but letters and digits.

    With `longest`, at most that many characters, ending with a whole word unless the first word alone is longer.
    """
    if longest is not None and longest < 1:
        raise ValueError(f"longest={longest}: a slug has at least one character.")
    words = re.findall(r"[a-z0-9]+", text.lower())
    slug = "-".join(words)
    while longest is not None and len(slug) > longest and len(words) > 1:
        words.pop()
        slug = "-".join(words)
    return slug[:longest]
