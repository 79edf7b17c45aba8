"""Takes secrets out of text before it is kept: known values in all their forms, key shapes, assignments, URL passwords.

Standard library only: the gateway imports it in its own environment. No match reaches over a line end, so that a
redacted diff still has its lines. A value that is known is found anywhere; one that is not must look like a key.
"""

from __future__ import annotations

import base64
import html
import json
import os
import re
import time
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, quote_plus

MASK = "[redacted]"
LEAST_LENGTH = 8

SECRET_NAME = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|PRIVATE)", re.IGNORECASE)
# Names that only look so: counts, and settings of programs.
PLAIN_NAME = re.compile(
    r"(TOKENIZERS|TOKENS$|TOKEN_LIMIT|KEYBOARD|KEYMAP|KEYRING|PUBLIC_KEY|KEY_TYPE|ASKPASS)", re.IGNORECASE
)
# Words that stand where no secret was set; as secrets they would black out ordinary text.
HARMLESS = {
    *("", "true", "false", "none", "null", "disabled", "enabled", "undefined", "required", "optional", "default"),
    *("password", "passw0rd", "postgres", "postgresql", "changeme", "change-me", "change_me", "username", "localhost"),
    *("anonymous", "placeholder", "dummy-key", "not-needed", "no-key-required", "example.com", MASK),
}

# Auth files


AUTH_FILES = (
    *("$CODEX_HOME/auth.json", ".codex/auth.json"),
    *("$CLAUDE_CONFIG_DIR/.credentials.json", ".claude/.credentials.json", ".claude.json"),
    *(".netrc", ".git-credentials", ".config/git/credentials", ".config/gh/hosts.yml", ".config/glab-cli/config.yml"),
    *(".npmrc", ".pypirc", ".docker/config.json", ".aws/credentials", ".modal.toml", ".kube/config"),
    *(".cache/huggingface/token", ".huggingface/token", ".gemini/oauth_creds.json"),
    *(".local/share/opencode/auth.json", "$ONESHOT_DATA_DIR/.env", "$ONESHOT_DATA_DIR/secret_key"),
)
MAX_AUTH_BYTES = 2_000_000
MOST_SECRETS = 400
FRESH_S = 2.0
_FILE_NAME = re.compile(r"(key|token|secret|passw|credential|private|auth$|^access$|^refresh$)", re.IGNORECASE)
_FILE_LINE = re.compile(r"([\w./:@-]{1,200}?)\"?(?:[ \t]*[=:][ \t]*|[ \t]+)[\"']?([^\s\"',]{8,4000})")
_FILE_URL = re.compile(r"://([^\s/@:]*):([^\s/@]+)@")


def auth_file_secrets(home: Path | None = None) -> frozenset[str]:
    """Return the secret values of the auth files below `home` (None: the user's), as far as they can be read.

    A value stays known when its file changes: sessions that used it are still to be read.
    """
    return _secrets_of_files(str(home or Path.home()), int(time.monotonic() / FRESH_S))


def dotenv_secrets(path: Path) -> frozenset[str]:
    """Return the values of a .env or credentials file whose names say that they are secret; none if unreadable."""
    try:
        facts = path.stat()
    except (OSError, ValueError):
        return frozenset()
    return _secrets_of_file(str(path), facts.st_mtime_ns, facts.st_size)


_seen_in_files: dict[str, None] = {}


@lru_cache(maxsize=4)
def _secrets_of_files(home: str, moment: int) -> frozenset[str]:
    for name in AUTH_FILES:
        path = Path(os.path.expandvars(name))
        if str(path).startswith("$"):
            continue
        for value in dotenv_secrets(path if path.is_absolute() or name.startswith("$") else Path(home) / path):
            _seen_in_files[value] = None
    while len(_seen_in_files) > MOST_SECRETS:
        _seen_in_files.pop(next(iter(_seen_in_files)))
    return frozenset(_seen_in_files)


@lru_cache(maxsize=64)
def _secrets_of_file(path: str, mtime_ns: int, size: int) -> frozenset[str]:
    if size > MAX_AUTH_BYTES or not Path(path).is_file():
        return frozenset()
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    try:
        values = list(_secrets_in_document(json.loads(text), ""))
    except (ValueError, RecursionError):
        values = [value for name, value in _FILE_LINE.findall(text) if _FILE_NAME.search(name)]
        values += [found for user, password in _FILE_URL.findall(text) for found in (user, password)]
        words = text.split()
        if len(words) == 1:  # a file that holds one token and nothing else
            values.append(words[0])
        # .netrc: machine host login user password word
        values += [value for name, value in pairwise(words) if name == "password"]
    return frozenset(value for value in values if _is_secret_value(value) and len(value) >= 12)


