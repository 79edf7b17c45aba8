"""The relay itself: one small HTTP server per run, on one address, in front of one model service."""

from __future__ import annotations

import contextlib
import hmac
import http.client
import json
import logging
import socket
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from django.conf import settings

from runs.agents.base import Log, ModelNeed
from runs.errors import AgentError, InfraError
from runs.relay.ledger import Account, Holder, Ledger, Passage
from runs.relay.upstream import Upstream, key_of, trust, upstream_of
from runs.sandboxes.base import Door
from traces.proxy.wire.usage import HUNG_UP_CODE, AnswerReader, Failure, ModelUse, failure_of_body

logger = logging.getLogger(__name__)

MAX_REQUEST_BYTES = 64 * 1024 * 1024
MAX_CONNECTIONS = 32
MAX_ERROR_BYTES = 256 * 1024
CHUNK = 64 * 1024
CLIENT_TIMEOUT_S = 120
# A service that is asked too often says so by 429; clients give up on it sooner than they should.
RATE_LIMIT_TRIES = 5
RATE_LIMIT_WAIT_S = 30.0
CLOSE_WAIT_S = 2.0
RECORD_WAIT_S = 10.0

_HOP_BY_HOP = {
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}
# What the sandbox may not say to the service: who it is, where it is, and how long or packed the answer's bytes are.
_NOT_FORWARDED = _HOP_BY_HOP | {
    "host",
    "content-length",
    "expect",
    "accept-encoding",
    "authorization",
    "api-key",
    "x-api-key",
    "cookie",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
}
_NOT_RETURNED = _HOP_BY_HOP | {"content-length", "set-cookie", "location", "www-authenticate", "alt-svc"}
_GENERATION_PATHS = ("/responses", "/chat/completions", "/completions", "/messages")


