"""Short names for agents: as short as they can be while no two on a board are the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from runs.models import AgentConfig

# What a row says under its name when there is nothing to tell about a model.
REFERENCES = {"oracle": "applies the reference diff", "nop": "does nothing"}
LONGEST = 40

_NAMED: tuple[Callable[[AgentConfig], str], ...] = (
    lambda agent: agent.name,
    lambda agent: _join(agent.name, effort_of(agent)),
    lambda agent: _join(agent.name, agent.model),
    lambda agent: _join(agent.name, agent.version),
    lambda agent: _join(agent.name, agent.version, agent.model),
    lambda agent: _join(agent.name, agent.model, effort_of(agent)),
    lambda agent: _join(agent.name, agent.version, agent.model, effort_of(agent)),
)
# Where one agent is tried with many models, its name says nothing.
_NAMELESS: tuple[Callable[[AgentConfig], str], ...] = (
    lambda agent: agent.model,
    lambda agent: _join(agent.model, effort_of(agent)),
)


def labels_of(agents: Sequence[AgentConfig]) -> list[str]:
    """Return a label for each agent: its name, with effort, model or version where names alone are not enough.

    Agents that differ only in other settings get the beginning of their digest.
    """
    ranked = [agent for agent in agents if not agent.is_reference]
    groups: dict[str, list[AgentConfig]] = {}
    for agent in agents:
        groups.setdefault(agent.name, []).append(agent)
    labels: dict[str, str] = {}
    for group in groups.values():
        alone = len(group) > 1 and len(group) == len(ranked) and all(agent.model for agent in group)
        forms = ([form(agent) for agent in group] for form in ((*_NAMELESS, *_NAMED) if alone else _NAMED))
        chosen = next((names for names in forms if len(set(names)) == len(group)), None)
        if chosen is None:
            chosen = [_join(agent.name, agent.model, agent.digest[:4]) for agent in group]
        labels |= {agent.digest: label[:LONGEST] for agent, label in zip(group, chosen, strict=True)}
    return [labels[agent.digest] for agent in agents]


def under_of(agent: AgentConfig) -> str:
    """Return what stands below the name: the model and effort, or that there is none."""
    if agent.is_reference:
        return REFERENCES.get(agent.kind, "")
    effort = effort_of(agent)
    parts = [agent.model or "no model", f"effort {effort}" if effort else ""]
    return " · ".join(part for part in parts if part)


def effort_of(agent: AgentConfig) -> str:
    """Return the reasoning effort that the settings ask for, or nothing."""
    effort = agent.settings.get("reasoning_effort") or agent.settings.get("effort") or ""
    return str(effort)[:20]


def _join(*parts: str) -> str:
    return " ".join(part for part in parts if part)
