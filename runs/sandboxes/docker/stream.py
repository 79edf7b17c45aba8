"""The two-way connection of one command: stdin goes in, framed stdout and stderr come out."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import threading
from typing import Any

# Frames: one byte for the stream, three of nothing, four for the length (Docker's attach protocol).
HEADER = struct.Struct(">BxxxL")
NAMES = {1: "stdout", 2: "stderr"}
CHUNK = 65536
# So much always fits into a new socket's buffer, so that sending it cannot wait for the other side.
SENT_AT_ONCE = 32768


class Stream:
    """Wraps the answer to "start this exec". Bytes that came with the answer's own header are not lost."""

    def __init__(self, response: Any) -> None:
        self._response = response
        reader = response.raw._fp.fp
        raw = reader.raw
        self._socket: socket.socket = getattr(raw, "_sock", raw)
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        self._pending = bytearray(self._already_read(reader))
        self._left = 0
        self._name = "stdout"

    def _already_read(self, reader: Any) -> bytes:
        """Return what http.client read beyond the header; the SDK itself would drop it."""
        self._socket.setblocking(False)
        try:
            data = reader.peek(CHUNK)
            return bytes(reader.read(len(data))) if data else b""
        except (BlockingIOError, ssl.SSLWantReadError):
            return b""
        finally:
            self._socket.settimeout(None)

    @property
    def can_half_close(self) -> bool:
        """Whether the end of stdin can be told without ending stdout; TLS in Python cannot."""
        return not isinstance(self._socket, ssl.SSLSocket)

    def send(self, data: bytes) -> None:
        """Write the command's stdin and end it, without waiting for the command to read it."""
        if len(data) <= SENT_AT_ONCE:
            self._send(data)
        else:
            threading.Thread(target=self._send, args=(data,), name="stdin", daemon=True).start()

    def _send(self, data: bytes) -> None:
        # A command may end before it has read all; its exit status says how it went.
        with contextlib.suppress(OSError):
            self._socket.sendall(data)
            if self.can_half_close:
                self._socket.shutdown(socket.SHUT_WR)

    def read(self, timeout_s: float) -> list[tuple[str, bytes]] | None:
        """Return what arrives within the time, [] when nothing does, None at the end. Raises OSError."""
        if pieces := self._frames():
            return pieces
        # A timeout on the socket itself would also cut off the thread that sends stdin.
        buffered = isinstance(self._socket, ssl.SSLSocket) and self._socket.pending()
        if not buffered and not self._poll.poll(max(timeout_s, 0) * 1000):
            return []
        data = self._socket.recv(CHUNK)
        if not data:
            return None
        self._pending += data
        return self._frames()

    def _frames(self) -> list[tuple[str, bytes]]:
        pieces = []
        while self._pending:
            if not self._left:
                if len(self._pending) < HEADER.size:
                    break
                number, self._left = HEADER.unpack_from(self._pending)
                self._name = NAMES.get(number, "stdout")
                del self._pending[: HEADER.size]
            data = bytes(self._pending[: self._left])
            del self._pending[: self._left]
            self._left -= len(data)
            if data:
                pieces.append((self._name, data))
        return pieces

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._response.close()