class Relay:
    """A running relay. `door` goes into the sandbox's specification; `usage` is what passed through so far."""

    def __init__(self, need: ModelNeed, listen_host: str, log: Log | None = None, holder: Holder | None = None) -> None:
        try:
            self.upstream: Upstream = upstream_of(need.base_url)
        except ValueError as error:
            raise AgentError(str(error)) from None
        if self.upstream.secure:
            trust(settings.EXTRA_CA)  # unreadable certificates are told now, not to the agent
        self.need = need
        self.key = key_of(need)
        self.usage = ModelUse()
        self.closing = threading.Event()
        self._log = log
        self._sockets: set[socket.socket] = set()
        self._idle = threading.Condition()
        self._active = 0
        try:
            self._server = _Server((listen_host, 0), type("Handler", (_Handler,), {"relay": self}))
        except OSError as error:
            raise InfraError(f"The model relay cannot listen on {listen_host!r}: {error.strerror or error}.") from error
        self._server.relay = self
        self.ledger = Ledger(need, self.upstream, self.key, holder or Holder())
        # What it came to, once it is closed.
        self.account: Account | None = None
        self.door = Door(port=self._server.server_address[1], token=self.ledger.token)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name=f"relay-{self.door.port}", daemon=True
        )
        self._thread.start()

    def url(self, host: str) -> str:
        """Return the base URL for commands inside, which reach the relay under the name `host`."""
        return f"http://{host}:{self.door.port}/v1"

    def close(self, wait_s: float = RECORD_WAIT_S) -> None:
        """Refuse from now on, cut off what is still under way, and write what was recorded, for so long at most."""
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        deadline = time.monotonic() + CLOSE_WAIT_S
        with self._idle:
            while self._active and time.monotonic() < deadline:
                for open_socket in list(self._sockets):
                    with contextlib.suppress(OSError):
                        open_socket.shutdown(socket.SHUT_RDWR)
                self._idle.wait(0.05)
        self.account = self.ledger.close(wait_s)

    def log(self, text: str) -> None:
        if self._log:
            self._log("model", text)

    def enter(self, client: socket.socket) -> bool:
        """Take one more connection, unless there are too many."""
        with self._idle:
            if self._active >= MAX_CONNECTIONS or self.closing.is_set():
                return False
            self._active += 1
            self._sockets.add(client)
            return True

    def leave(self, client: socket.socket) -> None:
        with self._idle:
            self._active -= 1
            self._sockets.discard(client)
            self._idle.notify_all()

    @contextlib.contextmanager
    def connected(self) -> Iterator[http.client.HTTPConnection]:
        """Give an upstream connection that `close` can cut off. Raises OSError when the service is not reached."""
        connection = self.upstream.connect()
        upstream_socket = connection.sock
        with self._idle:
            self._sockets.add(upstream_socket)
        try:
            yield connection
        finally:
            with self._idle:
                self._sockets.discard(upstream_socket)
            connection.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    relay: Relay

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.relay.leave(request)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self.relay.enter(request):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing about clients that hang up; anything else is a bug of the relay."""
        if not isinstance(sys.exception(), OSError):
            logger.exception("The model relay failed")


class _Handler(BaseHTTPRequestHandler):
    relay: ClassVar[Relay]
    protocol_version = "HTTP/1.1"
    timeout = CLIENT_TIMEOUT_S
    disable_nagle_algorithm = True
    server_version = "oneshot"
    sys_version = ""

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a request's line may hold what its sender wants to see in a log."""

    def do_GET(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        self.close_connection = True
        try:
            body = self._body()
        except _BadBody as problem:
            self._refuse(*problem.args)
        else:
            self._serve(body)

    def _serve(self, body: bytes) -> None:
        self.close_connection = True
        relay = self.relay
        if not self._is_authorized():
            self._refuse(401, "invalid_token", "This is not the token of this run.")
        elif self.headers.get("Upgrade"):
            # 426 is the one answer that makes a client go on over plain HTTP at once.
            self._refuse(426, "no_upgrade", "The relay speaks plain HTTP only.")
        elif (target := relay.upstream.target(self.path)) is None:
            self._refuse(403, "path_not_allowed", "The relay forwards to the model service only, below /v1.")
        elif refusal := relay.ledger.refusal():
            code, message = refusal
            relay.usage.failed(Failure(status=400, code=code, message=message))
            # Whatever an agent's client makes of an error, its text says which limit it was.
            self._refuse(400, code, f"{message} ({code})")
        else:
            self._forward(target, body)

    def _is_authorized(self) -> bool:
        given = self.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        given = given or self.headers.get("api-key", "") or self.headers.get("x-api-key", "")
        return hmac.compare_digest(given.encode(), self.relay.door.token.encode())

    def _body(self) -> bytes:
        encoding = self.headers.get("Transfer-Encoding", "").lower()
        length = self.headers.get("Content-Length", "")
        if encoding:
            if encoding != "chunked" or length:
                raise _BadBody(400, "bad_framing", "Send a Content-Length or chunks, not both.")
            return _read_chunks(self.rfile)
        size = int(length) if length.isdecimal() else 0
        if size > MAX_REQUEST_BYTES:
            raise _TOO_LARGE
        data = self.rfile.read(size)
        if len(data) != size:
            raise _BadBody(400, "bad_framing", "The request's body is shorter than it says.")
        return data

    def _refuse(self, status: int, code: str, message: str) -> None:
        body = json.dumps({"type": "error", "error": {"message": message, "type": code, "code": code}}).encode()
        self._send(status, [("Content-Type", "application/json")], body)

    def _send(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self._start(status, [*headers, ("Content-Length", str(len(body)))])
        self.wfile.write(body)

    def _start(self, status: int, headers: list[tuple[str, str]]) -> None:
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()

    def _forward(self, target: str, body: bytes) -> None:
        relay, started = self.relay, time.monotonic()
        path = self.path.partition("?")[0]
        generates = self.command == "POST" and path.endswith(_GENERATION_PATHS)
        relay.usage.asked()
        passage = relay.ledger.begin(self.command, target, list(self.headers.items()), body)
        failure: Failure | None = None
        try:
            said = self._ask(target, body, generates, passage)
        except _Unreachable as error:
            failure = Failure(status=0, code="service_unreachable", message=str(error))
            said = str(failure)
            relay.usage.failed(failure)
            self._refuse(502, failure.code, f"The model service cannot be reached: {error}")
        finally:
            passage.finish(failure)
        relay.log(f"{self.command} {path[:200]}: {said}, {time.monotonic() - started:.1f} s")

    def _ask(self, target: str, body: bytes, generates: bool, passage: Passage) -> str:
        """Ask the service, again if it says that it was asked too often, and pass the answer on."""
        for turn in range(RATE_LIMIT_TRIES):
            with self._response(target, body) as response:
                if response.status < 300:
                    return self._pass_on(response, generates, passage)
                if response.status < 400:
                    failure = Failure(
                        status=response.status, code="redirect", message="the service redirects elsewhere"
                    )
                    self.relay.usage.failed(failure)
                    passage.answered(response.status, response.getheaders())
                    passage.finish(failure)
                    self._refuse(502, "redirect", "The model service redirects; set its final URL as base URL.")
                    return str(failure)
                error = self._redacted(response.read(MAX_ERROR_BYTES))
                headers = self._returned(response)
            failure = failure_of_body(error, status=response.status)
            wait_s = _rate_limit_wait(failure, response, turn)
            if wait_s is None or self.relay.closing.is_set():
                break
            self.relay.log(f"the service asks to slow down; next try in {wait_s:.0f} s")
            self.relay.closing.wait(wait_s)
        self.relay.usage.failed(failure)
        passage.answered(response.status, response.getheaders())
        passage.feed(error)
        passage.finish(failure)
        self._send(response.status, headers, error)
        return f"status {failure.status} {failure.code}".rstrip()

    @contextlib.contextmanager
    def _response(self, target: str, body: bytes) -> Iterator[http.client.HTTPResponse]:
        try:
            with self.relay.connected() as connection:
                connection.putrequest(self.command, target, skip_accept_encoding=True)
                for name, value in self._forwarded(body):
                    connection.putheader(name, value)
                connection.endheaders(body)
                yield connection.getresponse()
        except ValueError as error:
            raise _Unreachable("the request has a header that cannot be forwarded") from error
        except (OSError, http.client.HTTPException) as error:
            raise _Unreachable(getattr(error, "strerror", None) or str(error) or type(error).__name__) from error

    def _forwarded(self, body: bytes) -> list[tuple[str, str]]:
        need, key = self.relay.need, self.relay.key
        own = {need.header.lower(), *(name.lower() for name in need.extra_headers)}
        dropped = _NOT_FORWARDED | own | {n.strip().lower() for n in self.headers.get("Connection", "").split(",")}
        headers = [(name, value) for name, value in self.headers.items() if name.lower() not in dropped]
        headers += [("Accept-Encoding", "identity"), *need.extra_headers.items()]
        if self.command == "POST":
            headers.append(("Content-Length", str(len(body))))
        if key:
            headers.append((need.header, f"Bearer {key}" if need.header.lower() == "authorization" else key))
        return headers

    def _returned(self, response: http.client.HTTPResponse) -> list[tuple[str, str]]:
        key = self.relay.key
        return [
            (name, value)
            for name, value in response.getheaders()
            if name.lower() not in _NOT_RETURNED and not (key and key in value)
        ]

    def _redacted(self, body: bytes) -> bytes:
        """Take the key out of an error that repeats it."""
        key = self.relay.key.encode()
        return body.replace(key, b"[key]") if key else body

    def _pass_on(self, response: http.client.HTTPResponse, generates: bool, passage: Passage) -> str:
        """Pass a good answer on as it arrives, holding a chunk at a time, and read what it says of its usage."""
        reader = AnswerReader(response.headers.get_content_type(), is_generation=generates)
        broken: Failure | None = None
        said = ""
        length, passed = response.length, 0
        framing = ("Transfer-Encoding", "chunked") if length is None else ("Content-Length", str(length))
        passage.answered(response.status, response.getheaders(), is_stream=reader.is_stream)
        try:
            self._start(response.status, [*self._returned(response), framing])
            while data := _next_piece(response):
                reader.feed(data)
                passage.feed(data)
                passed += len(data)
                if not said and (reader.has_ended or passed == length):
                    # Before the agent can know: its next request must find these tokens counted.
                    said = self._note(reader, passage)
                self.wfile.write(data if length is not None else b"%x\r\n%s\r\n" % (len(data), data))
            if length is None:
                said = said or self._note(reader, passage)
                self.wfile.write(b"0\r\n\r\n")
            elif passed < length:
                broken = _broken("the service hung up too early")
        except _Broken as error:
            broken = _broken(f"the service's answer broke off: {error}")
        except OSError:
            broken = Failure(status=0, code=HUNG_UP_CODE, message="the agent hung up before the answer was complete")
        said = said or self._note(reader, passage, broken)
        passage.finish(broken)
        return f"status {response.status}{said}"

    def _note(self, reader: AnswerReader, passage: Passage, broken: Failure | None = None) -> str:
        """Count an answer, and return what the log says of it."""
        answer = reader.finish(broken=broken)
        if answer is None:
            return ""
        self.relay.usage.answered(answer)
        passage.counted(reader, answer)
        tokens = answer.tokens
        counts = f", {tokens.input} tokens in, {tokens.output} out" if tokens else ", usage unknown"
        return counts + (f", {answer.failure}" if answer.failure else "")


class _BadBody(Exception):
    """A request's body cannot be read: status, code, message."""


_TOO_LARGE = _BadBody(413, "too_large", f"A request may have {MAX_REQUEST_BYTES >> 20} MB.")


class _Unreachable(Exception):
    """There was no HTTP answer."""


class _Broken(Exception):
    """The service's answer broke off."""


def _next_piece(response: http.client.HTTPResponse) -> bytes:
    """Return what has arrived, without waiting for more than that; b"" at the end."""
    try:
        return response.read1(CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _Broken(str(error) or type(error).__name__) from error


def _broken(message: str) -> Failure:
    return Failure(status=0, code="stream_broken", message=message)


def _rate_limit_wait(failure: Failure, response: http.client.HTTPResponse, turn: int) -> float | None:
    """Return the seconds to wait before asking again, or None when that would not help."""
    if failure.status != 429 or failure.code in ("insufficient_quota", "usage_limit_reached"):
        return None
    if turn + 1 == RATE_LIMIT_TRIES:
        return None
    try:
        wait_s = float(response.headers.get("Retry-After", ""))
    except ValueError:
        wait_s = 2.0**turn
    return wait_s if 0 <= wait_s <= RATE_LIMIT_WAIT_S else None


def _read_chunks(source: Any) -> bytes:
    """Read a chunked body."""
    data = bytearray()
    while size := _chunk_size(source.readline(100)):
        if len(data) + size > MAX_REQUEST_BYTES:
            raise _TOO_LARGE
        data += source.read(size)
        if source.readline(10) != b"\r\n":
            raise _BadBody(400, "bad_framing", "A chunk of the request's body does not end where it says.")
    while source.readline(1000) not in (b"\r\n", b"\n", b""):
        pass
    return bytes(data)


def _chunk_size(line: bytes) -> int:
    digits = line.partition(b";")[0].strip()
    if not digits or not set(digits) <= set(b"0123456789abcdefABCDEF"):
        raise _BadBody(400, "bad_framing", "The request's body is not chunked as it says.")
    return int(digits, 16)
