"""The agent itself: its package mounted read-only, its home in the sandbox's home, its model behind the relay."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from runs.agents import settings as reading
from runs.agents.base import Assignment, Ending, Log, ModelNeed
from runs.agents.claude_code import invocation
from runs.agents.claude_code.events import Events
from runs.agents.claude_code.installation import CLAUDE_CODE
from runs.agents.claude_code.verdict import conclude
from runs.agents.lines import LoggedOutput
from runs.agents.npm import Installation
from runs.agents.service import count, need_of
from runs.agents.settings import Setting, read_settings
from runs.agents.transcripts import collect
from runs.models import AgentConfig
from runs.sandboxes.base import ExecResult, Mount, Sandbox

TARGET = "/opt/claude-code"
MAX_EVENTS_BYTES = 20_000_000
TRANSCRIPT = re.compile(r"[^\0\n]+/projects/[^\0\n]+/[A-Za-z0-9._-]+\.jsonl\Z")
# The session, and beside it those of its sub-agents.
TRANSCRIPTS = ("projects/*/*.jsonl", "projects/*/*/subagents/*.jsonl")


class ClaudeCodeAgent:
    """Runs `claude --print` on the instructions, in the repository."""

    kind = "claude_code"
    settings: Mapping[str, Setting] = {
        "reasoning_effort": Setting(invocation.effort, "", "low, medium, high, xhigh or max"),
        "thinking_tokens": Setting(reading.count, None, "tokens that the model may think with; 0 is none"),
        "max_output_tokens": Setting(reading.budget, None, "tokens that one answer may have"),
        "max_turns": Setting(reading.budget, None, "answers of the model after which Claude Code stops"),
        "tools": Setting(invocation.tools, [], "the tools that there are; all when not given"),
        "disallowed_tools": Setting(invocation.tools, [], "tools, or uses of tools, that are refused"),
        "web_search": Setting(reading.flag, False, "whether the model may search and fetch"),
        "project_mcp": Setting(reading.flag, False, "whether MCP servers of the repository are started"),
        "append_system_prompt": Setting(reading.text, "", "text after Claude Code's own system prompt"),
        "small_model": Setting(reading.word, "", "model for side errands"),
        "service": Setting(reading.anthropic_service, {}, "model service; Anthropic's when not given"),
        "request_retries": Setting(reading.count, invocation.REQUEST_RETRIES, "retries of a failed request"),
        "timeout_s": Setting(reading.seconds, None, "seconds that Claude Code may take, if less than the run's"),
        "env": Setting(reading.environment, {}, "variables for Claude Code and its commands"),
    }

    def __init__(self, config: AgentConfig) -> None:
        self.config = config
        self.given: dict[str, Any] = read_settings(self.settings, config.settings, f"agent {config.name}")

    @staticmethod
    def default_version() -> str:
        """Return the version that a configuration without one gets. Raises AgentError with the mend."""
        return CLAUDE_CODE.newest_version()

    def check(self) -> str:
        return CLAUDE_CODE.problem(self.config.version)

    def prepare(self, log: Log) -> None:
        CLAUDE_CODE.obtain(self.config.version, log)

    def mounts(self) -> Sequence[Mount]:
        return [Mount(source=self._installed().root, target=TARGET)]

    def model(self) -> ModelNeed:
        return need_of(self.given.get("service", {}), reading.ANTHROPIC)

    def run(self, sandbox: Sandbox, assignment: Assignment, log: Log) -> Ending:
        own, config_dir = f"{sandbox.home}/.oneshot", f"{sandbox.home}/.claude"
        sandbox.put_tree(own, {"instructions.md": assignment.instructions.encode()})
        timeout_s = min(assignment.timeout_s, self.given.get("timeout_s", assignment.timeout_s))
        events, errors = Events(log), LoggedOutput(log)
        result = sandbox.exec(
            invocation.argv(
                roots=(TARGET, str(self._installed().root)),
                model=self.config.model,
                session_id=str(uuid.uuid4()),
                settings=self.given,
            ),
            env={
                **reading.host_values(self.given.get("env", {})),
                **invocation.environment(
                    config_dir=config_dir,
                    base_url=assignment.model_url.removesuffix("/v1"),
                    token=assignment.model_token,
                    model=self.config.model,
                    settings=self.given,
                ),
                "ONESHOT_INSTRUCTIONS_FILE": f"{own}/instructions.md",
            },
            timeout_s=timeout_s,
            max_output_bytes=MAX_EVENTS_BYTES,
            sink=lambda stream, data: events.feed(data) if stream == "stdout" else errors(stream, data),
        )
        events.end()
        errors.end()
        return self._ending(sandbox, result, events, assignment, config_dir, timeout_s, log)

    def _installed(self) -> Installation:
        return CLAUDE_CODE.obtain(self.config.version, lambda source, text: None)

    def _ending(
        self,
        sandbox: Sandbox,
        result: ExecResult,
        events: Events,
        assignment: Assignment,
        config_dir: str,
        timeout_s: float,
        log: Log,
    ) -> Ending:
        outcome, error = conclude(result, events, assignment.model_use, self.model(), timeout_s)
        transcripts = collect(sandbox, config_dir, TRANSCRIPTS, TRANSCRIPT, log)
        ending = Ending(
            exit_code=result.exit_code, outcome=outcome, error=error, final_message=events.final_message[:20_000]
        )
        ending.transcripts = transcripts
        ending.artifacts = _artifacts(result, transcripts, events)
        ending.detail = {
            "claude_seconds": round(result.seconds, 2),
            "thread_id": events.session_id,
            "commands": events.commands,
            "turns": events.turns,
            "model_used": events.model,
        }
        if tokens := events.tokens:
            ending.tokens_input, ending.tokens_cached = tokens.input, tokens.cached
            ending.tokens_output = tokens.output
            ending.detail["tokens_from"] = "agent"
        if assignment.model_use:
            count(ending, assignment.model_use)
        return ending


def _artifacts(result: ExecResult, transcripts: Mapping[str, bytes], events: Events) -> dict[str, tuple[str, bytes]]:
    files = {
        "claude-events.jsonl": ("application/jsonl", result.stdout),
        "claude-stderr.txt": ("text/plain", result.stderr),
        "last-message.md": ("text/markdown", events.final_message.encode()),
    }
    files |= {f"claude-{name}": ("application/jsonl", data) for name, data in transcripts.items()}
    return {name: file for name, file in files.items() if file[1]}
