"""Who holds a claim: a name for this process that tells another process here whether it still lives."""

import os
import socket
from functools import lru_cache
from pathlib import Path


@lru_cache(maxsize=1)
def this_host() -> str:
    """Return a name for this machine's process namespace; two containers with one host name differ in it."""
    try:
        namespace = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        namespace = 0
    return f"{socket.gethostname()[:60]}/{namespace}"


def this_process() -> str:
    """Return the claim name of this process."""
    return f"{this_host()}:{os.getpid()}"


def is_surely_dead(holder: str) -> bool:
    """Return whether the holder ran here and its process is gone. False for another machine's: nobody can tell."""
    host, _, pid = holder.rpartition(":")
    if host != this_host() or not pid.isdecimal():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return _is_zombie(int(pid))


def _is_zombie(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[:1] == ["Z"]
