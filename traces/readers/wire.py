"""Reads what passed over the wire: requests and answers of the Responses, Messages and Chat Completions APIs.

From the wire one sees what the model was told and what it asked for, not what a command really did.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from traces.readers import patches, tools, values
from traces.readers.base import StepRecord
from traces.readers.values import items, mapping, text

# The items of a request's history have one of these names.
HISTORY = ("input", "messages")
_CLAUDE_MARKS = ("<system-reminder>", "<local-command-", "<command-stdout>")


@dataclass(slots=True, kw_only=True)
class Block:
    """One part of a message: something said, or a call, or a call's result (`kind` "result")."""

    kind: str
    text: str = ""
    name: str = ""
    call_id: str = ""
    failed: bool | None = None


@dataclass(slots=True, kw_only=True)
class Answered:
    """What an answer holds. `usage` is as the service said it; None is not said."""

    blocks: list[Block]
    response_id: str = ""
    model: str = ""
    stop_reason: str = ""
    usage: dict[str, Any] | None = None
    error: str = ""


def split_request(body: object) -> tuple[dict[str, Any], list[Any]]:
    """Return a request without its history, and the history."""
    head = dict(mapping(body))
    history: list[Any] = []
    for name in HISTORY:
        given = head.get(name)
        if isinstance(given, list):
            history = head.pop(name)
        elif isinstance(given, str) and name == "input":
            history = [{"type": "message", "role": "user", "content": head.pop(name)}]
    return head, history


def message_blocks(message: object) -> list[Block]:
    """Return the parts of one item of a request's history; [] for what nobody said, such as a list of tools."""
    message = mapping(message)
    kind, role = text(message.get("type")), text(message.get("role"))
    if kind in ("", "message", "agent_message") and role:
        return _role_blocks(role, message)
    if kind.endswith("_output"):
        return [Block(kind="result", text=values.said(message.get("output")), call_id=_call_id(message))]
    if kind == "reasoning":
        return _reasoning(message)
    if kind.endswith("_call"):
        return [_responses_call(message)]
    return []


def _role_blocks(role: str, message: dict[str, Any]) -> list[Block]:
    content = message.get("content")
    if role == "tool":
        return [Block(kind="result", text=values.said(content), call_id=text(message.get("tool_call_id"))[:150])]
    if role in ("system", "developer"):
        return [Block(kind="context", text=values.said(content), name=role)]
    blocks = []
    for part in [content] if isinstance(content, str) else items(content):
        blocks += _part_blocks(role, part)
    blocks += [_chat_call(call) for call in items(message.get("tool_calls"))]
    return blocks


def _part_blocks(role: str, part: object) -> list[Block]:
    kind = text(mapping(part).get("type"))
    if kind == "tool_result":
        part = mapping(part)
        said = values.said(part.get("content"))
        failed = bool(part.get("is_error"))
        return [Block(kind="result", text=said, call_id=text(part.get("tool_use_id"))[:150], failed=failed)]
    if kind.endswith("tool_use"):
        return [_messages_call(mapping(part))]
    if kind == "thinking":
        said = text(mapping(part).get("thinking"))
        return [Block(kind="reasoning", text=said)] if said else []
    if kind == "redacted_thinking":
        return []
    said = values.said(part if not isinstance(part, dict) else [part])
    if not said:
        return []
    if role == "assistant":
        return [Block(kind="assistant", text=said)]
    is_added = said.lstrip().startswith(_CLAUDE_MARKS) or tools.SURROUNDINGS.match(said)
    return [Block(kind="context" if is_added else "user", text=said)]


def _reasoning(item: dict[str, Any]) -> list[Block]:
    said = values.said(item.get("summary")) or values.said(item.get("content"))
    return [Block(kind="reasoning", text=said)] if said else []


def _call_id(item: dict[str, Any]) -> str:
    return (text(item.get("call_id")) or text(item.get("id")))[:150]


def _responses_call(item: dict[str, Any]) -> Block:
    given = item.get("input", item.get("arguments", item.get("action")))
    return Block(kind="call", name=tools.tool_name(item), call_id=_call_id(item), text=values.compact(given or {}))


