"""Who sent a request: which agent, in which of its sessions and turns, as far as the request itself says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")
_CLAUDE_USER = re.compile(r"_session_([A-Za-z0-9-]{8,64})\Z")


@dataclass(frozen=True, kw_only=True)
class Identity:
    """ "" is unknown. `session` is the agent's thread id and safe in a file name; `client` is the user agent."""

    agent: str = ""
    session: str = ""
    turn: str = ""
    client: str = ""


def identify(headers: Iterable[tuple[str, str]], body: Mapping[str, Any] | None = None) -> Identity:
    """Read who sent a request from its headers and, when it is a JSON object, its body. Never raises."""
    named = {name.lower(): value for name, value in headers}
    body = body or {}
    metadata = body.get("client_metadata")
    own: Mapping[str, Any] = metadata if isinstance(metadata, Mapping) else {}
    turn = _object(named.get("x-codex-turn-metadata") or own.get("x-codex-turn-metadata"))
    client = named.get("user-agent", "")[:300]
    session = (
        _id(turn.get("thread_id"))
        or _id(named.get("thread-id"))
        or _id(named.get("session-id"))
        or _id(named.get("session_id"))
        or _id(named.get("conversation_id"))
        or _id(named.get("x-claude-code-session-id"))
        or _claude_session(body.get("metadata"))
    )
    return Identity(agent=_agent(named, client), session=session, turn=_id(turn.get("turn_id")), client=client)


def _agent(named: Mapping[str, str], client: str) -> str:
    if named.get("originator", "").startswith("codex") or client.lower().startswith("codex"):
        return "codex"
    if any(name.startswith("x-codex-") for name in named):
        return "codex"
    if client.startswith(("claude-cli", "claude-code")) or "x-claude-code-session-id" in named:
        return "claude_code"
    return ""


def _claude_session(metadata: object) -> str:
    """Read the session from metadata.user_id: a JSON object in newer versions, joined words in older ones."""
    user = metadata.get("user_id") if isinstance(metadata, Mapping) else None
    if not isinstance(user, str):
        return ""
    found = _CLAUDE_USER.search(user)
    return found[1] if found else _id(_object(user).get("session_id"))


def _object(text: object) -> Mapping[str, Any]:
    if isinstance(text, Mapping):
        return text
    if not isinstance(text, str) or not text.startswith("{"):
        return {}
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _id(value: object) -> str:
    return value if isinstance(value, str) and _ID.match(value) else ""