def _secrets_in_document(document: Any, name: str) -> Iterator[str]:
    if isinstance(document, dict):
        for key, value in document.items():
            yield from _secrets_in_document(value, str(key))
    elif isinstance(document, list):
        for value in document:
            yield from _secrets_in_document(value, name)
    elif isinstance(document, str) and _FILE_NAME.search(name):
        yield document


# Known values


def known_secrets() -> frozenset[str]:
    """Return the values that are secret here: those of environment variables whose names say so, passwords in the
    URLs of others, what *_FILE variables point to, and those of the user's auth files."""
    return _secrets_of(tuple(sorted(os.environ.items()))) | auth_file_secrets()


@lru_cache(maxsize=4)
def _secrets_of(environment: tuple[tuple[str, str], ...]) -> frozenset[str]:
    found: set[str] = set()
    for name, value in environment:
        found.update(password for _, password in _FILE_URL.findall(value))
        if not SECRET_NAME.search(name) or PLAIN_NAME.search(name):
            continue
        if name.upper().endswith("_FILE"):
            found.update(_only_line(value))
        # a socket's or a file's path names a place, not a secret
        elif not value.startswith("/"):
            found.add(value)
    return frozenset(value for value in found if _is_secret_value(value))


def _only_line(path: str) -> list[str]:
    """Return what a file holds that an environment variable names, when it is a secret's size."""
    try:
        if Path(path).stat().st_size > 20_000 or not Path(path).is_file():
            return []
        return [Path(path).read_text(encoding="utf-8", errors="replace").strip()]
    except (OSError, ValueError):
        return []


def _is_secret_value(value: str) -> bool:
    if len(value) < LEAST_LENGTH or value.strip().lower() in HARMLESS:
        return False
    # A short number is a limit or a port range somewhere, never worth blacking out all its likes.
    return not (value.isdecimal() and len(value) < 12)


