"""The agent `codex`: the real Codex CLI, run natively and headless inside the sandbox."""

from runs.agents.codex.agent import CodexAgent

__all__ = ["CodexAgent"]
