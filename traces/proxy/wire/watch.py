"""Follows one request and its answer as they pass, holding a bounded copy, and records them at the end."""

from __future__ import annotations

import base64
import binascii
import importlib
import time
import zlib
from collections.abc import Callable, Iterable

from .apart import RecorderApart
from .bodies import parsed
from .identity import identify
from .recorder import Exchange, Recorder
from .usage import Answer, AnswerReader, Failure

# What is kept of one answer; its usage is read to the end all the same.
KEPT_BYTES = 8 * 1024 * 1024
_GENERATION_PATHS = ("/responses", "/responses/compact", "/chat/completions", "/completions", "/messages")
_SECRET_HEADERS = ("authorization", "proxy-authorization", "x-api-key", "api-key", "x-goog-api-key", "x-auth-token")
_REQUEST_IDS = ("x-request-id", "request-id", "x-oai-request-id")


def is_generation(method: str, path: str) -> bool:
    """Return whether a request of this form asks a model for an answer."""
    return method == "POST" and path.partition("?")[0].rstrip("/").endswith(_GENERATION_PATHS)


def model_of(body: bytes) -> str:
    """Return the model that a request's body names; "" for none."""
    model = (parsed(body) or {}).get("model")
    return model[:120] if isinstance(model, str) else ""


def asks_a_model(body: bytes) -> bool:
    """Return whether a body is that of a request to a model; other services have paths of the same names."""
    document = parsed(body)
    return document is not None and "model" in document and any(n in document for n in ("messages", "input", "prompt"))


def secrets_in(headers: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Return the values of a request's headers that open something: they must not be kept anywhere."""
    found: set[str] = set()
    for name, value in headers:
        lower = name.lower()
        if lower in _SECRET_HEADERS:
            scheme, _, rest = value.strip().partition(" ")
            found.add((rest or scheme).strip())
            if scheme.lower() == "basic":
                try:
                    found.add(base64.b64decode(rest, validate=True).decode("utf-8", "replace").partition(":")[2])
                except (binascii.Error, ValueError):
                    continue
        elif lower in ("cookie", "set-cookie"):
            found.update(part.partition("=")[2].strip().strip('"') for part in value.split(";"))
    return tuple(sorted(value for value in found if len(value) >= 8))


class Watch:
    """One request on its way: `answered`, then `feed` for each piece, then `finish`, which records it once."""

    def __init__(
        self,
        recorder: Recorder | RecorderApart,
        *,
        door: str,
        method: str,
        url: str,
        headers: list[tuple[str, str]],
        body: bytes,
        run: str = "",
        provider: str = "",
        wire_bytes: int | None = None,
        secrets: Iterable[str] = (),
        started: float | None = None,
    ) -> None:
        """Take a request with its body as decoded. `secrets` are further values that must not be kept."""
        self.recorder = recorder
        self.secrets = tuple({*secrets_in(headers), *(value for value in secrets if value)})
        identity = identify(headers)
        # Redaction and what the body says are left to the recorder's thread: the client waits for this one.
        self.exchange = Exchange(
            door=door,
            method=method,
            url=url,
            t_start=started or time.time(),
            run=run,
            provider=provider,
            session=identity.session,
            turn=identity.turn,
            agent=identity.agent,
            client=identity.client,
            request_headers=headers,
            request=body,
            request_wire_bytes=wire_bytes,
        )
        self.reader = AnswerReader("application/json")
        self._decode: Callable[[bytes], bytes] | None = None
        self._kept = bytearray()
        self._size = 0
        self._done = False

    def answered(self, status: int, headers: list[tuple[str, str]]) -> None:
        """Take the answer's status and headers."""
        named = {name.lower(): value for name, value in headers}
        exchange = self.exchange
        exchange.status = status
        exchange.t_first = time.time()
        self.secrets = tuple({*self.secrets, *secrets_in(headers)})
        exchange.response_headers = headers
        exchange.request_id = next((named[name][:200] for name in _REQUEST_IDS if name in named), "")
        self.reader = AnswerReader(named.get("content-type", "").partition(";")[0].strip().lower())
        exchange.is_stream = self.reader.is_stream
        self._decode = _decoder(named.get("content-encoding", ""))

    def feed(self, data: bytes) -> None:
        """Take the next bytes as they come on the wire. Never raises."""
        if self._decode is not None:
            try:
                data = self._decode(data)
            except Exception as error:  # noqa: BLE001 - each library of an encoding has its own
                self.exchange.error = self.exchange.error or f"the answer's encoding cannot be read: {error}"[:300]
                self.exchange.truncated = True
                self._decode = _nothing
                return
        self._size += len(data)
        room = KEPT_BYTES - len(self._kept)
        if len(data) > room:
            self.exchange.truncated = True
        if room > 0:
            self._kept += data[:room]
        self.reader.feed(data)

    @property
    def has_ended(self) -> bool:
        """Whether a stream has said all that there is to know."""
        return self.reader.has_ended

    def finish(self, error: str = "") -> Answer:
        """Record what passed, at the first call only. `error` says why it broke off."""
        broken = Failure(status=0, code="stream_broken", message=error) if error else None
        answer = self.reader.finish(broken=broken) or Answer()
        if self._done:
            return answer
        self._done = True
        exchange = self.exchange
        exchange.t_end = time.time()
        exchange.response = bytes(self._kept)
        self._kept.clear()
        exchange.response_bytes = self._size
        exchange.events = self.reader.events
        exchange.error = error or exchange.error
        fill(exchange, answer)
        exchange.secrets = self.secrets
        self.recorder.record(exchange)
        return answer


def fill(exchange: Exchange, answer: Answer) -> None:
    """Write what an answer said of itself into its exchange."""
    exchange.usage, exchange.tokens = answer.usage, answer.tokens
    exchange.response_id, exchange.stop_reason = answer.response_id, answer.stop_reason[:60]
    if answer.model:
        exchange.details["answered_by"] = answer.model[:120]
    failure = answer.failure
    if failure is not None and not exchange.error:
        exchange.error = str(failure)


def decoded(body: bytes, encoding: str) -> bytes:
    """Return a body without its content encoding; as it is when that is unknown or does not fit. Never raises."""
    decode = _decoder(encoding)
    if decode is None:
        return body
    try:
        return decode(body)
    except Exception:  # noqa: BLE001 - each library has its own; what cannot be read is kept as it came
        return body


def _nothing(data: bytes) -> bytes:
    return b""


def _decoder(encoding: str) -> Callable[[bytes], bytes] | None:
    """Return what undoes an encoding piece by piece; None when there is none or it is not known here."""
    encoding = encoding.strip().lower()
    if encoding in ("gzip", "x-gzip"):
        return zlib.decompressobj(31).decompress
    if encoding == "deflate":
        return zlib.decompressobj().decompress
    # These are no part of the standard library; mitmproxy brings both.
    try:
        if encoding == "br":
            return importlib.import_module("brotli").Decompressor().process
        if encoding == "zstd":
            return importlib.import_module("zstandard").ZstdDecompressor().decompressobj().decompress
    except ImportError:
        return None
    return None
