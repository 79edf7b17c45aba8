"""Finds keys, tokens and passwords: OneShot's own shapes and exact values, and those of detect-secrets.

The entropy plug-ins stay off: they take commit ids, call ids and package hashes for secrets. No filter is on either:
with one, a comment in the text could hide its own line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from detect_secrets.core.scan import scan_line
from detect_secrets.settings import transient_settings

from tasks.findings.base import Found, Part, line_of, masked, secret_essence
from traces.redaction import MASK, find_secrets

PLUGINS = (
    "ArtifactoryDetector",
    "AWSKeyDetector",
    "AzureStorageKeyDetector",
    "BasicAuthDetector",
    "CloudantDetector",
    "DiscordBotTokenDetector",
    "GitHubTokenDetector",
    "GitLabTokenDetector",
    "IbmCloudIamDetector",
    "JwtTokenDetector",
    "MailchimpDetector",
    "NpmDetector",
    "OpenAIDetector",
    "PrivateKeyDetector",
    "PypiTokenDetector",
    "SendGridDetector",
    "SlackDetector",
    "SquareOAuthDetector",
    "StripeDetector",
    "TelegramBotTokenDetector",
    "TwilioKeyDetector",
)
SETTINGS = {"plugins_used": [{"name": name} for name in PLUGINS], "filters_used": []}
LONGEST_LINE = 20_000
# Every shape that the plug-ins know has one of these; asking them about each line of a long diff takes seconds.
SUSPICIOUS = re.compile(r"[A-Za-z0-9+/_=.:-]{16}|://[^\s/]*@|PRIVATE KEY")


def secrets_in(part: Part) -> list[Found]:
    """Return the secrets in a text, each once, in order. Their values are masked in what is returned."""
    return list(_in_text(part))


@lru_cache(maxsize=256)
def _in_text(part: Part) -> tuple[Found, ...]:
    spans = [(found.start, found.end, found.kind) for found in find_secrets(part.text)]
    taken = [(start, end) for start, end, _ in spans]
    for start, end, kind in _others(part.text):
        if not any(start < last and first < end for first, last in taken):
            spans.append((start, end, kind))
    seen: set[str] = set()
    found = []
    for start, end, kind in sorted(spans):
        value = part.text[start:end]
        if value in seen or MASK in value:
            continue
        seen.add(value)
        found.append(
            Found(
                kind="secret",
                severity="block",
                title=f"Looks like a secret ({kind})",
                message=f"Shown as {masked(value)}. Redact it, and let its owner replace it: it was in a session.",
                part=part.part,
                path=part.path,
                step=part.step,
                start=start,
                end=end,
                line=line_of(part.text, start),
                mend="redact",
                essence=secret_essence(value),
            )
        )
    return tuple(found)


def _others(text: str) -> Iterator[tuple[int, int, str]]:
    """Return (start, end, kind) of what detect-secrets sees."""
    position = 0
    with transient_settings(SETTINGS):
        for line in text.splitlines(keepends=True):
            for piece in range(0, len(line), LONGEST_LINE) if SUSPICIOUS.search(line) else ():
                for secret in scan_line(line[piece : piece + LONGEST_LINE]):
                    value = secret.secret_value or ""
                    start = text.find(value, position)
                    if value and start >= 0:
                        yield start, start + len(value), secret.type
            position += len(line)
