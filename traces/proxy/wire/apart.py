"""A recorder in a process of its own: packing and redacting must not take turns with the loop that serves clients."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import socket
import struct
import threading
import time
from collections import deque
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from . import doors
from .recorder import MOST_PENDING_BYTES, Counts, Exchange, Recorder, new_id

_HEAD = struct.Struct(">I")
REPORT_S = 0.1


class _Missed(NamedTuple):
    """Exchanges that could not even be sent."""

    t_from: float
    t_to: float
    number: int


class RecorderApart:
    """As Recorder, as far as a gateway needs it. To be made before any thread is started, as it forks.

    When this process is killed, the other one still writes what it was sent, and ends.
    """

    def __init__(self, path: Path, *, name: str) -> None:
        self.path, self._name = path, name
        self.counts = Counts()
        self._lock = threading.Condition()
        self._queue: deque[Exchange] = deque()
        self._bytes = 0
        self._closing = False
        self._own: Recorder | None = None
        # Since when, and how many exchanges there was no room for.
        self._missed: tuple[float, int] | None = None
        here, there = socket.socketpair()
        self._pid = os.fork()
        if self._pid == 0:
            here.close()
            _record_until_end(there, path, name)
        there.close()
        self._socket = here
        self._sender = threading.Thread(target=self._send_all, name="recorder-sender", daemon=True)
        self._sender.start()
        threading.Thread(target=self._read_counts, name="recorder-counts", daemon=True).start()

    def record(self, exchange: Exchange) -> None:
        """Keep an exchange, soon. Does not wait, does not raise."""
        exchange.id = exchange.id or new_id()
        with self._lock:
            if self._bytes + exchange.size > MOST_PENDING_BYTES:
                # The other process does not take more; it is told of the loss when it does again.
                t_from, count = self._missed or (exchange.t_start, 0)
                self._missed = (t_from, count + 1)
                return
            self._queue.append(exchange)
            self._bytes += exchange.size
            self._lock.notify()

    def close(self, timeout: float = 10.0) -> None:
        """Let the other process write what it has, and end."""
        with self._lock:
            self._closing = True
            self._lock.notify()
        self._sender.join(timeout)
        if self._own is not None:
            self._own.close(timeout)
        deadline = time.monotonic() + timeout
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(self._pid, os.WNOHANG)[0] == 0 and time.monotonic() < deadline:
                time.sleep(0.01)

    def _send_all(self) -> None:
        while True:
            with self._lock:
                while not self._queue and not self._closing:
                    self._lock.wait()
                if not self._queue:
                    break
                exchange = self._queue.popleft()
                self._bytes -= exchange.size
                missed, self._missed = self._missed, None
            if missed is not None:
                self._send(_Missed(missed[0], time.time(), missed[1]))
            self._send(exchange)
            doors.write_counts(self.path)
        with contextlib.suppress(OSError):
            self._socket.sendall(_HEAD.pack(0))

    def _send(self, thing: Exchange | _Missed) -> None:
        if self._own is None:
            data = pickle.dumps(thing, protocol=5)
            try:
                self._socket.sendall(_HEAD.pack(len(data)) + data)
                return
            except OSError:
                # The other process has gone; clients have not.
                self._own = Recorder(self.path, name=self._name)
        _take(self._own, thing)
        self.counts = self._own.counts

    def _read_counts(self) -> None:
        with contextlib.suppress(OSError, ValueError), self._socket.makefile("rb") as lines:
            for line in lines:
                if self._own is None:
                    self.counts = Counts(**json.loads(line))


def _record_until_end(there: socket.socket, path: Path, name: str) -> None:
    """Be the other process: record what comes, and end with it. Does not return."""
    # A signal to the group ends the gateway first; this process ends when nothing more can come.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    recorder = Recorder(path, name=name)
    threading.Thread(target=_report, args=(there, recorder), daemon=True).start()
    ended = False
    with contextlib.suppress(OSError, EOFError), there.makefile("rb", buffering=1 << 20) as source:
        while len(head := source.read(_HEAD.size)) == _HEAD.size:
            [size] = _HEAD.unpack(head)
            if size == 0:
                ended = True
                break
            data = source.read(size)
            if len(data) < size:
                break
            _take(recorder, pickle.loads(data))  # noqa: S301 - from this very program
    recorder.close(5, clean=ended)
    os._exit(0)


def _take(recorder: Recorder, thing: Exchange | _Missed) -> None:
    if isinstance(thing, _Missed):
        recorder.gap(thing.t_from, thing.t_to, reason="the recorder could not keep up", count=thing.number)
    else:
        recorder.record(thing)


def _report(there: socket.socket, recorder: Recorder) -> None:
    said: dict[str, object] = {}
    with contextlib.suppress(OSError):
        while True:
            now = asdict(recorder.counts)
            if now != said:
                there.sendall(json.dumps(now).encode() + b"\n")
                said = now
            time.sleep(REPORT_S)
