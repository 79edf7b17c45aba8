"""A scripted endpoint of OpenAI's chat completions on a real socket: a judge without a model.

    with chat_server(lambda asked: verdict(asked, "met", ("D0003", "+    return a + b"))) as server:
        base_url = server.url

The script is a function from what was asked to a reply: a dict is the model's answer as JSON, a str its text, and a
Reply anything else. Standard library only, so that a process outside of the tests can run it too.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Reply:
    """One answer of the service. With a status other than 200, `error` is the body's error object."""

    text: str = ""
    refusal: str = ""
    finish: str = "stop"
    status: int = 200
    error: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    after_s: float = 0.0
    hangs: bool = False
    drops: bool = False
    raw: bytes | None = None
    usage: dict[str, Any] | None = field(
        default_factory=lambda: {
            "prompt_tokens": 1000,
            "completion_tokens": 100,
            "total_tokens": 1100,
            "prompt_tokens_details": {"cached_tokens": 400},
        }
    )


@dataclass(frozen=True)
class Asked:
    """One request: its body, its key header, and how many came before it, in all and about the same criterion."""

    body: dict[str, Any]
    authorization: str
    number: int
    same: int

    @property
    def system(self) -> str:
        return self.body["messages"][0]["content"]

    @property
    def prompt(self) -> str:
        return self.body["messages"][1]["content"]

    @property
    def key(self) -> str:
        """Return the id of the criterion that is asked about."""
        found = re.findall(r'^# The criterion, id (".*")$', self.prompt, re.MULTILINE)
        return json.loads(found[-1]) if found else ""

    @property
    def nonce(self) -> str:
        return re.findall(r'<untrusted id="([0-9a-f]{32})"', self.system)[0]

    @property
    def is_repair(self) -> bool:
        return len(self.body["messages"]) > 2


Script = Callable[[Asked], "Reply | dict[str, Any] | str"]


@dataclass
class ChatServer:
    url: str
    requests: list[Asked] = field(default_factory=list)
    most_at_once: int = 0

    def about(self, key: str) -> list[Asked]:
        return [asked for asked in self.requests if asked.key == key]


def verdict(asked: Asked, answer: str, *quotes: tuple[str, str], reasoning: str = "Because.") -> dict[str, Any]:
    """Return a well-formed answer to what was asked; quotes are (reference, text)."""
    return {
        "criterion_id": asked.key,
        "evidence": [{"ref": ref, "quote": quote} for ref, quote in quotes],
        "reasoning": reasoning,
        "verdict": answer,
    }


def first_added(asked: Asked) -> tuple[str, str]:
    """Return (reference, text) of the first added line of the diff, else of its first line."""
    found = re.findall(r"^(D\d{4,6})\| (\+.*)$", asked.prompt, re.MULTILINE)
    return found[0] if found else quote_of(asked, "")


def quote_of(asked: Asked, needle: str) -> tuple[str, str]:
    """Return (reference, text) of the first line of the prompt that contains `needle`."""
    for line in asked.prompt.split("\n"):
        match = re.match(r"([DTSMI]\d{4,6})\| (.*)", line)
        if match and needle in match[2]:
            return match[1], match[2]
    raise AssertionError(f"no line with {needle!r} in\n{asked.prompt}")


@contextmanager
def chat_server(script: Script, port: int = 0) -> Iterator[ChatServer]:
    """Serve the script until the block ends."""
    stop = threading.Event()
    lock = threading.Lock()
    counts = {"now": 0}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
            with lock:
                asked = Asked(body, self.headers.get("Authorization", ""), len(server.requests), 0)
                asked = Asked(body, asked.authorization, asked.number, len(server.about(asked.key)))
                server.requests.append(asked)
                counts["now"] += 1
                server.most_at_once = max(server.most_at_once, counts["now"])
            try:
                with suppress(BrokenPipeError, ConnectionResetError):
                    self._send(asked)
            finally:
                with lock:
                    counts["now"] -= 1

        def _send(self, asked: Asked) -> None:
            said = script(asked)
            if isinstance(said, dict):
                said = json.dumps(said)
            reply = Reply(text=said) if isinstance(said, str) else said
            if reply.hangs:
                stop.wait(60)
            time.sleep(reply.after_s)
            if reply.drops or reply.hangs:
                self.close_connection = True
                return
            data = reply.raw if reply.raw is not None else json.dumps(_document(reply, asked)).encode()
            self.send_response(reply.status)
            for name, value in {"Content-Type": "application/json", **reply.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    httpd = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    httpd.daemon_threads = True
    server = ChatServer(f"http://127.0.0.1:{httpd.server_address[1]}/v1")
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        stop.set()
        httpd.shutdown()
        httpd.server_close()
        thread.join()


def _document(reply: Reply, asked: Asked) -> dict[str, Any]:
    if reply.status != 200:
        return {"error": reply.error or {"message": f"scripted {reply.status}"}}
    message: dict[str, Any] = {"role": "assistant", "content": None if reply.refusal else reply.text}
    if reply.refusal:
        message["refusal"] = reply.refusal
    document: dict[str, Any] = {
        "id": f"chat-{asked.number}",
        "object": "chat.completion",
        "created": 0,
        "model": asked.body["model"],
        "choices": [{"index": 0, "finish_reason": reply.finish, "message": message}],
    }
    if reply.usage is not None:
        document["usage"] = reply.usage
    return document
