"""Reads under which licence a repository stands, from the words of its licence file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

LICENCE_FILE = re.compile(r"(?:^|/)(?:LICEN[CS]E|COPYING|UNLICENSE)(?:[-._][\w.-]*)?\Z", re.IGNORECASE)
MOST_BYTES = 200_000

# Name → words that stand in its text; the first that fits is taken, so the stricter stand first.
KNOWN: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("AGPL-3.0", ("gnu affero general public license",)),
    ("LGPL", ("gnu lesser general public license",)),
    ("GPL", ("gnu general public license",)),
    ("MPL-2.0", ("mozilla public license",)),
    ("Apache-2.0", ("apache license", "version 2.0")),
    ("EPL-2.0", ("eclipse public license",)),
    ("BSD-3-Clause", ("redistribution and use in source and binary forms", "neither the name")),
    ("BSD-2-Clause", ("redistribution and use in source and binary forms",)),
    ("ISC", ("permission to use, copy, modify, and/or distribute this software for any purpose",)),
    ("MIT", ("permission is hereby granted, free of charge, to any person obtaining a copy",)),
    ("Unlicense", ("this is free and unencumbered software",)),
    ("CC0-1.0", ("creative commons", "cc0 1.0")),
)


def licence_of(paths: Iterable[str], read: Callable[[str], bytes]) -> str:
    """Return the licence of a repository: a name of KNOWN, "other" for words nobody knows, "" for no file.

    The file nearest to the top decides.
    """
    files = sorted((path for path in paths if LICENCE_FILE.search(path)), key=lambda path: (path.count("/"), path))
    if not files or files[0].count("/") > 1:
        return ""
    text = re.sub(r"\s+", " ", read(files[0])[:MOST_BYTES].decode("utf-8", "replace")).lower()
    return next((name for name, words in KNOWN if all(word in text for word in words)), "other")
