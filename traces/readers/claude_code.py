"""Reads Claude Code's transcripts: ~/.claude/projects/<directory>/<session>.jsonl and those of its sub-agents.

An answer is written as one line per content block, each with the whole usage: the message's id makes it one exchange.
Sub-agents share their session; their steps carry the sub-agent's id.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from traces.readers import lines, patches, tools, values
from traces.readers.base import Batch, ExchangeRecord, NotReadable, Problem, SessionRecords, StepRecord
from traces.readers.values import items, mapping, text

BATCH_STEPS = 3000
BATCH_BYTES = 32 * 1024 * 1024

_LINE_TYPES = {"user", "assistant", "attachment", "system", "summary", "queue-operation", "last-prompt"}
# Bookkeeping of the client, without anything said or done.
_SILENT_TYPES = {
    *("queue-operation", "last-prompt", "file-history-snapshot", "permission-mode", "mode", "progress", "summary"),
    *("ai-title", "custom-title", "agent-name", "tag", "pr-link", "worktree-state", "content-replacement"),
}
_SURROUNDINGS = re.compile(
    r"\s*<(system-reminder|local-command-(stdout|stderr|caveat)|command-stdout|task-notification)>"
)
_INTERRUPTED = "[Request interrupted by user"
_EXIT_CODE = re.compile(r"^(?:Error: )?Exit code (-?\d{1,9})\b")
_SNIFFED = 64 * 1024


class ClaudeCodeReader:
    """Transcripts of Claude Code."""

    name = "claude_code"
    label = "Claude Code transcript"

    def recognises(self, path: Path) -> bool:
        if not lines.is_lines(path):
            return False
        try:
            with lines.opened(path) as file:
                head = file.read(_SNIFFED)
        except NotReadable:
            return False
        for line in head.split(b"\n")[:20]:
            try:
                document = values.parsed(line)
            except ValueError:
                continue
            known = isinstance(document, dict) and text(document.get("type")) in _LINE_TYPES | _SILENT_TYPES
            if known and {"sessionId", "leafUuid", "messageId"} & set(document):
                return True
        return b'"sessionId"' in head and b'"uuid"' in head

    def read(self, path: Path, position: dict[str, Any]) -> Iterator[Batch]:
        if lines.unchanged(path, position):
            return
        stat = lines.stat_of(path)
        position = dict(position)
        transcript = _Transcript(path)
        for line in lines.read_lines(path, position):
            transcript.take(line)
            if transcript.is_full:
                yield transcript.batch(position)
        yield transcript.batch(position | {"stat": stat})


class _Transcript:
    """What has been read of one file since the last batch, by session."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._begin()

    def _begin(self) -> None:
        self.sessions: dict[str, SessionRecords] = {}
        self.steps: dict[tuple[str, str], StepRecord] = {}
        self.answers: dict[tuple[str, str], ExchangeRecord] = {}
        self.problems: list[Problem] = []
        self.unknown: Counter[str] = Counter()
        self._first_offset: int | None = None
        self._bytes = 0

    @property
    def is_full(self) -> bool:
        return len(self.steps) >= BATCH_STEPS or self._bytes >= BATCH_BYTES

    def batch(self, position: dict[str, Any]) -> Batch:
        """Return what has been taken since the last batch."""
        for kind, number in self.unknown.items():
            message = f"{number} lines of the unknown type {kind[:60]!r} were left out"
            self.problems.append(Problem(file=str(self.path), message=message))
        batch = Batch(sessions=list(self.sessions.values()), position=dict(position), problems=self.problems)
        self._begin()
        return batch

    def take(self, line: lines.Line) -> None:
        """Read one line."""
        if line.document is None:
            self.problems.append(Problem(file=str(self.path), place=f"line {line.number}", message=line.fault))
            if line.too_long:
                self._open(self._named_by_file(), "")
                self._step(f"line:{line.offset}", None, kind="notice", text=f"Line {line.number} {line.fault}.")
            return
        document = line.document
        if self._first_offset is None:
            self._first_offset = line.offset
        self._bytes = line.offset - self._first_offset
        kind = text(document.get("type"))
        if kind not in _LINE_TYPES or kind in _SILENT_TYPES:
            if kind not in _SILENT_TYPES:
                self.unknown[kind] += 1
            return
        thread = values.safe_id(document.get("sessionId")) or self._named_by_file()
        self._open(thread, self._agent_path(document))
        self._facts(document)
        self.cwd = text(document.get("cwd"))
        self._key = text(document.get("uuid"))[:150] or f"at:{line.offset}"
        at = values.moment(document.get("timestamp"))
        if kind == "assistant":
            self._assistant(document, at)
        elif kind == "user":
            self._user(document, at)
        elif kind == "system":
            self._system(document, at)
        else:
            self._attachment(mapping(document.get("attachment")), at)

    def _open(self, thread: str, agent_path: str) -> None:
        self.agent_path = agent_path
        self.session = self.sessions.setdefault(
            thread,
            SessionRecords(agent="claude_code", thread_id=thread, source=ClaudeCodeReader.name, label=self.path.name),
        )

    def _named_by_file(self) -> str:
        name = self.path.name.partition(".jsonl")[0]
        if self.path.parent.name == "subagents":
            name = self.path.parent.parent.name
        return values.safe_id(name) or "file-" + values.digest(name)[:32]

    def _agent_path(self, document: dict[str, Any]) -> str:
        """Return how the sub-agent is called that a line belongs to; "" for the main conversation."""
        if not document.get("isSidechain"):
            return ""
        return text(document.get("agentId"))[:200] or "sub-agent"

    def _facts(self, document: dict[str, Any]) -> None:
        facts = self.session.facts
        for name, field in (("agent_version", "version"), ("cwd", "cwd"), ("branch", "gitBranch")):
            if name not in facts and (value := text(document.get(field))):
                facts[name] = value

    # The lines by their type.

    def _assistant(self, document: dict[str, Any], at: float | None) -> None:
        message = mapping(document.get("message"))
        if document.get("isApiErrorMessage") or message.get("model") == "<synthetic>":
            self._step(self._key, at, kind="notice", text=values.said(message.get("content")))
            return
        answer = self._answer(document, message, at)
        for index, block in enumerate(items(message.get("content"))):
            block = mapping(block)
            kind = text(block.get("type"))
            key = f"{self._key}:{index}" if index else self._key
            if kind == "text":
                self._step(key, at, kind="assistant", text=text(block.get("text")), exchange=answer)
            elif kind == "thinking" and text(block.get("thinking")):
                self._step(key, at, kind="reasoning", text=text(block.get("thinking")), exchange=answer)
            elif kind.endswith("tool_use"):
                self._call(block, at, answer)
        if isinstance(message.get("content"), str):
            self._step(self._key, at, kind="assistant", text=message["content"], exchange=answer)
        if not self.agent_path:
            self.session.facts["ending"] = "completed" if message.get("stop_reason") == "end_turn" else ""

    def _answer(self, document: dict[str, Any], message: dict[str, Any], at: float | None) -> str:
        """Note the exchange that a line belongs to, once for all its lines; return its key."""
        key = text(message.get("id"))[:200] or text(document.get("requestId"))[:200] or self._key
        usage = mapping(message.get("usage"))
        fresh, written, read = (
            values.count(usage.get(name))
            for name in ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
        )
        known = self.answers.get((self.session.thread_id, key))
        if known is None:
            known = ExchangeRecord(
                key=key,
                response_id=text(message.get("id"))[:200],
                request_id=text(document.get("requestId"))[:200],
                ended_at=at,
                model=text(message.get("model"))[:120],
            )
            self.answers[(self.session.thread_id, key)] = known
            self.session.exchanges.append(known)
        known.stop_reason = text(message.get("stop_reason"))[:60] or known.stop_reason
        if fresh is not None:
            known.tokens_input = max(known.tokens_input or 0, fresh + (written or 0) + (read or 0))
            known.tokens_cached = _most(known.tokens_cached, read)
            known.tokens_cache_write = _most(known.tokens_cache_write, written)
        # Early lines of an answer may count only what had been written by then.
        known.tokens_output = _most(known.tokens_output, values.count(usage.get("output_tokens")))
        return key

    def _call(self, block: dict[str, Any], at: float | None, answer: str) -> None:
        name, call_id = text(block.get("name"))[:200], text(block.get("id"))[:150] or self._key
        given = mapping(block.get("input"))
        step: dict[str, Any] = {"kind": "tool", "name": name, "call_id": call_id, "text": values.compact(given)}
        if name == "Bash" and (command := text(given.get("command"))):
            step |= {"text": command, "preview": command}
        elif name in tools.EDITS and (path := text(given.get("file_path")) or text(given.get("notebook_path"))):
            path = patches.within(path, self.cwd)
            # What was really changed comes with the result, also whether the file was there before.
            change = "added" if name == "Write" else "modified"
            diff = tools.asked_edit(path, name, given)
            file = patches.counted(path, change, diff)
            step |= {"kind": "patch", "text": diff, "preview": path, "meta": {"files": [file]}}
        self._step(f"call:{call_id}", at, exchange=answer, **step)

    def _user(self, document: dict[str, Any], at: float | None) -> None:
        content = mapping(document.get("message")).get("content")
        around: list[str] = []
        own: list[str] = []
        for part in [content] if isinstance(content, str) else items(content):
            if isinstance(part, dict) and part.get("type") == "tool_result":
                self._result(part, document.get("toolUseResult"))
                continue
            words = values.said(part)
            if words.startswith(_INTERRUPTED):
                self._step(self._key, at, kind="notice", text=words.strip("[]"))
                self.session.facts["ending"] = "aborted"
            elif document.get("isMeta") or document.get("isCompactSummary") or _SURROUNDINGS.match(words):
                around.append(words)
            elif words:
                own.append(words)
        if around:
            name = "compaction" if document.get("isCompactSummary") else ""
            self._step(f"{self._key}:context", at, kind="context", name=name, text="\n\n".join(around))
        if own:
            self._step(self._key, at, kind="user", text="\n".join(own))
            if not self.agent_path:
                self.session.facts["ending"] = ""

    def _result(self, part: dict[str, Any], native: object) -> None:
        call_id = text(part.get("tool_use_id"))[:150]
        if not call_id:
            return
        said, is_error = values.said(part.get("content")), bool(part.get("is_error"))
        done: dict[str, Any] = {"call_id": call_id, "result": said, "failed": is_error}
        found = mapping(native)
        if exited := _EXIT_CODE.match(said) if is_error else None:
            done["exit_code"] = int(exited[1])
        elif "stdout" in found and not is_error:
            output = [text(found.get("stdout")), text(found.get("stderr"))]
            done["result"] = "\n".join(part for part in output if part) or said
            # Some commands' status is interpreted instead of shown, such as that of grep.
            if not found.get("returnCodeInterpretation") and not found.get("interrupted"):
                done["exit_code"] = 0 if not found.get("backgroundTaskId") else None
        if not is_error and (path := text(found.get("filePath"))) and "structuredPatch" in found:
            done |= _real_edit(patches.within(path, self.cwd), found)
        if (milliseconds := found.get("durationMs")) is not None:
            number = values.count(milliseconds)
            done["seconds"] = None if number is None else number / 1000
        self._step(f"call:{call_id}", None, **done)

    def _system(self, document: dict[str, Any], at: float | None) -> None:
        subtype = text(document.get("subtype"))[:60]
        said = values.said(document.get("content")) or subtype.replace("_", " ")
        if said:
            self._step(self._key, at, kind="notice", name=subtype, text=said)

    def _attachment(self, attachment: dict[str, Any], at: float | None) -> None:
        name = text(attachment.get("type"))[:200]
        said = values.said(attachment.get("content")) or values.compact(
            {key: value for key, value in attachment.items() if key != "type"}
        )
        self._step(self._key, at, kind="context", name=name, text=said)

    def _step(self, key: str, at: float | None, **fields: Any) -> None:
        step = self.steps.get((self.session.thread_id, key))
        if step is None:
            step = self.steps[(self.session.thread_id, key)] = StepRecord(key=key)
            self.session.steps.append(step)
        if step.at is None:
            step.at = at
        if self.agent_path:
            step.agent_path = self.agent_path
        for name, value in fields.items():
            if name == "meta" and value:
                step.meta = {**(step.meta or {}), **value}
            elif value is not None:
                setattr(step, name, value)


def _most(known: int | None, found: int | None) -> int | None:
    return known if found is None else max(known or 0, found)


def _real_edit(path: str, found: dict[str, Any]) -> dict[str, Any]:
    """Return the diff of an edit that was made, from the result that only the transcript has."""
    structured = items(found.get("structuredPatch"))
    if structured:
        change, diff = "modified", patches.hunks(path, structured)
    elif text(found.get("type")) == "create":
        change, diff = "added", patches.whole_file(path, text(found.get("content")), "added")
    else:
        return {}
    return {"kind": "patch", "text": diff, "preview": path, "meta": {"files": [patches.counted(path, change, diff)]}}
