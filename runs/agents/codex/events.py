"""Reads what `codex exec --json` says while it runs, and the rollout that it leaves. Nothing of it is trusted."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from runs.agents.base import Log
from runs.agents.lines import Lines
from traces.proxy.wire.usage import Tokens, count_of

MAX_EVENT_BYTES = 4_000_000
MAX_TEXT = 20_000
OUTPUT_LINES = 40


class Events:
    """The state of a run as its events tell it; each event also becomes lines of the log."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._lines = Lines(self._take, most=MAX_EVENT_BYTES)
        self.thread_id = ""
        self.final_message = ""
        # The message that ended the turn, when it failed.
        self.failure = ""
        self.errors: list[str] = []
        self.commands = 0
        self.changes = 0
        # Whether the model got so far as to say or do anything.
        self.tried = False
        self.completed = False
        self.tokens: Tokens | None = None

    def feed(self, data: bytes) -> None:
        """Take the next bytes of standard output."""
        self._lines.feed(data)

    def end(self) -> None:
        """Read what stands in an unfinished line."""
        self._lines.end()

    def _take(self, line: bytes) -> None:
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            event = None
        if not isinstance(event, dict):
            self._say(line[:4000].decode("utf-8", "replace"))
            return
        item = event.get("item")
        match event.get("type"):
            case "thread.started":
                self.thread_id = _text(event.get("thread_id"))[:100]
            case "item.started" if isinstance(item, dict):
                self._started(item)
            case "item.completed" if isinstance(item, dict):
                self._completed(item)
            case "turn.completed":
                self.completed = True
                self.tokens = _tokens(event.get("usage"))
            case "turn.failed":
                error = event.get("error")
                self.failure = _text(error.get("message") if isinstance(error, dict) else error) or "the turn failed"
                self._say(f"the turn failed: {self.failure}")
            case "error":
                self._error(_text(event.get("message")))

    def _started(self, item: dict[str, Any]) -> None:
        self.tried = True
        if item.get("type") == "command_execution":
            self._say(f"$ {_text(item.get('command'))}")

    def _completed(self, item: dict[str, Any]) -> None:
        kind = item.get("type")
        if kind == "error":
            self._error(_text(item.get("message")))
            return
        self.tried = True
        match kind:
            case "agent_message":
                self.final_message = _text(item.get("text"))
                self._say(self.final_message)
            case "reasoning":
                self._say(f"(thinking) {_text(item.get('text'))}")
            case "command_execution":
                self.commands += 1
                self._say(_ending_of_command(item))
            case "file_change":
                self.changes += 1
                changes = item.get("changes")
                for change in changes if isinstance(changes, list) else []:
                    if isinstance(change, dict):
                        self._say(f"{_text(change.get('kind'))} {_text(change.get('path'))}")
            case "mcp_tool_call":
                where = f"{_text(item.get('server'))}.{_text(item.get('tool'))}"
                self._say(f"tool {where}: {_text(item.get('status'))}")
            case "web_search":
                self._say(f"web search: {_text(item.get('query'))}")

    def _error(self, message: str) -> None:
        if len(self.errors) < 100:
            self.errors.append(message[:2000])
        self._say(f"error: {message}")

    def _say(self, text: str) -> None:
        if text.strip():
            self._log("agent", text[:MAX_TEXT])


def _ending_of_command(item: dict[str, Any]) -> str:
    lines = _text(item.get("aggregated_output")).splitlines()
    left_out = len(lines) - OUTPUT_LINES
    if left_out > 0:
        lines = [f"… {left_out} lines", *lines[-OUTPUT_LINES:]]
    exit_code = item.get("exit_code")
    if exit_code != 0:
        status = f"exit status {exit_code}" if isinstance(exit_code, int) else _text(item.get("status")) or "no end"
        lines.append(f"({status})")
    return "\n".join(f"  {line}" for line in lines)


def tokens_of_rollouts(rollouts: Iterable[bytes]) -> Tokens | None:
    """Add up the usage of every answer of the model, each counted once. None when no rollout names any."""
    seen: dict[str, Tokens] = {}
    for rollout in rollouts:
        for line in rollout.splitlines():
            if b'"token_usage_record"' not in line:
                continue
            try:
                record = json.loads(line)["payload"]
                tokens, key = _tokens(record.get("usage")), str(record.get("response_id"))
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                continue  # the last line of a killed run ends in the middle
            if tokens:
                seen[f"{record.get('thread_id')} {key}"] = tokens
    if not seen:
        return None
    return Tokens(
        input=_total(tokens.input for tokens in seen.values()),
        cached=_total(tokens.cached for tokens in seen.values()),
        output=_total(tokens.output for tokens in seen.values()),
    )


def model_of_rollouts(rollouts: Iterable[bytes]) -> str:
    """Return the model that Codex says it used, "" when it does not."""
    for rollout in rollouts:
        for line in rollout.splitlines():
            if b'"turn_context"' in line:
                try:
                    return _text(json.loads(line)["payload"]["model"])[:200]
                except (ValueError, KeyError, TypeError, RecursionError):
                    continue
    return ""


def _total(counts: Iterable[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _tokens(usage: object) -> Tokens | None:
    if not isinstance(usage, dict):
        return None
    tokens = Tokens(
        input=count_of(usage.get("input_tokens")),
        cached=count_of(usage.get("cached_input_tokens")),
        output=count_of(usage.get("output_tokens")),
    )
    return None if tokens.input is None and tokens.output is None else tokens


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
