"""Keeps a command's output within bounds: the beginning and the end of it, never the whole of a flood."""

from __future__ import annotations

from runs.sandboxes.base import Sink


class Bounded:
    """The bytes of one stream. What is beyond `most` bytes is dropped from the middle."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._head_most = most // 2
        self._tail_most = most - self._head_most
        self._head = bytearray()
        self._tail = bytearray()
        self._seen = 0

    def add(self, data: bytes) -> None:
        self._seen += len(data)
        room = self._head_most - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        self._tail += data
        # Trimmed at twice the size, so that a flood of small pieces moves each byte about once.
        if len(self._tail) > 2 * self._tail_most:
            self._trim()

    def value(self) -> bytes:
        self._trim()
        return bytes(self._head + self._tail)

    @property
    def truncated(self) -> bool:
        return self._seen > self._most

    def _trim(self) -> None:
        del self._tail[: max(0, len(self._tail) - self._tail_most)]


class Output:
    """Both streams of one command, passed on to the sink as they arrive."""

    def __init__(self, most: int, sink: Sink | None) -> None:
        self._streams = {"stdout": Bounded(most), "stderr": Bounded(most)}
        self._sink = sink

    def add(self, name: str, data: bytes) -> None:
        """Take a piece of "stdout" or "stderr". What the sink raises goes up to the caller."""
        self._streams[name].add(data)
        if self._sink:
            self._sink(name, data)

    @property
    def stdout(self) -> bytes:
        return self._streams["stdout"].value()

    @property
    def stderr(self) -> bytes:
        return self._streams["stderr"].value()

    @property
    def truncated(self) -> bool:
        return any(stream.truncated for stream in self._streams.values())
