"""The agent `claude_code`: the real Claude Code, run natively and headless inside the sandbox."""

from runs.agents.claude_code.agent import ClaudeCodeAgent

__all__ = ["ClaudeCodeAgent"]
