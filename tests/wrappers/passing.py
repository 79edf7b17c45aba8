"""A stand-in for the gateway: answers /health, passes reverse paths and forwarded requests on, notes what came by."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

DROPPED = {"host", "connection", "proxy-connection", "transfer-encoding"}


class Passing:
    """The running stand-in; `seen` are the paths or absolute URLs asked for, without /health."""

    def __init__(self, paths: Mapping[str, str]) -> None:
        self.paths = paths
        self.seen: list[str] = []
        # As a real gateway names its installation; left out when empty.
        self.installation = ""
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"passing": self}))
        self.server.daemon_threads = True

    @property
    def port(self) -> int:
        return self.server.server_address[1]


@contextmanager
def passing(paths: Mapping[str, str]) -> Iterator[Passing]:
    """Run it for as long as the block lasts; `paths` map a prefix to the base URL behind it."""
    made = Passing(paths)
    thread = threading.Thread(target=made.server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.server.shutdown()
        made.server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    passing: Passing
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: tests read `seen`."""

    def do_GET(self) -> None:
        if self.path == "/health":
            named = {"installation": self.passing.installation} if self.passing.installation else {}
            self._answer(200, json.dumps({"status": "ok", "service": "oneshot-gateway", **named}).encode())
        elif self.headers.get("Upgrade", "").lower() == "websocket":
            self.passing.seen.append(self.path)
            self._answer(426, b"{}")
        else:
            self._pass()

    def do_HEAD(self) -> None:
        self._pass()

    def do_POST(self) -> None:
        self._pass()

    def _pass(self) -> None:
        self.passing.seen.append(self.path)
        target = self.path if self.path.startswith("http://") else self._behind(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if not target:
            self._answer(404, b"{}")
            return
        parts = urlsplit(target)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in DROPPED}
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        connection.request(self.command, path, body, headers)
        answer = connection.getresponse()
        self._answer(answer.status, answer.read(), answer.headers.get("Content-Type", "application/json"))
        connection.close()

    def _behind(self, path: str) -> str:
        for prefix, base in self.passing.paths.items():
            if path.startswith(prefix):
                return base + path.removeprefix(prefix)
        return ""

    def _answer(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
