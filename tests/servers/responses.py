"""A scripted model service: plays fixed steps over the Responses API, so that a real agent runs without a model.

    with scripted_responses([Step(items=[shell("echo hi > hi.txt")]), Step(items=[say("Done.")])]) as server:
        base_url = server.url

Which step is played follows from the request alone: each call id carries the number of its step, and the agent
sends it back with the call's output. A retried request therefore meets the same step again. Standard library only,
so that a process outside of the tests can run it too.
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
CALL_ID = re.compile(r"call_s(\d+)_")


@dataclass(frozen=True, kw_only=True)
class Step:
    """One answer of the model."""

    items: Sequence[Item] = ()
    input_tokens: int = 1000
    cached_tokens: int = 200
    output_tokens: int = 50
    # Seconds between two events of the stream.
    pace_s: float = 0.0
    # Other than 200: no stream, but this status with `error` in the body.
    status: int = 200
    # With status 200: the stream ends with response.failed and this.
    error: dict[str, str] | None = None
    # The stream is cut off after the items.
    drops: bool = False
    # Nothing is ever answered.
    hangs: bool = False
    # The stream ends with response.incomplete and this reason.
    incomplete: str = ""
    # So many bytes of text come first.
    pad_bytes: int = 0


def say(text: str) -> Item:
    """Return the message that ends a turn."""
    return {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}


def refuse(text: str) -> Item:
    """Return a message in which the model declines."""
    return {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": text}]}


def shell(command: str) -> Item:
    """Return a call of whichever shell tool the agent offers."""
    return {"type": "shell", "command": command}


def patch(text: str) -> Item:
    """Return a call of whichever patch tool the agent offers; `text` is in the *** Begin Patch format."""
    return {"type": "patch", "patch": text}


def http_error(status: int, message: str, code: str = "") -> Step:
    """Return a step that is answered with an HTTP error."""
    return Step(status=status, error={"message": message, "code": code, "type": code})


class ScriptedResponses:
    """The running server. `requests` are those received so far: method, path, headers, body, step."""

    def __init__(self, steps: Sequence[Step], host: str) -> None:
        self.steps = list(steps)
        self.requests: list[dict[str, Any]] = []
        self.closing = threading.Event()
        self._server = ThreadingHTTPServer((host, 0), type("Handler", (_Handler,), {"script": self}))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        """The base URL of the API, ending in /v1."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}/v1"

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def scripted_responses(steps: Sequence[Step], host: str = "127.0.0.1") -> Iterator[ScriptedResponses]:
    """Run the server on a free port for as long as the block lasts."""
    server = ScriptedResponses(steps, host)
    server.start()
    try:
        yield server
    finally:
        server.close()


class _Handler(BaseHTTPRequestHandler):
    script: ScriptedResponses
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: tests read `requests`."""

    def do_GET(self) -> None:
        self._note(None, None)
        if self.headers.get("Upgrade", "").lower() == "websocket":
            self._json(426, {"error": {"message": "no websocket here"}})
        elif self.path.split("?")[0].endswith("/models"):
            self._json(200, {"object": "list", "data": [{"id": "scripted-1", "object": "model"}], "models": []})
        else:
            self._json(404, {"error": {"message": f"no such path {self.path}"}})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        if not self.path.split("?")[0].endswith("/responses"):
            self._note(body, None)
            self._json(404, {"error": {"message": f"no such path {self.path}"}})
            return
        number = 1 + max(_steps_answered(body), default=-1)
        self._note(body, number)
        steps = self.script.steps
        step = steps[number] if number < len(steps) else Step(items=[say("(the script is over)")])
        if step.hangs:
            self.script.closing.wait()
            self.close_connection = True
        elif step.status != 200:
            self._json(step.status, {"error": step.error or {}})
        else:
            self._stream(number, step, body)

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
        self.wfile.write(data)

    def _stream(self, number: int, step: Step, body: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        response: dict[str, Any] = {"id": f"resp_{number}", "model": body.get("model"), "status": "in_progress"}
        self._event(step, "response.created", response=response)
        for _ in range(step.pad_bytes // 8192):
            self._event(step, "response.output_text.delta", item_id="pad", delta="x" * 8192)
        for index, item in enumerate(step.items):
            rendered = _rendered(item, _offered(body), f"call_s{number}_{index}")
            rendered["id"] = f"item_{number}_{index}"
            self._event(step, "response.output_item.done", output_index=index, item=rendered)
        if step.drops:
            self.close_connection = True
            return
        if step.error is not None:
            self._event(step, "response.failed", response={**response, "status": "failed", "error": step.error})
        elif step.incomplete:
            details = {"incomplete_details": {"reason": step.incomplete}}
            self._event(step, "response.incomplete", response={**response, "status": "incomplete", **details})
        else:
            usage = _usage(step)
            self._event(step, "response.completed", response={**response, "status": "completed", "usage": usage})
        self.wfile.write(b"0\r\n\r\n")

    def _event(self, step: Step, kind: str, **fields: Any) -> None:
        data = f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()
        if step.pace_s:
            self.script.closing.wait(step.pace_s)


def _usage(step: Step) -> dict[str, Any]:
    return {
        "input_tokens": step.input_tokens,
        "input_tokens_details": {"cached_tokens": step.cached_tokens},
        "output_tokens": step.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": step.input_tokens + step.output_tokens,
    }


def _steps_answered(body: dict[str, Any]) -> Iterator[int]:
    for item in body.get("input") or []:
        if isinstance(item, dict) and (found := CALL_ID.match(str(item.get("call_id", "")))):
            yield int(found.group(1))


def _offered(body: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the offered tools by name; those within a namespace carry it under "namespace"."""
    tools = list(body.get("tools") or [])
    for item in body.get("input") or []:
        if isinstance(item, dict) and isinstance(item.get("tools"), list):
            tools += item["tools"]
    found: dict[str, dict[str, Any]] = {}
    for tool in tools:
        if tool.get("type") == "namespace":
            found |= {inner["name"]: {**inner, "namespace": tool["name"]} for inner in tool.get("tools") or []}
        else:
            found[tool.get("name") or tool.get("type")] = tool
    return found


def _rendered(item: Item, tools: dict[str, dict[str, Any]], call_id: str) -> Item:
    """Turn a shell or patch call into a call of what this agent offers for this model."""
    if item["type"] not in ("shell", "patch"):
        return dict(item)
    code = tools.get("exec", {})
    if code.get("type") == "custom":
        # "Code mode": the model has one JavaScript tool, with the others inside it.
        inner = (
            f"const r = await tools.exec_command({json.dumps({'cmd': item['command']})}); text(r.output);"
            if item["type"] == "shell"
            else f"text(await tools.apply_patch({json.dumps(item['patch'])}));"
        )
        call: Item = {"type": "custom_tool_call", "name": "exec", "input": inner, "call_id": call_id}
        return call | ({"namespace": code["namespace"]} if "namespace" in code else {})
    if item["type"] == "patch":
        if tools.get("apply_patch", {}).get("type") == "custom":
            return {"type": "custom_tool_call", "name": "apply_patch", "input": item["patch"], "call_id": call_id}
        command = f"apply_patch <<'PATCH_EOF'\n{item['patch'].rstrip()}\nPATCH_EOF"
    else:
        command = item["command"]
    name, arguments = ("exec_command", {"cmd": command}) if "exec_command" in tools else ("shell", {"command": command})
    return {"type": "function_call", "name": name, "arguments": json.dumps(arguments), "call_id": call_id}
