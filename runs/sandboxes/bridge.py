"""Carries connections from a listening socket inside a sandbox's network to the relay on the host."""

from __future__ import annotations

import contextlib
import select
import socket
import threading

from runs.sandboxes.base import Door

RELAY_HOST = "127.0.0.1"
# A sandbox that opens more at once waits; an agent needs a handful.
MOST_CONNECTIONS = 32
CHUNK = 65536
BACKLOG = 64


class Bridge:
    """Accepts on `listener`, which it owns, and joins each connection to the door's port on this host."""

    def __init__(self, listener: socket.socket, door: Door) -> None:
        self._listener = listener
        self._target = (RELAY_HOST, door.port)
        self._slots = threading.Semaphore(MOST_CONNECTIONS)
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._closed = False
        threading.Thread(target=self._accept, name=f"door-{door.port}", daemon=True).start()

    def close(self) -> None:
        """Stop listening and cut every connection. Safe to call twice."""
        with self._lock:
            self._closed = True
            sockets = [self._listener, *self._open]
        for one in sockets:
            # A close alone would leave the accepting thread asleep; a shutdown wakes it.
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while not self._closed:
            self._slots.acquire()
            try:
                inner, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._join, args=(inner,), daemon=True).start()

    def _join(self, inner: socket.socket) -> None:
        try:
            with inner, socket.create_connection(self._target, timeout=5) as outer:
                outer.settimeout(None)
                for one in (inner, outer):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self._lock:
                    if self._closed:
                        return
                    self._open |= {inner, outer}
                try:
                    _carry(inner, outer)
                finally:
                    with self._lock:
                        self._open -= {inner, outer}
        except OSError:
            # Either side hung up, or the relay is gone with its run; the other side sees its connection end.
            return
        finally:
            self._slots.release()


def _carry(inner: socket.socket, outer: socket.socket) -> None:
    """Copy both ways until both sides have finished; one side may finish long before the other."""
    peer = {inner.fileno(): (inner, outer), outer.fileno(): (outer, inner)}
    # Not select(): it fails for descriptors over 1023.
    poll = select.poll()
    for descriptor in peer:
        poll.register(descriptor, select.POLLIN)
    while peer:
        for descriptor, _ in poll.poll():
            source, target = peer[descriptor]
            if data := source.recv(CHUNK):
                target.sendall(data)
                continue
            with contextlib.suppress(OSError):
                target.shutdown(socket.SHUT_WR)
            poll.unregister(descriptor)
            del peer[descriptor]
