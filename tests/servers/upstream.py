"""A model service reduced to its bytes: each request is answered by a function that writes to the socket itself."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Upstream:
    """The running server; `requests` are (method, path, headers by lower-case name, body)."""

    url: str
    requests: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)


Answer = Callable[["Exchange"], None]


class Exchange(BaseHTTPRequestHandler):
    """One request on its way to its answer."""

    protocol_version = "HTTP/1.1"
    upstream: Upstream
    answer: Answer

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.upstream.requests.append((self.command, self.path, headers, body))
        type(self).answer(self)

    do_GET = do_POST

    def reply(self, status: int, body: bytes, media_type: str = "application/json", **headers: str) -> None:
        """Answer with a body of known length."""
        self.send_response(status)
        for name, value in {"Content-Type": media_type, **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def start_stream(self) -> None:
        """Begin a stream of events."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def send_piece(self, data: bytes) -> None:
        """Send one chunk of the stream; an empty one ends it."""
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))


@contextmanager
def upstream(answer: Answer) -> Iterator[Upstream]:
    """Run the server on a free port of the loopback address for as long as the block lasts."""
    handler = type("Handler", (Exchange,), {"answer": staticmethod(answer)})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    state = Upstream(url=f"http://127.0.0.1:{server.server_address[1]}/v1")
    handler.upstream = state  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
