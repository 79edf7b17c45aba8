"""Cuts a stream of bytes into lines, however it arrives, without ever holding more than one of them."""

from __future__ import annotations

from collections.abc import Callable

from runs.agents.base import Log


class Lines:
    """Calls `take` with each whole line, without its end. Of a line longer than `most` only the beginning is kept."""

    def __init__(self, take: Callable[[bytes], None], *, most: int) -> None:
        self._take = take
        self._most = most
        self._line = bytearray()

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        first, *rest = data.split(b"\n")
        self._keep(first)
        for part in rest:
            self.end()
            self._keep(part)

    def end(self) -> None:
        """Pass on what stands in the current line, also when its end never came."""
        if self._line:
            line = bytes(self._line)
            self._line.clear()
            self._take(line)

    def _keep(self, data: bytes) -> None:
        self._line += data[: max(0, self._most - len(self._line))]


class LoggedOutput:
    """A sink that writes a command's output to the log, line by line, standard error apart from standard output."""

    def __init__(self, log: Log, source: str = "agent") -> None:
        def take(line: bytes) -> None:
            # A progress bar redraws its line; only its last state is worth a line of the log.
            shown = line.rstrip(b"\r").rpartition(b"\r")[2]
            log(source, shown.decode("utf-8", "replace"))

        self._streams = {name: Lines(take, most=8_000) for name in ("stdout", "stderr")}

    def __call__(self, stream: str, data: bytes) -> None:
        self._streams[stream].feed(data)

    def end(self) -> None:
        """Write what stands in unfinished lines."""
        for lines in self._streams.values():
            lines.end()


def last_line(output: bytes, most: int = 300) -> str:
    """Return the last line of an output that says something, shortened; "" when there is none."""
    lines = [line.strip() for line in output[-4000:].decode("utf-8", "replace").splitlines()]
    return next((line[:most] for line in reversed(lines) if line), "")


def tail(output: bytes, lines: int = 12, most: int = 2000) -> str:
    """Return the last lines of an output."""
    return "\n".join(output[-most:].decode("utf-8", "replace").splitlines()[-lines:])