@lru_cache(maxsize=32)
def _forms(secrets: frozenset[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the texts to look for, longest first: the values as they may be written, and pieces of their base64."""
    written: set[str] = set()
    encoded: set[str] = set()
    for secret in secrets:
        # The lines of a key block are found one by one, so that no match reaches over a line end.
        lines = [line.strip() for line in secret.splitlines()] if len(secret.splitlines()) > 1 else [secret]
        for value in lines:
            if len(value) < LEAST_LENGTH or value.startswith("-----"):
                continue
            written.update(_written(value))
            encoded.update(_base64_pieces(value))
    by_length = {"key": len, "reverse": True}
    return tuple(sorted(written, **by_length)), tuple(sorted(encoded - written, **by_length))  # type: ignore[call-overload]


def _written(value: str) -> set[str]:
    once = {json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    twice = {json.dumps(form)[1:-1] for form in once}
    percent = {quote(value, safe=""), quote(value), quote_plus(value)}
    small = {re.sub(r"%[0-9A-F]{2}", lambda match: match[0].lower(), form) for form in percent}
    return {value, *once, *twice, *percent, *small, html.escape(value), repr(value)[1:-1]}


def _base64_pieces(value: str) -> set[str]:
    """Return what the base64 of any text with `value` in it contains, for each of the three ways it can begin."""
    data = value.encode("utf-8", "replace")
    pieces = set()
    for offset in range(3):
        whole = base64.b64encode(bytes(offset) + data).decode()
        # The first characters hold bits of what stands before, the last ones of what follows.
        start = (offset * 8 + 5) // 6
        end = (offset + len(data)) * 8 // 6
        piece = whole[start:end]
        if len(piece) >= 10:
            pieces |= {piece, piece.translate(_URL_SAFE)}
    return pieces


_URL_SAFE = str.maketrans("+/", "-_")
_BASE64_AFTER = re.compile(r"[A-Za-z0-9+/_-]{0,4000}={0,2}")
_BASE64_BEFORE = re.compile(r"[A-Za-z0-9+/_-]{0,400}\Z")

# Shapes of keys


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
    "AGE-SECRET-KEY-": ("age", r"1[A-Z0-9]{50,}"),
}
_BODIES = {prefix: re.compile(body) for prefix, (_, body) in _PREFIXES.items()}


def _anchors() -> re.Pattern[str]:
    """Return one pattern that stops only at a - or _ that ends a prefix: an order faster than trying each shape."""
    by_length: dict[int, list[str]] = {}
    for prefix in _PREFIXES:
        by_length.setdefault(len(prefix), []).append(re.escape(prefix))
    behind = "|".join(f"(?<={'|'.join(sorted(group))})" for _, group in sorted(by_length.items()))
    return re.compile(rf"[-_](?:{behind})(?=[A-Za-z0-9+/_-]{{10}})")


_ANCHOR = _anchors()
_LONGEST_PREFIX = max(map(len, _PREFIXES))
_WORD = re.compile(r"[A-Za-z]{1,14}|[0-9]{1,4}|v[0-9.]{1,4}")

# Shapes that begin with a rare literal: the search for one is as fast as memory.
_LITERALS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("aws", re.compile(r"AKIA[0-9A-Z]{16}(?![0-9A-Za-z])")),
    ("aws", re.compile(r"ASIA[0-9A-Z]{16}(?![0-9A-Za-z])")),
    ("google", re.compile(r"AIza[0-9A-Za-z_-]{35}")),
    ("google", re.compile(r"ya29\.[0-9A-Za-z_-]{20,}")),
    ("token", re.compile(r"eyJ[A-Za-z0-9_-]{10,4000}\.[A-Za-z0-9_-]{10,}(?:\.[A-Za-z0-9_-]{4,})?")),
    ("sendgrid", re.compile(r"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}")),
    ("vault", re.compile(r"hvs\.[A-Za-z0-9_-]{24,}")),
    ("slack", re.compile(r"hooks\.slack\.com/services/[A-Za-z0-9/]{20,}")),
)
_TELEGRAM = re.compile(r":AA[A-Za-z0-9_-]{32,34}(?![A-Za-z0-9_-])")
_DIGITS_BEFORE = re.compile(r"[0-9]{8,10}\Z")

# A scheme, a user, a colon and a password. Quotes and backslashes end it, or it would reach over two JSON strings.
_USER_INFO = re.compile(r"://([^\s/@:\"'\\<>`]{0,256}:[^\s/@\"'\\<>`]{1,512}|[A-Za-z0-9_.-]{20,256})@")

_ASSIGNED = re.compile(
    r"[:=]>?[ \t]{0,4}(?:\\{0,3}[\"'])?([A-Za-z0-9_\-./+~=%]{12,2000})(?=\\{0,3}[\"'&;,)\]}\s<]|\\[nrt]|\Z)"
)
_ASSIGNED_NAME = re.compile(
    r"(?:api[_-]?key|access[_-]?key|account[_-]?key|secret[_-]?key|subscription[_-]?key|secret|token|passw(?:or)?d"
    r"|_pwd|_pat|private[_-]?key|authorization|_auth|(?-i:_KEY))\\{0,3}[\"']?[ \t]{0,4}\Z",
    re.IGNORECASE,
)
_SCHEMED = tuple(
    re.compile(rf"{word}[ \t]{{1,4}}([A-Za-z0-9_\-./+~=]{{12,4000}})")
    for word in ("earer", "asic", "oken", "EARER", "ASIC")
)
_SCHEME_BEFORE = re.compile(r"(?:^|[^A-Za-z])(?:B|b|T|t)\Z")
_HEADER_BEFORE = re.compile(
    r"authorization\\{0,3}[\"']?[ \t]{0,4}[:=,][ \t]{0,4}\\{0,3}[\"']?(?:B|b|T|t)\Z", re.IGNORECASE
)

_KEY_BLOCK = re.compile(r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY(?: BLOCK)?-----")
_KEY_LINE = re.compile(r"[A-Za-z0-9+/=:,. -]{16,}")
MAX_KEY_BLOCK = 16_000

# Kept of a request and its answer; nothing else that a header says is needed to read a trace.
HEADERS = frozenset(
    {
        *("accept", "accept-encoding", "cache-control", "content-encoding", "content-length", "content-type", "date"),
        *(
            "host",
            "retry-after",
            "server",
            "transfer-encoding",
            "upgrade",
            "user-agent",
            "via",
            "x-app",
            "x-robots-tag",
        ),
        *("anthropic-beta", "anthropic-dangerous-direct-browser-access", "anthropic-version", "x-should-retry"),
        *("openai-beta", "openai-model", "openai-processing-ms", "openai-version", "originator", "version"),
        *(
            "session-id",
            "session_id",
            "thread-id",
            "conversation_id",
            "request-id",
            "x-request-id",
            "x-client-request-id",
        ),
        *(
            "x-codex-turn-metadata",
            "x-codex-window-id",
            "x-codex-beta-features",
            "x-codex-turn-state",
            "x-oai-request-id",
        ),
        *(
            "x-claude-code-session-id",
            "x-claude-code-agent-id",
            "x-openai-subagent",
            "cf-ray",
            "x-envoy-upstream-service-time",
        ),
    }
)
_HEADER_FAMILIES = ("x-stainless-", "x-ratelimit-", "anthropic-ratelimit-", "x-codex-", "sec-websocket-protocol-")


def safe_headers(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the headers that may be kept, names in lower case, values redacted; credentials and cookies are not."""
    kept = []
    for name, value in pairs:
        lower = name.lower()
        if lower in HEADERS or lower.startswith(_HEADER_FAMILIES):
            kept.append((lower, redact(value)))
    return kept


def redact(text: str, *, extra: Iterable[str] = ()) -> str:
    """Return `text` with every secret in it replaced by [redacted]; a text without one is returned as it is.

    `extra` are further exact values, at least LEAST_LENGTH characters long. JSON stays JSON, a diff keeps its lines.
    """
    findings = find_secrets(text, extra=extra)
    if not findings:
        return text
    parts: list[str] = []
    position = 0
    for _, start, end in findings:
        parts += (text[position:start], MASK)
        position = end
    parts.append(text[position:])
    return "".join(parts)


def find_secrets(text: str, *, extra: Iterable[str] = ()) -> list[Finding]:
    """Return the secrets in `text` in order, without overlaps. `extra` are further exact values."""
    if len(text) < LEAST_LENGTH:
        return []
    found = [
        *_known(text, extra),
        *_prefixed(text),
        *_literal(text),
        *_assigned(text),
        *_urls(text),
        *_key_blocks(text),
    ]
    return _merged(found) if found else []


def _merged(found: list[Finding]) -> list[Finding]:
    found.sort(key=lambda finding: (finding.start, -finding.end))
    merged = [found[0]]
    for finding in found[1:]:
        last = merged[-1]
        if finding.start >= last.end:
            merged.append(finding)
        elif finding.end > last.end:
            merged[-1] = last._replace(end=finding.end)
    return merged


def _known(text: str, extra: Iterable[str]) -> Iterator[Finding]:
    more = frozenset(value for value in extra if _is_secret_value(value))
    written, encoded = _forms(known_secrets() | more)
    for form in written:
        start = text.find(form)
        while start >= 0:
            yield Finding("known", start, start + len(form))
            start = text.find(form, start + len(form))
    for form in encoded:
        start = text.find(form)
        while start >= 0:
            before = _BASE64_BEFORE.search(text, max(0, start - 400), start)
            after = _BASE64_AFTER.match(text, start + len(form))
            end = after.end() if after else start + len(form)
            yield Finding("known", before.start() if before else start, end)
            start = text.find(form, end)


def _prefixed(text: str) -> Iterator[Finding]:
    position = 0
    while match := _ANCHOR.search(text, position):
        position = match.end()
        start, prefix = _prefix_before(text, position)
        if start < 0 or not _begins(text, start):
            continue
        body = _BODIES[prefix].match(text, position)
        if body and not (prefix == "sk-" and _is_words(body[0])):
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
            if match[1] != MASK:
                yield Finding("url", *match.span(1))


def _key_blocks(text: str) -> Iterator[Finding]:
    """Find the lines of private keys, one by one; their BEGIN and END lines stay and say what was there."""
    for match in _KEY_BLOCK.finditer(text):
        end = text.find("-----END", match.end(), match.end() + MAX_KEY_BLOCK)
        if end < 0:
            end = min(len(text), match.end() + MAX_KEY_BLOCK)
            stop = re.search(r"[^A-Za-z0-9+/=:,.\s\\-]", text[match.end() : end])
            end = match.end() + stop.start() if stop else end
        position = match.end()
        # Line ends may be written as \n in JSON, once or twice escaped.
        for piece in re.split(r"(\\{1,4}[nrt]|[\r\n])", text[match.end() : end]):
            body = _KEY_LINE.search(piece)
            if body and len(body[0].strip(" -")) >= 16:
                yield Finding("private-key", position + body.start(), position + body.end())
            position += len(piece)
