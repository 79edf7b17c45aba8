"""The scripted model service over a WebSocket, as Codex speaks it: one frame asks, the frames after it are events."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.servers.responses import Step, _offered, _rendered, _steps_answered, _usage, say

MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class ScriptedSocket:
    """The running server. `frames` are the requests received so far."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps = list(steps)
        self.frames: list[dict[str, Any]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"script": self}))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def scripted_socket(steps: Sequence[Step]) -> Iterator[ScriptedSocket]:
    """Run the server on a free port for as long as the block lasts."""
    server = ScriptedSocket(steps)
    try:
        yield server
    finally:
        server.close()


class _Handler(BaseHTTPRequestHandler):
    script: ScriptedSocket
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        key = self.headers.get("Sec-WebSocket-Key")
        if not key:
            self.send_response(200)
            body = b'{"data": [], "models": []}'
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        accept = base64.b64encode(hashlib.sha1((key + MAGIC).encode()).digest()).decode()
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", accept)
        self.end_headers()
        self.close_connection = True
        while (text := self._read()) is not None:
            frame = json.loads(text)
            self.script.frames.append(frame)
            self._play(frame)

    def _play(self, frame: dict[str, Any]) -> None:
        name = {"id": f"resp_ws_{len(self.script.frames)}", "model": frame.get("model")}
        self._send("response.created", response=name)
        if frame.get("generate") is False:
            self._send("response.completed", response={**name, "usage": _usage(Step(input_tokens=0, output_tokens=0))})
            return
        number = 1 + max(_steps_answered(frame), default=-1)
        steps = self.script.steps
        step = steps[number] if number < len(steps) else Step(items=[say("(over)")])
        tools = {"tools": [t for f in self.script.frames for t in f.get("tools") or []], "input": frame.get("input")}
        for index, item in enumerate(step.items):
            rendered = _rendered(item, _offered(tools), f"call_s{number}_{index}")
            self._send("response.output_item.done", output_index=index, item={**rendered, "id": f"i_{number}_{index}"})
        self._send("response.completed", response={**name, "status": "completed", "usage": _usage(step)})

    def _read(self) -> bytes | None:
        """Return the next message; None at the end."""
        data = b""
        while True:
            head = self.rfile.read(2)
            if len(head) < 2:
                return None
            final, kind, size = head[0] & 0x80, head[0] & 0x0F, head[1] & 0x7F
            if size == 126:
                [size] = struct.unpack(">H", self.rfile.read(2))
            elif size == 127:
                [size] = struct.unpack(">Q", self.rfile.read(8))
            mask = self.rfile.read(4) if head[1] & 0x80 else bytes(4)
            part = self.rfile.read(size)
            part = bytes(byte ^ mask[index % 4] for index, byte in enumerate(part))
            if kind == 8:
                return None
            if kind == 9:
                self._frame(10, part)
                continue
            if kind in (0, 1, 2):
                data += part
                if final:
                    return data

    def _send(self, event: str, **fields: Any) -> None:
        self._frame(1, json.dumps({"type": event, **fields}).encode())

    def _frame(self, kind: int, data: bytes) -> None:
        size = len(data)
        head = bytes([0x80 | kind, size]) if size < 126 else bytes([0x80 | kind, 126]) + struct.pack(">H", size)
        if size > 65535:
            head = bytes([0x80 | kind, 127]) + struct.pack(">Q", size)
        self.wfile.write(head + data)
        self.wfile.flush()