def _messages_call(part: dict[str, Any]) -> Block:
    name, call_id = text(part.get("name"))[:200], text(part.get("id"))[:150]
    return Block(kind="call", name=name, call_id=call_id, text=values.compact(mapping(part.get("input"))))


def _chat_call(call: object) -> Block:
    function = mapping(mapping(call).get("function"))
    call_id = text(mapping(call).get("id"))[:150]
    return Block(
        kind="call", name=text(function.get("name"))[:200], call_id=call_id, text=text(function.get("arguments"))
    )


# Answers


def read_answer(body: str) -> Answered:
    """Read an answer: a stream of events or one JSON document. What is neither has no blocks."""
    answered = Answered(blocks=[])
    if body.lstrip()[:1] == "{":
        try:
            document = values.parsed(body)
        except ValueError:
            return answered
        _read_document(mapping(document), answered)
        return answered
    assembly = _Assembly(answered)
    for event in events(body):
        assembly.take(event)
    assembly.finish()
    return answered


def events(body: str) -> Iterator[dict[str, Any]]:
    """Yield the events of a stream that are JSON objects; the text deltas of the Responses API are passed over."""
    for line in body.split("\n"):
        if not line.startswith("data:") or '"response.output_text.delta"' in line or '.delta","item_id' in line:
            continue
        data = line[5:].strip()
        if data[:1] != "{":
            continue
        try:
            event = values.parsed(data)
        except ValueError:
            continue
        if isinstance(event, dict):
            yield event


def _read_document(document: dict[str, Any], answered: Answered) -> None:
    answered.response_id = text(document.get("id"))[:200]
    answered.model = text(document.get("model"))[:120]
    if isinstance(document.get("usage"), dict):
        answered.usage = document["usage"]
    if error := document.get("error"):
        answered.error = (values.text(mapping(error).get("message")) or values.compact(error))[:1000]
    answered.stop_reason = text(document.get("stop_reason"))[:60] or text(document.get("status"))[:60]
    for item in items(document.get("output")):
        answered.blocks += message_blocks(item)
    if document.get("type") == "message":
        answered.blocks += _role_blocks("assistant", document)
    for choice in items(document.get("choices")):
        answered.blocks += _role_blocks("assistant", mapping(mapping(choice).get("message")))
        answered.stop_reason = text(mapping(choice).get("finish_reason"))[:60]


