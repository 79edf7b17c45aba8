"""Reads Codex's rollouts: ~/.codex/sessions/**/rollout-*.jsonl, archived ones, plain or compressed.

Messages, reasoning and calls are taken from `response_item` lines, what really happened (commands, patches, MCP calls)
from `item_completed` ones, and usage from `token_usage_record`, or from `token_count` in rollouts without it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from traces.readers import lines, patches, tools, values
from traces.readers.base import Batch, ExchangeRecord, NotReadable, Problem, SessionRecords, StepRecord
from traces.readers.values import items, mapping, text

BATCH_STEPS = 3000
BATCH_BYTES = 32 * 1024 * 1024
# So many calls without a result, and steps without a usage record, are remembered from one read to the next.
REMEMBERED = 500

_EXITED = re.compile(r"^(?:Process exited with code|Exit code:) (-?\d{1,9})$", re.MULTILINE)
_ENDINGS = {"task_complete": "completed", "turn_aborted": "aborted", "task_started": ""}
_QUIET_ITEMS = {"UserMessage", "Reasoning", "AgentMessage"}
_CHANGES = {"add": "added", "delete": "deleted", "update": "modified"}


class CodexReader:
    """Rollouts of the Codex CLI."""

    name = "codex"
    label = "Codex rollout"

    def recognises(self, path: Path) -> bool:
        if not lines.is_lines(path):
            return False
        if path.name.startswith("rollout-"):
            return True
        try:
            with lines.opened(path) as file:
                head = file.read(300)
        except NotReadable:
            return False
        return b'"session_meta"' in head

    def read(self, path: Path, position: dict[str, Any]) -> Iterator[Batch]:
        if lines.unchanged(path, position):
            return
        stat = lines.stat_of(path)
        position = dict(position)
        parser = _Rollout(path, position)
        for line in lines.read_lines(path, position):
            if parser.path_state is not position.get("state"):
                parser.restart(position)
            parser.take(line)
            if parser.is_full:
                yield parser.batch(position)
        yield parser.batch(position | {"stat": stat})


class _Rollout:
    """What has been read of one rollout. All that must outlast a read lies in `path_state`, which is JSON."""

    def __init__(self, path: Path, position: dict[str, Any]) -> None:
        self.path = path
        self.restart(position)
        self._begin()

    def restart(self, position: dict[str, Any]) -> None:
        """Take up the state of an earlier read, or begin anew for a file that was replaced."""
        self.path_state: dict[str, Any] = position.setdefault("state", {})

    def _begin(self) -> None:
        self.steps: dict[str, StepRecord] = {}
        self.exchanges: list[ExchangeRecord] = []
        self.facts: dict[str, str] = {}
        self.problems: list[Problem] = []
        self._offset_at_start: int | None = None
        self._bytes = 0

    @property
    def is_full(self) -> bool:
        return len(self.steps) >= BATCH_STEPS or self._bytes >= BATCH_BYTES

    @property
    def thread_id(self) -> str:
        """The id that the rollout names, else the one in its file's name, else one made of the name."""
        if named := self.path_state.get("thread"):
            return str(named)
        found = re.search(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.jsonl", self.path.name)
        return found[1] if found else "file-" + values.digest(self.path.name)[:32]

    def batch(self, position: dict[str, Any]) -> Batch:
        """Return what has been taken since the last batch."""
        records = SessionRecords(
            agent="codex",
            thread_id=self.thread_id,
            source=CodexReader.name,
            label=self.path.name,
            facts=self.facts,
            steps=list(self.steps.values()),
            exchanges=self.exchanges,
        )
        has_any = bool(self.steps or self.exchanges or self.facts)
        batch = Batch(
            sessions=[records] if has_any else [],
            position={**position, "state": {**self.path_state}},
            problems=self.problems,
        )
        self._begin()
        return batch

    def take(self, line: lines.Line) -> None:
        """Read one line."""
        if line.document is None:
            self.problems.append(Problem(file=str(self.path), place=f"line {line.number}", message=line.fault))
            if line.too_long:
                self._step(f"line:{line.offset}", None, kind="notice", text=f"Line {line.number} {line.fault}.")
            return
        document, at = line.document, values.moment(line.document.get("timestamp"))
        if self._offset_at_start is None:
            self._offset_at_start = line.offset
        self._bytes = line.offset - self._offset_at_start
        self._anonymous = f"at:{line.offset}"
        take = _TAKERS.get(text(document.get("type")))
        if take is not None:
            take(self, mapping(document.get("payload")), at)

    # The lines by their type.

    def _meta(self, payload: dict[str, Any], at: float | None) -> None:
        thread = values.safe_id(payload.get("id"))
        # A rollout that goes on from another begins with that one's line as well.
        if not thread or self.path_state.get("thread"):
            return
        self.path_state["thread"] = thread
        git = mapping(payload.get("git"))
        source = mapping(mapping(mapping(payload.get("source")).get("subagent")).get("thread_spawn"))
        parent = payload.get("parent_thread_id") or source.get("parent_thread_id")
        self._fact("agent_version", payload.get("cli_version"))
        self._fact("cwd", payload.get("cwd"))
        self.path_state["cwd"] = text(payload.get("cwd"))[:1000]
        self._fact("repository", git.get("repository_url"))
        self._fact("branch", git.get("branch"))
        self._fact("commit", git.get("commit_hash"))
        self._fact("parent_thread_id", values.safe_id(parent))

    def _turn_context(self, payload: dict[str, Any], at: float | None) -> None:
        if model := text(payload.get("model")):
            self.path_state["model"] = model[:120]
        if cwd := text(payload.get("cwd")):
            self.path_state["cwd"] = cwd[:1000]

    def _usage(self, payload: dict[str, Any], at: float | None) -> None:
        """A model's answer and its usage. A rollout that goes on from another repeats that one's: not counted."""
        if values.safe_id(payload.get("thread_id")) not in ("", self.thread_id):
            return
        key = text(payload.get("response_id"))[:200]
        self.path_state["records"] = True
        self._answer(key or self._anonymous, key, mapping(payload.get("usage")), at)

    def _token_count(self, payload: dict[str, Any], at: float | None) -> None:
        """The sums of a rollout without usage records; said again unchanged whenever limits change."""
        info = mapping(payload.get("info"))
        total = mapping(info.get("total_token_usage"))
        if self.path_state.get("records") or not total:
            return
        sums = [values.count(total.get(name)) for name in ("input_tokens", "output_tokens", "total_tokens")]
        if sums == self.path_state.get("total"):
            return
        self.path_state["total"] = sums
        self._answer(self._anonymous, "", mapping(info.get("last_token_usage")), at)

    def _answer(self, key: str, response_id: str, usage: dict[str, Any], at: float | None) -> None:
        self.exchanges.append(
            ExchangeRecord(
                key=key,
                response_id=response_id,
                ended_at=at,
                model=self.path_state.get("model", ""),
                tokens_input=values.count(usage.get("input_tokens")),
                tokens_cached=values.count(usage.get("cached_input_tokens")),
                tokens_cache_write=values.count(usage.get("cache_write_input_tokens")),
                tokens_output=values.count(usage.get("output_tokens")),
                tokens_reasoning=values.count(usage.get("reasoning_output_tokens")),
            )
        )
        self.path_state["answer"] = key
        for step in self.path_state.pop("pending", []):
            self._step(step, None, exchange=key)

    def _item(self, payload: dict[str, Any], at: float | None) -> None:
        kind = text(payload.get("type"))
        if kind in ("message", "agent_message"):
            self._message(payload, at)
        elif kind == "reasoning":
            self._reasoning(payload, at)
        elif kind.endswith("_call_output"):
            self._output(payload)
        elif kind in ("function_call", "custom_tool_call", "local_shell_call"):
            self._call(payload, at)
        elif kind in ("compaction", "compaction_summary", "context_compaction"):
            self._step(self._id(payload), at, kind="notice", name="compaction", text="The context was compacted.")
        elif kind.endswith("_call"):
            said = {name: value for name, value in payload.items() if name not in ("type", "id", "status")}
            self._said(self._id(payload), at, kind="tool", name=kind.removesuffix("_call"), text=values.compact(said))

    def _message(self, payload: dict[str, Any], at: float | None) -> None:
        role, key = text(payload.get("role")), self._id(payload)
        if role == "assistant":
            self._said(key, at, kind="assistant", text=values.said(payload.get("content")))
            return
        kinds = items(mapping(payload.get("internal_chat_message_metadata_passthrough")).get("content_item_kinds"))
        own: list[str] = []
        around: list[str] = []
        for index, part in enumerate(items(payload.get("content")) or [payload.get("content")]):
            words = values.said(part)
            kind = text(kinds[index]) if index < len(kinds) else ""
            is_own = kind.startswith("user.") if kind else not tools.SURROUNDINGS.match(words)
            (own if role == "user" and is_own else around).append(words)
        if around:
            self._step(f"{key}:context", at, kind="context", name=role[:40], text="\n\n".join(around))
        if own:
            self._step(key, at, kind="user", text="\n".join(own))

    def _reasoning(self, payload: dict[str, Any], at: float | None) -> None:
        said = values.said(payload.get("summary")) or values.said(payload.get("content"))
        if said:
            self._said(self._id(payload), at, kind="reasoning", text=said)

    def _call(self, payload: dict[str, Any], at: float | None) -> None:
        call_id = text(payload.get("call_id"))[:150] or self._id(payload)
        given = payload.get("input", payload.get("arguments", payload.get("action")))
        arguments = values.compact(given if given is not None else {})
        name = tools.tool_name(payload)
        command = tools.command_of(name, given)
        step: dict[str, Any] = {"kind": "tool", "name": name, "call_id": call_id, "text": arguments}
        if command is not None:
            step["preview"] = command
            if "*** Begin Patch" in command:
                arguments = command
        if "*** Begin Patch" in arguments and (command is not None or name.endswith("apply_patch")):
            files = patches.of_apply_patch(arguments, self.path_state.get("cwd", ""))
            step |= {"kind": "patch", "text": arguments, "preview": patches.named(files), "meta": {"files": files}}
        elif name == "functions.exec":
            step["meta"] = {"language": "javascript"}
        self._remember("calls", call_id)
        self._said(f"call:{call_id}", at, **step)

    def _output(self, payload: dict[str, Any]) -> None:
        call_id = text(payload.get("call_id"))[:150]
        done = self.path_state.get("done", [])
        if not call_id or call_id in done:
            # The item of the call has told its result, without what is written around it for the model.
            return
        said = values.said(payload.get("output"))
        exit_code = None
        if said.startswith("{") and '"metadata"' in said:
            said, exit_code = _old_output(said)
        elif found := _EXITED.search(said[:400]):
            exit_code = int(found[1])
        failed = None if exit_code is None else exit_code != 0
        self._step(f"call:{call_id}", None, call_id=call_id, result=said, exit_code=exit_code, failed=failed)

    def _event(self, payload: dict[str, Any], at: float | None) -> None:
        kind = text(payload.get("type"))
        if kind in _ENDINGS:
            failed = kind == "task_complete" and bool(payload.get("error"))
            self.facts["ending"] = "failed" if failed else _ENDINGS[kind]
        if kind == "item_completed":
            self._completed(payload, at)
        elif kind == "token_count":
            self._token_count(payload, at)
        elif kind == "turn_aborted":
            self._notice(at, f"Turn aborted: {text(payload.get('reason')) or 'no reason given'}")
        elif kind in ("error", "stream_error", "warning"):
            self._notice(at, f"{kind.replace('_', ' ')}: {text(payload.get('message'))}")
        elif kind == "task_complete" and payload.get("error"):
            self._notice(at, f"Turn failed: {values.compact(payload['error'])}")

    def _compacted(self, payload: dict[str, Any], at: float | None) -> None:
        self._notice(at, "The context was compacted. " + text(payload.get("message")))

    def _completed(self, payload: dict[str, Any], at: float | None) -> None:
        item = mapping(payload.get("item"))
        kind, key = text(item.get("type")), text(item.get("id"))[:150]
        begun = values.moment(payload.get("started_at_ms")) or at
        if not key or kind in _QUIET_ITEMS:
            return
        done: dict[str, Any] = {"call_id": key, "seconds": _seconds(item.get("duration"))}
        if kind == "CommandExecution":
            done |= self._executed(item)
        elif kind == "FileChange":
            done |= self._changed(item)
        elif kind == "McpToolCall":
            done |= _mcp_called(item)
        elif kind == "ContextCompaction":
            self._notice(at, "The context was compacted.")
            return
        else:
            return
        self._remember("done", key)
        # What code asked for has no call of its own in the answer; what has one knows its answer already.
        own = key in self.path_state.get("calls", [])
        self._step(f"call:{key}", begun, exchange=None if own else self.path_state.get("answer"), **done)

    def _executed(self, item: dict[str, Any]) -> dict[str, Any]:
        argv = [part for part in items(item.get("command")) if isinstance(part, str)]
        is_shell = len(argv) == 3 and argv[1] in ("-c", "-lc")
        command = argv[2] if is_shell else " ".join(argv)
        exit_code = values.small(item.get("exit_code"))
        failed = None if exit_code is None else exit_code != 0
        return {
            "kind": "tool",
            "name": "shell",
            "text": command,
            "preview": command,
            "result": values.said(item.get("aggregated_output")),
            "exit_code": exit_code,
            "failed": text(item.get("status")) in ("failed", "declined") if failed is None else failed,
            "meta": {"cwd": text(item.get("cwd")).removeprefix("file://")[:500]},
        }

    def _changed(self, item: dict[str, Any]) -> dict[str, Any]:
        files, diffs = [], []
        for path, change in sorted(mapping(item.get("changes")).items()):
            change = mapping(change)
            shown = patches.within(path, self.path_state.get("cwd", ""))
            does = _CHANGES.get(text(change.get("type")), "modified")
            if does == "modified":
                diff = patches.heading(shown, does) + text(change.get("unified_diff"))
                diff += "" if diff.endswith("\n") else "\n"
            else:
                diff = patches.whole_file(shown, text(change.get("content")), does)
            file = patches.counted(shown, does, diff)
            if moved := text(change.get("move_path")):
                file |= {"change": "renamed", "to": patches.within(moved, self.path_state.get("cwd", ""))[:500]}
            files.append(file)
            diffs.append(diff)
        result = "\n".join(part for part in (text(item.get("stdout")), text(item.get("stderr"))) if part)
        return {
            "kind": "patch",
            "name": "apply_patch",
            "text": "".join(diffs),
            "preview": patches.named(files),
            "result": result,
            "failed": text(item.get("status")) in ("failed", "declined"),
            "meta": {"files": files[: patches.FILES_TOLD]},
        }

    # What all of them use.

    def _id(self, payload: dict[str, Any]) -> str:
        return text(payload.get("id"))[:150] or self._anonymous

    def _fact(self, name: str, value: object) -> None:
        if said := text(value):
            self.facts[name] = said

    def _notice(self, at: float | None, said: str) -> None:
        self._step(self._anonymous, at, kind="notice", text=said)

    def _said(self, key: str, at: float | None, **fields: Any) -> None:
        """A step that the model's present answer holds; its usage comes in a later line."""
        self._step(key, at, **fields)
        self._remember("pending", key)

    def _remember(self, name: str, key: str) -> None:
        remembered = self.path_state.setdefault(name, [])
        remembered.append(key)
        del remembered[:-REMEMBERED]

    def _step(self, key: str, at: float | None, **fields: Any) -> None:
        step = self.steps.get(key)
        if step is None:
            step = self.steps[key] = StepRecord(key=key)
        if step.at is None:
            step.at = at
        for name, value in fields.items():
            if name == "meta" and value:
                step.meta = {**(step.meta or {}), **value}
            elif value is not None:
                setattr(step, name, value)


_TAKERS: dict[str, Callable[[_Rollout, dict[str, Any], float | None], None]] = {
    "session_meta": _Rollout._meta,
    "turn_context": _Rollout._turn_context,
    "response_item": _Rollout._item,
    "event_msg": _Rollout._event,
    "token_usage_record": _Rollout._usage,
    "compacted": _Rollout._compacted,
}


def _old_output(said: str) -> tuple[str, int | None]:
    """Read {"output", "metadata": {"exit_code"}}, in which older versions wrapped what a command wrote."""
    try:
        document = mapping(values.parsed(said))
    except ValueError:
        return said, None
    if not isinstance(document.get("output"), str):
        return said, None
    return document["output"], values.small(mapping(document.get("metadata")).get("exit_code"))


def _mcp_called(item: dict[str, Any]) -> dict[str, Any]:
    result = mapping(item.get("result"))
    error = item.get("error")
    said = values.said(result.get("content")) if result else values.compact(error) if error else ""
    failed = bool(error) or bool(result.get("isError")) or text(item.get("status")) == "failed"
    return {
        "kind": "tool",
        "name": f"mcp__{text(item.get('server'))}__{text(item.get('tool'))}"[:200],
        "text": values.compact(item.get("arguments") or {}),
        "result": said,
        "failed": failed,
    }


def _seconds(duration: object) -> float | None:
    """Read {"secs", "nanos"}."""
    document = mapping(duration)
    secs, nanos = values.count(document.get("secs")), values.count(document.get("nanos"))
    return None if secs is None or nanos is None else secs + nanos / 1e9
