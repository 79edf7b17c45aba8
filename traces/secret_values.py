"""The values that are secret here, and every way in which they may be written. Standard library only.

They come from the environment and from the files in which agents and tools keep their credentials.
"""

from __future__ import annotations

import base64
import html
import json
import os
import re
import time
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any
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
_FILE_LINE = re.compile(
    r"""^[ \t]*(?:export[ \t]+|-[ \t]+)?["']?(?:([\w./:@-]{1,200}?)["']?[ \t]*=|([\w.-]{1,200})["']?[ \t]*:[ \t])"""
    r"""[ \t]*["']?([^\s"']{8,4000})""",
    re.MULTILINE,
)
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
        values = [value for name, key, value in _FILE_LINE.findall(text) if _FILE_NAME.search(name or key)]
        values += [found for user, password in _FILE_URL.findall(text) for found in (user, password)]
        words = text.split()
        if len(words) == 1 and "=" not in words[0].rstrip("="):  # a file that holds one token and nothing else
            values.append(words[0])
        # .netrc: machine host login user password word
        values += [value for name, value in pairwise(words) if name == "password"]
    return frozenset(value for value in values if is_secret_value(value) and len(value) >= 12)


def _secrets_in_document(document: Any, name: str) -> Iterator[str]:
    if isinstance(document, dict):
        for key, value in document.items():
            yield from _secrets_in_document(value, str(key))
    elif isinstance(document, list):
        for value in document:
            yield from _secrets_in_document(value, name)
    elif isinstance(document, str) and _FILE_NAME.search(name):
        yield document


def known_secrets() -> frozenset[str]:
    """Return the values that are secret here: those of environment variables whose names say so, passwords in the
    URLs of others, what *_FILE variables point to, and those of the user's auth files."""
    return _all_secrets(_environment_key(), os.environ.get("HOME", ""), int(time.monotonic() / FRESH_S))


def _environment_key() -> int:
    """Return a number that changes with the environment. Its raw form is ten times faster to read."""
    return hash(frozenset(getattr(os.environ, "_data", os.environ).items()))


@lru_cache(maxsize=4)
def _all_secrets(environment: int, home: str, moment: int) -> frozenset[str]:
    return _secrets_of_environment() | auth_file_secrets()


def _secrets_of_environment() -> frozenset[str]:
    found: set[str] = set()
    for name, value in os.environ.items():
        found.update(password for _, password in _FILE_URL.findall(value))
        if not SECRET_NAME.search(name) or PLAIN_NAME.search(name):
            continue
        if name.upper().endswith("_FILE"):
            found.update(_only_line(value))
        # a socket's or a file's path names a place, not a secret
        elif not value.startswith("/"):
            found.add(value)
    return frozenset(value for value in found if is_secret_value(value))


def _only_line(path: str) -> list[str]:
    """Return what a file holds that an environment variable names, when it is a secret's size."""
    try:
        if Path(path).stat().st_size > 20_000 or not Path(path).is_file():
            return []
        return [Path(path).read_text(encoding="utf-8", errors="replace").strip()]
    except (OSError, ValueError):
        return []


def is_secret_value(value: str) -> bool:
    """Return whether a value is worth looking for: long enough, and no word or number of ordinary text."""
    if len(value) < LEAST_LENGTH or value.strip().lower() in HARMLESS:
        return False
    # A short number is a limit or a port range somewhere, never worth blacking out all its likes.
    return not (value.isdecimal() and len(value) < 12)


@lru_cache(maxsize=32)
def forms_of(secrets: frozenset[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
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
