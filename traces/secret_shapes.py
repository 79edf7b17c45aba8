"""What keys and tokens look like, and where in a text they stand. Standard library only.

Every pattern is linear: a run of letters is read once, whatever a hostile text repeats.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

from .secret_values import MASK


class Finding(NamedTuple):
    """A secret in a text: what it is, and text[start:end]."""

    kind: str
    start: int
    end: int


# What stands before the last - or _ of a prefix, what kind of key it is, and what must follow.
_LONG = r"[A-Za-z0-9_-]{20,}"
_PREFIXES: dict[str, tuple[str, str]] = {
    "sk-": ("api-key", _LONG),
    "csk-": ("cerebras", r"[a-z0-9]{30,}"),
    "sk_": ("stripe", r"(?:live|test|prod)_[A-Za-z0-9]{16,}|[a-f0-9]{40,}"),
    "rk_": ("stripe", r"(?:live|test)_[A-Za-z0-9]{16,}"),
    "whsec_": ("stripe", r"[A-Za-z0-9+/]{24,}"),
    **{f"gh{kind}_": ("github", r"[A-Za-z0-9]{30,}") for kind in "pousr"},
    "github_pat_": ("github", r"[A-Za-z0-9_]{40,}"),
    "dckr_pat_": ("docker", r"[A-Za-z0-9_-]{20,}"),
    **{f"gl{kind}-": ("gitlab", r"[A-Za-z0-9_-]{20,}") for kind in ("pat", "dt", "rt", "ptt", "ft", "agent", "soat")},
    "hf_": ("huggingface", r"[A-Za-z0-9]{30,}"),
    "gsk_": ("groq", r"[A-Za-z0-9]{30,}"),
    "xai-": ("xai", r"[A-Za-z0-9]{40,}"),
    "r8_": ("replicate", r"[A-Za-z0-9]{30,}"),
    "pplx-": ("perplexity", r"[A-Za-z0-9]{30,}"),
    "nvapi-": ("nvidia", r"[A-Za-z0-9_-]{40,}"),
    "tvly-": ("tavily", r"[A-Za-z0-9-]{20,}"),
    "ak-": ("modal", r"[A-Za-z0-9]{22}(?![A-Za-z0-9_-])"),
    "as-": ("modal", r"[A-Za-z0-9]{22}(?![A-Za-z0-9_-])"),
    "fw_": ("fireworks", r"[A-Za-z0-9]{20,}"),
    "npm_": ("npm", r"[A-Za-z0-9]{36,}"),
    "pypi-": ("pypi", r"[A-Za-z0-9_-]{50,}"),
    **{f"xox{kind}-": ("slack", r"[A-Za-z0-9-]{10,}") for kind in "abeprs"},
    "xapp-": ("slack", r"[A-Za-z0-9-]{20,}"),
    "GOCSPX-": ("google", r"[A-Za-z0-9_-]{20,}"),
    "shpat_": ("shopify", r"[a-fA-F0-9]{32}"),
    "lin_api_": ("linear", r"[A-Za-z0-9]{30,}"),
    "ntn_": ("notion", r"[A-Za-z0-9]{40,}"),
    "dop_v1_": ("digitalocean", r"[a-f0-9]{40,}"),
    "sbp_": ("supabase", r"[a-f0-9]{40}"),
    "sntrys_": ("sentry", r"[A-Za-z0-9_+/=-]{40,}"),
    "lsv2_pt_": ("langsmith", r"[a-f0-9_]{32,}"),
    "lsv2_sk_": ("langsmith", r"[a-f0-9_]{32,}"),
    "sess-": ("openai", r"[A-Za-z0-9]{40}"),
    "oneshot_": ("oneshot", r"[a-f0-9]{64}"),
    "AGE-SECRET-KEY-": ("age", r"1[A-Z0-9]{50,}"),
}
_BODIES = {prefix: re.compile(body) for prefix, (_, body) in _PREFIXES.items()}


def _anchors() -> re.Pattern[str]:
    """Return one pattern that stops only at a - or _ that ends a prefix: an order faster than trying each shape."""
    by_length: dict[int, list[str]] = {}
    for prefix in _PREFIXES:
        by_length.setdefault(len(prefix), []).append(re.escape(prefix))
    behind = "|".join(f"(?<={'|'.join(sorted(group))})" for _, group in sorted(by_length.items()))
    return re.compile(rf"[-_](?=[A-Za-z0-9+/_-]{{10}})(?:{behind})")


_ANCHOR = _anchors()
_LONGEST_PREFIX = max(map(len, _PREFIXES))
_WORD = re.compile(r"[A-Za-z]{1,14}|[0-9]{1,4}|v[0-9.]{1,4}")

# It must begin a word, as seen from behind its first letters: a look at what stands before would slow the search.
_JWT = re.compile(
    r"eyJ(?:(?<![A-Za-z0-9_-]eyJ)|(?<=\\[nrtbf]eyJ)|(?<=%[0-9A-Fa-f]{2}eyJ)|(?<=[0-9]meyJ))"
    r"[A-Za-z0-9_-]{10,8000}+\.[A-Za-z0-9_-]{10,}+(?:\.[A-Za-z0-9_-]{4,}+)?"
)
# Shapes that begin with a rare literal: the search for one is as fast as memory.
_LITERALS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("aws", re.compile(r"AKIA[0-9A-Z]{16}(?![0-9A-Za-z])")),
    ("aws", re.compile(r"ASIA[0-9A-Z]{16}(?![0-9A-Za-z])")),
    ("google", re.compile(r"AIza[0-9A-Za-z_-]{35}")),
    ("google", re.compile(r"ya29\.[0-9A-Za-z_-]{20,}")),
    ("token", _JWT),
    ("sendgrid", re.compile(r"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}")),
    ("vault", re.compile(r"hvs\.[A-Za-z0-9_-]{24,}")),
    ("slack", re.compile(r"hooks\.slack\.com/services/[A-Za-z0-9/]{20,}")),
)
_TELEGRAM = re.compile(r":AA[A-Za-z0-9_-]{32,34}(?![A-Za-z0-9_-])")
_DIGITS_BEFORE = re.compile(r"[0-9]{8,10}\Z")

# A scheme, a user, a colon and a password. Quotes and backslashes end it, or it would reach over two JSON strings.
_USER_INFO = re.compile(r"://([^\s/@:\"'\\<>`]{0,256}:[^\s/@\"'\\<>`]{1,512}|[A-Za-z0-9_.-]{20,256})@")

# What stands for a password in examples and in the settings of a developer's database.
_PLACEHOLDERS = {
    "password",
    "passwd",
    "postgres",
    "postgresql",
    "mysql",
    "changeme",
    "example",
    "guest",
    "xxx",
    "xxxx",
    "***",
}
_VARIABLE = re.compile(r"\$|%[sd(]|\{|\[")

_ASSIGNED = re.compile(
    r"[:=]>?[ \t]{0,4}(?:\\{0,3}[\"'])?([A-Za-z0-9_\-./+~%]{12,2000}+={0,2})(?=\\{0,3}[\"'&;,)\]}\s<]|\\[nrt]|\Z)"
)
_ASSIGNED_NAME = re.compile(
    r"(?:api[_-]?key|access[_-]?key|account[_-]?key|secret[_-]?key|subscription[_-]?key|secret|token|passw(?:or)?d"
    r"|_pwd|_pat|private[_-]?key|authorization|_auth|(?-i:_KEY))\\{0,3}[\"']?[ \t]{0,4}\Z",
    re.IGNORECASE,
)
_SCHEMED = tuple(
    re.compile(rf"{word}[ \t]{{1,4}}([A-Za-z0-9_\-./+~]{{12,4000}}+={{0,2}})")
    for word in ("earer", "asic", "oken", "EARER", "ASIC")
)
_SCHEME_BEFORE = re.compile(r"(?:^|[^A-Za-z])(?:B|b|T|t)\Z")
_HEADER_BEFORE = re.compile(
    r"authorization\\{0,3}[\"']?[ \t]{0,4}[:=,][ \t]{0,4}\\{0,3}[\"']?(?:B|b|T|t)\Z", re.IGNORECASE
)

_KEY_BLOCK = re.compile(r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY(?: BLOCK)?-----")
_KEY_LINE = re.compile(r"[A-Za-z0-9+/=:,. -]{16,}")
_NO_KEY = re.compile(r"[^A-Za-z0-9+/=:,.\s\\-]")
_LINE_END = re.compile(r"(\\{1,4}[nrt]|[\r\n])")
MAX_KEY_BLOCK = 16_000


def find_shapes(text: str) -> Iterator[Finding]:
    """Yield what looks like a secret, in no order and with overlaps."""
    yield from _prefixed(text)
    yield from _literal(text)
    yield from _assigned(text)
    yield from _urls(text)
    yield from _key_blocks(text)


def _prefixed(text: str) -> Iterator[Finding]:
    position = 0
    # Up to here a run of words is known to hold no key of the one kind whose body may hold words.
    only_words = 0
    while match := _ANCHOR.search(text, position):
        position = match.end()
        start, prefix = _prefix_before(text, position)
        if start < 0 or (prefix == "sk-" and position < only_words):
            continue
        body = _BODIES[prefix].match(text, position)
        if body and prefix == "sk-" and _is_words(body[0]):
            only_words = body.end()
        elif body:
            yield Finding(_PREFIXES[prefix][0], start, body.end())
            position = body.end()


def _prefix_before(text: str, end: int) -> tuple[int, str]:
    """Return where the longest prefix that ends at `end` begins, and which it is; -1 when a letter stands before."""
    for length in range(min(_LONGEST_PREFIX, end), 2, -1):
        prefix = text[end - length : end]
        if prefix in _PREFIXES and _begins(text, end - length):
            return end - length, prefix
    return -1, ""


def _begins(text: str, start: int) -> bool:
    """Return whether a word begins here: at no letter or digit, or after an escape (\\n, \\u0022, %3D, a colour)."""
    if start == 0 or not text[start - 1].isalnum() or not text[start - 1].isascii():
        return True
    before = text[max(0, start - 6) : start]
    return bool(_ESCAPE.search(before))


_ESCAPE = re.compile(r"(?:\\[nrtbfv]|\\u[0-9a-fA-F]{4}|\\x[0-9a-fA-F]{2}|%[0-9A-Fa-f]{2}|[0-9]m)\Z")


def _is_words(body: str) -> bool:
    """Return whether a body is made of words and numbers, as a class name or a branch is, and not of random letters."""
    rest = [part for part in re.split(r"[-_]", body) if part and not _WORD.fullmatch(part)]
    return sum(map(len, rest)) < 10


def _literal(text: str) -> Iterator[Finding]:
    for kind, pattern in _LITERALS:
        for match in pattern.finditer(text):
            if _begins(text, match.start()):
                yield Finding(kind, match.start(), match.end())
    for match in _TELEGRAM.finditer(text):
        if digits := _DIGITS_BEFORE.search(text, max(0, match.start() - 10), match.start()):
            yield Finding("telegram", digits.start(), match.end())


def _assigned(text: str) -> Iterator[Finding]:
    """Find what is given to a name that says secret, when it looks random, and what follows Bearer, Basic and Token."""
    for match in _ASSIGNED.finditer(text):
        if _ASSIGNED_NAME.search(text, max(0, match.start() - 40), match.start()) and _looks_random(match[1]):
            yield Finding("assigned", *match.span(1))
    for match in chain.from_iterable(pattern.finditer(text) for pattern in _SCHEMED):
        start = match.start()
        if not _SCHEME_BEFORE.search(text, max(0, start - 2), start):
            continue
        named = _HEADER_BEFORE.search(text, max(0, start - 40), start)
        if named or _looks_random(match[1]):
            yield Finding("authorization", *match.span(1))


def _looks_random(value: str) -> bool:
    """Return whether a value has letters and digits mixed as keys have, and is no path, version or call."""
    digits = sum(character.isdigit() for character in value)
    letters = sum(character.isalpha() for character in value)
    mixed = value.upper() != value and value.lower() != value
    if digits < (1 if mixed and len(value) >= 30 else 2) or letters < 2 or len(set(value)) < 8:
        return False
    if value.startswith(("/", "./", "../", "~")) or "://" in value or "//" in value:
        return False
    longest = max(map(len, re.split(r"[-_./+~=%]", value)))
    return longest >= 12 or (digits >= 5 and len(value) >= 20)


def _urls(text: str) -> Iterator[Finding]:
    if "@" in text:
        for match in _USER_INFO.finditer(text):
            password = match[1].rpartition(":")[2].lower()
            if match[1] != MASK and password not in _PLACEHOLDERS and not _VARIABLE.match(password):
                yield Finding("url", *match.span(1))


def _key_blocks(text: str) -> Iterator[Finding]:
    """Find the lines of private keys, one by one; their BEGIN and END lines stay and say what was there."""
    start = 0
    while match := _KEY_BLOCK.search(text, start):
        start = match.end()
        end = text.find("-----END", start, start + MAX_KEY_BLOCK)
        if end < 0:
            stop = _NO_KEY.search(text, start, start + MAX_KEY_BLOCK)
            end = stop.start() if stop else min(len(text), start + MAX_KEY_BLOCK)
        # Line ends may be written as \\n in JSON, once or twice escaped.
        for piece in _LINE_END.split(text[start:end]):
            body = _KEY_LINE.search(piece)
            if body and len(body[0].strip(" -")) >= 16:
                # In a diff the line's own mark stays.
                mark = body[0][0] in "+- "
                yield Finding("private-key", start + body.start() + mark, start + body.end())
            start += len(piece)
