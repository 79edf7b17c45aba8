"""A scripted model service: plays fixed steps over Anthropic's Messages API, so that Claude Code runs without a model.

    with scripted_messages([Step(items=[bash("echo hi > hi.txt")]), Step(items=[say("Done.")])]) as server:
        environment = {"ANTHROPIC_BASE_URL": server.url, "ANTHROPIC_API_KEY": "x"}

Which step is played follows from the request alone, as in responses.py: each tool call's id carries the number of its
step. Requests that offer no tools (titles, summaries) are answered beside the script. Standard library only.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Item = dict[str, Any]
TOOL_ID = re.compile(r"toolu_s(\d+)_")


@dataclass(frozen=True, kw_only=True)
class Step:
    """One answer of the model. `input_tokens` are those that are neither read from nor written to the cache."""

    items: Sequence[Item] = ()
    input_tokens: int = 800
    cached_tokens: int = 200
    cache_write_tokens: int = 0
    output_tokens: int = 50
    # Seconds between two events of the stream.
    pace_s: float = 0.0
    # Other than 200: no stream, but this status with `error` in the body.
    status: int = 200
    # With status 200: the stream ends with an error event and this.
    error: dict[str, str] | None = None
    # The stream is cut off after the items.
    drops: bool = False
    # Nothing is ever answered.
    hangs: bool = False
    # How the answer ends; "" for end_turn, or tool_use when there is a call.
    stop_reason: str = ""
    # So many bytes of text come first.
    pad_bytes: int = 0


def say(text: str) -> Item:
    """Return a block of text."""
    return {"type": "text", "text": text}


def think(text: str) -> Item:
    """Return a block of reasoning."""
    return {"type": "thinking", "thinking": text, "signature": "c2ln"}


def tool(name: str, **arguments: Any) -> Item:
    """Return a call of a tool by the end of its name, so that mcp__server__tool is found by its last part."""
    return {"type": "tool_use", "name": name, "input": arguments}


def bash(command: str) -> Item:
    """Return a call of the shell."""
    return tool("Bash", command=command, description="scripted")


def http_error(status: int, message: str, kind: str = "invalid_request_error") -> Step:
    """Return a step that is answered with an HTTP error."""
    return Step(status=status, error={"type": kind, "message": message})


class ScriptedMessages:
    """The running server. `requests` are those received so far: method, path, headers, body, step (None: beside)."""

    def __init__(self, steps: Sequence[Step], host: str, port: int) -> None:
        self.steps = list(steps)
        self.requests: list[dict[str, Any]] = []
        self.closing = threading.Event()
        self._server = ThreadingHTTPServer((host, port), type("Handler", (_Handler,), {"script": self}))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        """The base URL as ANTHROPIC_BASE_URL has it: without /v1."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    @property
    def turns(self) -> list[dict[str, Any]]:
        """The requests that were answered from the script."""
        return [request for request in self.requests if request["step"] is not None]

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def scripted_messages(steps: Sequence[Step], host: str = "127.0.0.1", port: int = 0) -> Iterator[ScriptedMessages]:
    """Run the server, on a free port by default, for as long as the block lasts."""
    server = ScriptedMessages(steps, host, port)
    server.start()
    try:
        yield server
    finally:
        server.close()


