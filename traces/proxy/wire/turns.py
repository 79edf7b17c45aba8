"""Follows a model's WebSocket: each request frame and the events up to its end are one exchange."""

from __future__ import annotations

import time
from typing import Any

from .apart import RecorderApart
from .bodies import parsed
from .identity import identify
from .recorder import Exchange, Recorder
from .usage import AnswerReader
from .watch import KEPT_BYTES, fill, secrets_in


class Turns:
    """The turns of one connection. Never raises."""

    def __init__(
        self,
        recorder: Recorder | RecorderApart,
        *,
        door: str,
        url: str,
        provider: str,
        headers: list[tuple[str, str]],
        response_headers: list[tuple[str, str]],
    ) -> None:
        self.recorder = recorder
        self.door, self.provider = door, provider
        self.headers = headers
        self.secrets = tuple({*secrets_in(headers), *secrets_in(response_headers)})
        self.url = url
        self.response_headers = response_headers
        self._exchange: Exchange | None = None
        self._reader = AnswerReader("text/event-stream")
        self._kept = bytearray()
        self._size = 0

    def take(self, content: bytes, *, from_client: bool) -> None:
        """Take one message."""
        if from_client:
            document = parsed(content)
            if document is not None and document.get("type") == "response.create":
                self.close("another request came before the answer's end")
                self._begin(content, document)
        elif self._exchange is not None:
            self._event(content)

    def close(self, error: str = "the connection ended before the answer was complete") -> None:
        """Record the turn that is under way, if any."""
        exchange, self._exchange = self._exchange, None
        if exchange is None:
            return
        exchange.t_end = time.time()
        exchange.response = bytes(self._kept)
        exchange.response_bytes = self._size
        exchange.events = self._reader.events
        exchange.error = error
        fill(exchange, self._reader.answer)
        self.recorder.record(exchange)

    def _begin(self, content: bytes, document: dict[str, Any]) -> None:
        identity = identify(self.headers, document)
        self._reader = AnswerReader("text/event-stream")
        self._kept, self._size = bytearray(), 0
        self._exchange = Exchange(
            door=self.door,
            method="WS",
            url=self.url,
            provider=self.provider,
            t_start=time.time(),
            status=101,
            session=identity.session,
            turn=identity.turn,
            agent=identity.agent,
            client=identity.client,
            request_headers=self.headers,
            response_headers=self.response_headers,
            request=content,
            request_wire_bytes=len(content),
            is_stream=True,
            secrets=self.secrets,
        )

    def _event(self, content: bytes) -> None:
        exchange = self._exchange
        assert exchange is not None  # noqa: S101 - the caller has looked
        exchange.t_first = exchange.t_first or time.time()
        self._size += len(content)
        # Kept as a stream of events is, so that whoever reads it needs one way only.
        line = b"data: " + content.replace(b"\n", b" ") + b"\n\n"
        if len(self._kept) + len(line) <= KEPT_BYTES:
            self._kept += line
        else:
            exchange.truncated = True
        self._reader.feed(line)
        if self._reader.has_ended:
            self.close("")
