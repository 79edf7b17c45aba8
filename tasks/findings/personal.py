"""Finds what tells who someone is: e-mail addresses, home directories, public IP addresses."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from tasks.findings.base import Found, Part, line_of

EMAIL = re.compile(
    r"(?<![\w.+-])[A-Za-z0-9][\w.+-]{0,63}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})*\.[A-Za-z]{2,24}(?![\w-])"
)
HOME = re.compile(r"(?:/home/|/Users/|[A-Za-z]:\\Users\\)([A-Za-z0-9][A-Za-z0-9._-]{1,31})")
ADDRESS = re.compile(r"(?<![\w.-])(?:\d{1,3}\.){3}\d{1,3}(?![\w-]|\.\d)")

# Names that stand for nobody.
RESERVED = re.compile(
    r"(^|\.)(example|test|invalid|localhost)(\.[a-z]+)?$|(^|\.)example\.(com|org|net)$", re.IGNORECASE
)
NOBODY = {"noreply", "no-reply", "git", "nobody", "root", "user", "users.noreply"}
NO_HOMES = {
    "agent",
    "user",
    "username",
    "runner",
    "ubuntu",
    "debian",
    "vscode",
    "node",
    "app",
    "you",
    "shared",
    "public",
    "me",
}
# Documentation networks are not private, and yet nobody's.
DOCUMENTATION = [ipaddress.ip_network(net) for net in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")]


def personal_data_in(part: Part) -> list[Found]:
    """Return the personal data in a text, each value once, in order."""
    found, seen = [], set()
    for start, end, title in sorted(_spans(part.text)):
        value = part.text[start:end]
        if value in seen:
            continue
        seen.add(value)
        found.append(
            Found(
                kind="personal",
                severity="warn",
                title=title,
                message=f"{value} is in the {part.part}. Redact it unless the task needs it.",
                part=part.part,
                path=part.path,
                step=part.step,
                start=start,
                end=end,
                line=line_of(part.text, start),
                mend="redact",
                essence=value,
            )
        )
    return found


def _spans(text: str) -> Iterator[tuple[int, int, str]]:
    for match in EMAIL.finditer(text):
        name, _, domain = match[0].rpartition("@")
        if not RESERVED.search(domain) and name.lower() not in NOBODY and "noreply" not in domain:
            yield *match.span(), "A person's e-mail address"
    for match in HOME.finditer(text):
        if match[1].lower() not in NO_HOMES:
            yield *match.span(), "Someone's home directory"
    for match in ADDRESS.finditer(text):
        if _is_public(match[0]):
            yield *match.span(), "A public IP address"


def _is_public(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    # A version such as 1.2.3.4 is an address too; only what is routed in earnest is worth a look.
    return address.is_global and not any(address in net for net in DOCUMENTATION) and int(text.split(".")[0]) > 10
