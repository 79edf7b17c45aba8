# mypy: ignore-errors
"""The way out of the sandbox for a test runner: signed frames on a pipe that nothing can be taken back from.

The key comes on standard input, before any code of the repository runs, so that neither the command line nor the
environment nor a file holds it. A frame without a right signature is not believed (runs/grading/channel.py).
"""

import fcntl
import hashlib
import hmac
import json
import os
import signal
import sys
import threading

# Out of the way of code that closes or counts the first descriptors.
LEAST_DESCRIPTOR = 200


class Channel:
    """Writes frames `@<signature> <kind> <length>`, a line end, the payload, a line end."""

    def __init__(self, key, descriptor):
        self._fd = descriptor
        self._sequence = 0
        self._process = os.getpid()
        self._key = key

    def name(self, purpose):
        """Return a name that only the holder of the key can foretell."""
        return hmac.new(self._key, purpose.encode(), hashlib.sha256).hexdigest()[:10]

    def send(self, kind, payload):
        """Write one frame. A forked child that came back from a test must not speak for its parent."""
        if os.getpid() != self._process:
            os._exit(70)
        data = payload if isinstance(payload, bytes) else json.dumps(payload).encode("ascii")
        head = f"{self._sequence} {kind} {len(data)}".encode("ascii")
        signature = hmac.new(self._key, head + b"\n" + data, hashlib.sha256).hexdigest().encode("ascii")
        self._sequence += 1
        self._write(b"@" + signature + b" " + kind.encode("ascii") + b" %d\n" % len(data) + data + b"\n")

    def _write(self, data):
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]


def open_channel():
    """Take the key from standard input and descriptor 3 for writing; the tests then find neither there."""
    key = bytes.fromhex(sys.stdin.readline().strip())
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    descriptor = fcntl.fcntl(3, fcntl.F_DUPFD_CLOEXEC, LEAST_DESCRIPTOR)
    os.close(3)
    return Channel(key, descriptor)


class Alarm:
    """Ends a test that hangs, so that it costs its own result and not the time of all others.

    `end` is called in the main thread and should raise. Nothing happens where somebody else uses the signal.
    """

    def __init__(self, seconds, end):
        self.seconds = seconds
        self._end = end
        self._armed = False

    def _ring(self, number, frame):
        if self._armed:
            self._end(f"The test took longer than {self.seconds:g} s.")

    def arm(self):
        free = signal.getsignal(signal.SIGALRM) in (signal.SIG_DFL, self._ring)
        if not self.seconds or not free or threading.current_thread() is not threading.main_thread():
            return
        self._armed = True
        signal.signal(signal.SIGALRM, self._ring)
        # Again and again, in case the code under test swallows what is raised.
        signal.setitimer(signal.ITIMER_REAL, self.seconds, self.seconds)

    def disarm(self):
        if self._armed and signal.getsignal(signal.SIGALRM) == self._ring:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
        self._armed = False


def hide_process():
    """Keep other processes of the same user from opening this one's files and memory through /proc, where possible."""
    try:
        import ctypes

        ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE
    except (ImportError, OSError, AttributeError):
        pass


def fingerprint(places):
    """Return what stands at each (owner, name) now, to tell later whether it was replaced."""
    found = {}
    for owner, name in places:
        thing = vars(owner).get(name)
        inner = getattr(thing, "__func__", thing)
        label = "{}.{}".format(getattr(owner, "__qualname__", None) or owner.__name__, name)
        found[label] = (thing, getattr(inner, "__code__", None))
    return found


def changed(before, after):
    """Return the names under which something else stands now."""
    return [
        label for label, (thing, code) in before.items() if after[label][0] is not thing or after[label][1] is not code
    ]


def hide_repository(root):
    """Take directories of the repository off the path, and return the path as it was.

    While a test runner is being imported, a file of the repository must not stand in for a part of it.
    """
    whole = list(sys.path)
    base = os.path.realpath(root)
    installed = ("site-packages", "dist-packages")
    sys.path[:] = [
        entry
        for entry in whole
        if entry
        and (
            not (os.path.realpath(entry) + os.sep).startswith(base + os.sep)
            or any(part in installed for part in entry.split(os.sep))
        )
    ]
    return whole
