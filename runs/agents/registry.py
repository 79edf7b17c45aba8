"""Finds agents: those built in, and plug-ins of other packages."""

from __future__ import annotations

import importlib
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from runs.agents.base import Agent
from runs.agents.settings import unknown
from runs.errors import AgentError
from runs.models import AgentConfig

GROUP = "oneshot.agents"
BUILT_IN = {
    "oracle": "runs.agents.plain:OracleAgent",
    "nop": "runs.agents.plain:NopAgent",
    "command": "runs.agents.command:CommandAgent",
    "codex": "runs.agents.codex:CodexAgent",
    "claude_code": "runs.agents.claude_code:ClaudeCodeAgent",
}


def kinds() -> list[str]:
    """Return the names of all kinds of agent."""
    return [*BUILT_IN, *sorted(_plugins())]


def load(config: AgentConfig) -> Agent:
    """Return the agent of a configuration. Raises AgentError when its kind or a setting is not known."""
    return agent_class(config.kind)(config)


def load_by_kind(kind: str) -> Agent:
    """Return an agent with nothing configured, to ask whether its kind can run here. Raises AgentError."""
    return load(AgentConfig(kind=kind, name=kind))


def agent_class(kind: str) -> Any:
    """Return the class behind a kind of agent. Raises AgentError when there is none, or it cannot be loaded."""
    if path := BUILT_IN.get(kind):
        module, _, attribute = path.partition(":")
        return getattr(importlib.import_module(module), attribute)
    plugins = _plugins()
    if kind not in plugins:
        raise AgentError(unknown(kind, kinds(), "kind of agent"))
    try:
        return plugins[kind].load()
    except Exception as error:
        raise AgentError(f"The agent plug-in {kind!r} ({plugins[kind].value}) cannot be loaded: {error}") from error


def _plugins() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP) if entry.name not in BUILT_IN}
