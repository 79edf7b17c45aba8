"""Reads what Claude Code says while it runs (`--output-format stream-json`). Nothing of it is trusted."""

from __future__ import annotations

import json
from typing import Any

from runs.agents.base import Log
from runs.agents.lines import Lines
from traces.proxy.wire.usage import Tokens, count_of, tokens_of

MAX_EVENT_BYTES = 4_000_000
MAX_TEXT = 20_000
MAX_CALLS = 10_000
OUTPUT_LINES = 40
# Claude Code's own words in the place of an answer, such as of a failed request.
SYNTHETIC = "<synthetic>"


class Events:
    """The state of a run as its events tell it; each event also becomes lines of the log."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._lines = Lines(self._take, most=MAX_EVENT_BYTES)
        self._calls: dict[str, str] = {}
        self.session_id = ""
        self.model = ""
        self.final_message = ""
        # What the result says went wrong, "" when it says nothing of the kind.
        self.failure = ""
        # HTTP status of the request that ended it; 0 when the result names none.
        self.status = 0
        self.refused = False
        self.out_of_turns = False
        self.turns: int | None = None
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
        message = event.get("message")
        match event.get("type"):
            case "system":
                self._system(event)
            case "assistant" if isinstance(message, dict):
                self._answer(message, is_main=not event.get("parent_tool_use_id"))
            case "user" if isinstance(message, dict):
                for block in _blocks(message):
                    if block.get("type") == "tool_result":
                        self._result_of(block)
            case "result":
                self._end_of_all(event)

    def _system(self, event: dict[str, Any]) -> None:
        match event.get("subtype"):
            case "init":
                self.session_id = _text(event.get("session_id"))[:100]
                self.model = _text(event.get("model"))[:200]
            case "api_retry":
                status = count_of(event.get("error_status")) or "no answer"
                self._say(f"the model service failed ({status}); try {event.get('attempt')} again")
            case "model_refusal_no_fallback":
                self.refused = True
            case "task_started":
                self._say(f"sub-agent: {_text(event.get('description'))}")
            case "compact_boundary":
                self._say("(the conversation was compacted)")

    def _answer(self, message: dict[str, Any], *, is_main: bool) -> None:
        synthetic = message.get("model") == SYNTHETIC
        for block in _blocks(message):
            match block.get("type"):
                case "text":
                    said = _text(block.get("text"))
                    self._say(said)
                    if is_main and not synthetic and said.strip():
                        self.final_message = said
                        self.tried = True
                case "thinking":
                    self._say(f"(thinking) {_text(block.get('thinking'))}")
                case "tool_use":
                    self.tried = True
                    self._call(block)

    def _call(self, block: dict[str, Any]) -> None:
        name = _text(block.get("name"))[:200]
        given = block.get("input")
        given = given if isinstance(given, dict) else {}
        if len(self._calls) < MAX_CALLS:
            self._calls[_text(block.get("id"))] = name
        path = _text(given.get("file_path")) or _text(given.get("notebook_path"))
        match name:
            case "Bash":
                self.commands += 1
                self._say(f"$ {_text(given.get('command'))}")
            case "Edit" | "MultiEdit" | "Write" | "NotebookEdit":
                self.changes += 1
                self._say(f"{'write' if name == 'Write' else 'edit'} {path}")
            case "Read":
                self._say(f"read {path}")
            case _:
                self._say(f"tool {name}: {json.dumps(given, ensure_ascii=False)[:500]}")

    def _result_of(self, block: dict[str, Any]) -> None:
        name = self._calls.pop(_text(block.get("tool_use_id")), "")
        failed = block.get("is_error") is True
        if name != "Bash" and not failed:
            return
        content = block.get("content")
        said = content if isinstance(content, str) else "\n".join(_text(part.get("text")) for part in _blocks(block))
        lines = said.splitlines()
        left_out = len(lines) - OUTPUT_LINES
        if left_out > 0:
            lines = [f"… {left_out} lines", *lines[-OUTPUT_LINES:]]
        self._say("\n".join(f"  {line}" for line in [*lines, *(["(failed)"] if failed else [])]))

    def _end_of_all(self, event: dict[str, Any]) -> None:
        self.completed = True
        self.turns = count_of(event.get("num_turns"))
        self.tokens = tokens_of(event.get("usage"))
        self.status = count_of(event.get("api_error_status")) or 0
        self.out_of_turns = event.get("subtype") == "error_max_turns"
        self.refused |= event.get("stop_reason") == "refusal"
        said = _text(event.get("result"))
        if event.get("is_error") is True:
            errors = event.get("errors")
            words = [_text(error) for error in errors if _text(error)] if isinstance(errors, list) else []
            self.failure = (said or "; ".join(words) or _text(event.get("subtype")) or "it failed")[:2000]
            self._say(f"it failed: {self.failure}")
        elif said.strip():
            self.final_message = said

    def _say(self, text: str) -> None:
        if text.strip():
            self._log("agent", text[:MAX_TEXT])


def _blocks(message: dict[str, Any]) -> list[dict[str, Any]]:
    content = message.get("content")
    return [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
