"""How sessions are put into words: agents, repositories, sources, and how long they took."""

from __future__ import annotations

import re

from traces.models import Session

AGENTS = {"codex": "Codex", "claude_code": "Claude Code"}
# How a session ended: (class of the mark, icon, word). "" is not known, or it goes on.
ENDINGS = {
    "completed": ("", "check", "Completed"),
    "aborted": ("", "cancelled", "Aborted"),
    "failed": ("bad", "no", "Failed"),
}
# Readers by their names (traces/readers), as people call what they read.
SOURCES = {
    "proxy": "gateway",
    "codex": "Codex rollout",
    "claude_code": "Claude transcript",
    "original": "original database",
    "atif": "ATIF",
}


def agent_name(agent: str) -> str:
    """Return an agent as people call it."""
    return AGENTS.get(agent, agent) or "unknown agent"


def repository_name(repository: str) -> str:
    """Return the last part of a remote URL or path.

    >>> repository_name("https://example.org/team/ledger.git"), repository_name("git@example.org:ledger.git")
    ('ledger', 'ledger')
    >>> repository_name("/home/mira/ledger/"), repository_name("")
    ('ledger', '')
    """
    return re.split(r"[/\\:]", repository.rstrip("/\\"))[-1].removesuffix(".git")


def source_name(kind: str) -> str:
    return SOURCES.get(kind, kind.replace("_", " "))


def joined(words: list[str]) -> str:
    """Return words as a list in a sentence.

    >>> joined(["proxy"]), joined(["proxy", "rollout"]), joined(["a", "b", "c"]), joined([])
    ('proxy', 'proxy and rollout', 'a, b and c', '')
    """
    return " and ".join(part for part in (", ".join(words[:-1]), *words[-1:]) if part)


def seconds_of(session: Session) -> float | None:
    """Return how long a session lasted; None when its beginning or end is unknown."""
    if session.started_at is None or session.ended_at is None:
        return None
    return max(0.0, (session.ended_at - session.started_at).total_seconds())


def all_tokens(session: Session) -> int | None:
    """Return input and output together; None when neither is known."""
    if session.tokens_input is None and session.tokens_output is None:
        return None
    return (session.tokens_input or 0) + (session.tokens_output or 0)
