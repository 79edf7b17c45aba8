"""Takes secrets out of text before it is kept: known values in all their forms, key shapes, assignments, URL passwords.

Standard library only: the gateway imports it in its own environment. No match reaches over a line end, so that a
redacted diff still has its lines. A value that is known is found anywhere; one that is not must look like a key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from .secret_shapes import Finding, find_shapes
from .secret_values import (
    LEAST_LENGTH,
    MASK,
    SECRET_NAME,
    auth_file_secrets,
    dotenv_secrets,
    forms_of,
    is_secret_value,
    known_secrets,
)

__all__ = [
    "LEAST_LENGTH",
    "MASK",
    "SECRET_NAME",
    "Finding",
    "auth_file_secrets",
    "dotenv_secrets",
    "find_secrets",
    "known_secrets",
    "redact",
    "safe_headers",
]

_BASE64_AFTER = re.compile(r"[A-Za-z0-9+/_-]{0,4000}={0,2}")
_BASE64_BEFORE = re.compile(r"[A-Za-z0-9+/_-]{0,400}\Z")

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
    found = [*_known(text, extra), *find_shapes(text)]
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
    more = frozenset(value for value in extra if is_secret_value(value))
    for secrets in (known_secrets(), more):
        if secrets:
            yield from _forms_in(text, secrets)


def _forms_in(text: str, secrets: frozenset[str]) -> Iterator[Finding]:
    written, encoded = forms_of(secrets)
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