class _Assembly:
    """Puts an answer together from the events of a stream."""

    def __init__(self, answered: Answered) -> None:
        self.answered = answered
        self.last: dict[str, Any] = {}
        # Of the Messages API by index, of Chat Completions by index of the tool call; -1 is the text.
        self.parts: dict[int, dict[str, Any]] = {}
        self.calls: dict[int, dict[str, Any]] = {}
        self.said: list[str] = []

    def take(self, event: dict[str, Any]) -> None:
        kind = text(event.get("type"))
        if kind == "response.output_item.done":
            self.answered.blocks += message_blocks(event.get("item"))
        elif kind.startswith("response."):
            if isinstance(event.get("response"), dict):
                self.last = event["response"]
        elif kind == "message_start":
            self._begin(mapping(event.get("message")))
        elif kind.startswith("content_block_"):
            self._block(kind, event)
        elif kind == "message_delta":
            self._usage(mapping(event.get("usage")))
            self.answered.stop_reason = text(mapping(event.get("delta")).get("stop_reason"))[:60]
        elif kind == "error" or "error" in event:
            self.answered.error = values.compact(event.get("error") or event)[:1000]
        elif isinstance(event.get("choices"), list):
            self._choice(event)

    def finish(self) -> None:
        answered = self.answered
        for _, part in sorted(self.parts.items()):
            if "json" in part:
                part["input"] = _object_of("".join(part.pop("json"))) or part.get("input")
            answered.blocks += _part_blocks("assistant", part)
        if self.said:
            answered.blocks.append(Block(kind="assistant", text="".join(self.said)))
        answered.blocks += [_chat_call(call) for _, call in sorted(self.calls.items())]
        if self.last:
            blocks = answered.blocks
            answered.blocks = []
            _read_document(self.last, answered)
            # The last event may repeat what came before it, or be all there is.
            answered.blocks = blocks or answered.blocks

    def _begin(self, message: dict[str, Any]) -> None:
        self.answered.response_id = text(message.get("id"))[:200]
        self.answered.model = text(message.get("model"))[:120]
        self._usage(mapping(message.get("usage")))

    def _usage(self, usage: dict[str, Any]) -> None:
        if usage:
            self.answered.usage = {**(self.answered.usage or {}), **usage}

    def _block(self, kind: str, event: dict[str, Any]) -> None:
        index = values.small(event.get("index")) or 0
        if kind == "content_block_start":
            self.parts[index] = dict(mapping(event.get("content_block")))
            return
        part, delta = self.parts.get(index), mapping(event.get("delta"))
        if part is None or not delta:
            return
        if isinstance(delta.get("partial_json"), str):
            part.setdefault("json", []).append(delta["partial_json"])
        for name in ("text", "thinking"):
            if isinstance(delta.get(name), str):
                part[name] = text(part.get(name)) + delta[name]

    def _choice(self, event: dict[str, Any]) -> None:
        self.answered.response_id = text(event.get("id"))[:200] or self.answered.response_id
        self.answered.model = text(event.get("model"))[:120] or self.answered.model
        if isinstance(event.get("usage"), dict):
            self.answered.usage = event["usage"]
        for choice in items(event.get("choices"))[:1]:
            delta = mapping(mapping(choice).get("delta"))
            self.answered.stop_reason = text(mapping(choice).get("finish_reason"))[:60] or self.answered.stop_reason
            if isinstance(delta.get("content"), str):
                self.said.append(delta["content"])
            for piece in items(delta.get("tool_calls")):
                self._call_piece(mapping(piece))

    def _call_piece(self, piece: dict[str, Any]) -> None:
        call = self.calls.setdefault(values.small(piece.get("index")) or 0, {"function": {"name": "", "arguments": ""}})
        call["id"] = text(piece.get("id")) or call.get("id", "")
        function = mapping(piece.get("function"))
        call["function"]["name"] += text(function.get("name"))
        call["function"]["arguments"] += text(function.get("arguments"))


def _object_of(said: str) -> dict[str, Any]:
    try:
        return mapping(values.parsed(said))
    except ValueError:
        return {}


# Steps


def step_of(block: Block, key: str, at: float | None, exchange: str | None = None) -> StepRecord:
    """Return the step that a part of a message is. A call and its result share a key made of the call's id."""
    if block.kind == "result":
        return StepRecord(
            key=f"call:{block.call_id}" if block.call_id else key,
            call_id=block.call_id or None,
            result=block.text,
            failed=block.failed,
        )
    if block.kind != "call":
        return StepRecord(key=key, kind=block.kind, name=block.name or None, text=block.text, at=at, exchange=exchange)
    step = StepRecord(
        key=f"call:{block.call_id}" if block.call_id else key,
        kind="tool",
        name=block.name,
        call_id=block.call_id or None,
        text=block.text,
        at=at,
        exchange=exchange,
    )
    _describe_call(step, block)
    return step


def _describe_call(step: StepRecord, block: Block) -> None:
    """Give commands and patches their own form."""
    command = tools.command_of(block.name, block.text)
    if command is None and block.name == "Bash":
        command = text(_object_of(block.text).get("command")) or None
    if command is not None:
        step.preview = command
        step.text = command if block.name == "Bash" else block.text
    patch = command if command and "*** Begin Patch" in command else None
    if block.name.endswith("apply_patch"):
        patch = block.text
    if patch:
        files = patches.of_apply_patch(patch)
        step.kind, step.text, step.preview, step.meta = "patch", patch, patches.named(files), {"files": files}
    elif block.name in tools.EDITS:
        _describe_edit(step, block)
    elif block.name == "functions.exec":
        step.meta = {"language": "javascript"}


def _describe_edit(step: StepRecord, block: Block) -> None:
    given = _object_of(block.text)
    if path := text(given.get("file_path")) or text(given.get("notebook_path")):
        change = "added" if block.name == "Write" else "modified"
        diff = tools.asked_edit(path, block.name, given)
        step.kind, step.text, step.preview = "patch", diff, path
        step.meta = {"files": [patches.counted(path, change, diff)]}