class _Handler(BaseHTTPRequestHandler):
    script: ScriptedMessages
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: tests read `requests`."""

    def do_GET(self) -> None:
        self._note(None, None)
        found = self.path.split("?")[0].endswith("/models")
        self._json(200 if found else 404, {"data": [], "has_more": False})

    do_HEAD = do_GET

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        path = self.path.split("?")[0]
        if path.endswith("/count_tokens"):
            self._note(body, None)
            self._json(200, {"input_tokens": 1000})
        elif not path.endswith("/messages"):
            self._note(body, None)
            self._json(404, {"type": "error", "error": {"type": "not_found_error", "message": path}})
        elif not body.get("tools"):
            self._note(body, None)
            self._answer(0, Step(items=[say("Scripted")], input_tokens=10, cached_tokens=0, output_tokens=2), body)
        else:
            number = 1 + max(_steps_answered(body), default=-1)
            self._note(body, number)
            steps = self.script.steps
            self._answer(number, steps[number] if number < len(steps) else Step(items=[say("(over)")]), body)

    def _note(self, body: Any, number: int | None) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.script.requests.append(
            {"method": self.command, "path": self.path, "headers": headers, "body": body, "step": number}
        )

    def _json(self, status: int, document: dict[str, Any]) -> None:
        data = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _answer(self, number: int, step: Step, body: dict[str, Any]) -> None:
        if step.hangs:
            self.script.closing.wait()
            self.close_connection = True
            return
        if step.status != 200:
            self._json(step.status, {"type": "error", "error": step.error or {}})
            return
        blocks = [_rendered(item, body, f"toolu_s{number}_{index}") for index, item in enumerate(step.items)]
        calls = any(block["type"] == "tool_use" for block in blocks)
        reason = step.stop_reason or ("tool_use" if calls else "end_turn")
        message = {
            **{"id": f"msg_{len(self.script.requests)}_{number}", "type": "message", "role": "assistant"},
            **{"model": body.get("model"), "content": [], "stop_reason": None, "stop_sequence": None},
            "usage": _usage(step),
        }
        if body.get("stream"):
            self._stream(step, message, blocks, reason)
        else:
            self._json(200, {**message, "content": blocks, "stop_reason": reason})

    def _stream(self, step: Step, message: dict[str, Any], blocks: list[Item], reason: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("request-id", f"req_{message['id']}")
        self.end_headers()
        self._event(step, "message_start", message={**message, "usage": {**message["usage"], "output_tokens": 1}})
        if step.pad_bytes:
            blocks = [say("x" * step.pad_bytes), *blocks]
        for index, block in enumerate(blocks):
            self._block(step, index, block)
        if step.drops:
            self.close_connection = True
            return
        if step.error is not None:
            self._event(step, "error", error=step.error)
        else:
            usage = {"output_tokens": step.output_tokens}
            self._event(step, "message_delta", delta={"stop_reason": reason, "stop_sequence": None}, usage=usage)
            self._event(step, "message_stop")
        self.wfile.write(b"0\r\n\r\n")

    def _block(self, step: Step, index: int, block: Item) -> None:
        field, kind, text = {
            "text": ("text", "text_delta", block.get("text", "")),
            "thinking": ("thinking", "thinking_delta", block.get("thinking", "")),
            "tool_use": ("partial_json", "input_json_delta", json.dumps(block.get("input"))),
        }[block["type"]]
        empty = {**block, "input": {}} if block["type"] == "tool_use" else {**block, field: ""}
        self._event(step, "content_block_start", index=index, content_block=empty)
        size = 8192 if len(text) > 8192 else 7
        for start in range(0, len(text), size):
            delta = {"type": kind, field: text[start : start + size]}
            self._event(step, "content_block_delta", index=index, delta=delta)
        self._event(step, "content_block_stop", index=index)

    def _event(self, step: Step, kind: str, **fields: Any) -> None:
        data = f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()
        if step.pace_s:
            self.script.closing.wait(step.pace_s)


def _usage(step: Step) -> dict[str, int]:
    return {
        "input_tokens": step.input_tokens,
        "cache_read_input_tokens": step.cached_tokens,
        "cache_creation_input_tokens": step.cache_write_tokens,
        "output_tokens": step.output_tokens,
    }


def _steps_answered(body: dict[str, Any]) -> Iterator[int]:
    for message in body.get("messages") or []:
        content = message.get("content")
        for part in content if isinstance(content, list) else []:
            if part.get("type") == "tool_result" and (found := TOOL_ID.match(str(part.get("tool_use_id", "")))):
                yield int(found.group(1))


def _rendered(item: Item, body: dict[str, Any], call_id: str) -> Item:
    """Name a call as this client offers the tool."""
    if item["type"] != "tool_use":
        return dict(item)
    offered = [str(offer.get("name", "")) for offer in body.get("tools") or []]
    wanted = item["name"]
    name = next((o for o in offered if o == wanted or o.endswith(f"__{wanted.replace('.', '_')}")), wanted)
    return {**item, "name": name, "id": call_id}
