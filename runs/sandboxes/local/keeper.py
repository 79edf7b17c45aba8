"""Runs one command where nothing isolates it, and sees to it that nothing of it outlives it.

A program of its own, started as `python -I -S keeper.py SETTINGS -- COMMAND…` by runs/sandboxes/local; it imports
nothing of OneShot. It becomes the one to whom orphans fall, so that a daemon that left its session and its parents is
still found, and it ends everything when the command ends, when it is told to (SIGTERM), or when OneShot dies.

SETTINGS is a JSON object: uid and groups (null: stay who we are), cwd, env, rlimits {name: value}, entrances (files
of control groups), nproc_extra (whether the user's other processes count against the limit of processes).
"""

import contextlib
import ctypes
import json
import os
import resource
import signal
import sys
import time

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 36, 38
END_WITHIN_S = 5.0


_child = 0


def main() -> int:
    global _child
    settings = json.loads(sys.argv[1])
    command = sys.argv[3:]
    parent = os.getppid()
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGTERM, lambda *_: end_and_leave())
    prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        return 1
    _child = os.fork()
    if _child == 0:
        become(settings, command)
    status = wait_for(_child)
    end_all()
    return status


def prctl(option: int, value: int) -> None:
    """Set a property of this process, on Linux; elsewhere there is none of that."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def become(settings: dict, command: list[str]) -> None:
    """Turn into the command, with its limits and its user. Never returns."""
    try:
        # Outlives whoever ends the group of the keeper's own session by mistake, and owns its children.
        os.setsid()
        # The keeper itself stays outside: a full group would keep it from ending what is inside.
        for entrance in settings["entrances"]:
            with open(entrance, "w") as file:  # noqa: PTH123
                file.write("0")
        limits = dict(settings["rlimits"])
        if settings["nproc_extra"] and "NPROC" in limits:
            limits["NPROC"] += threads_of(os.getuid())
        for name, value in limits.items():
            number = getattr(resource, f"RLIMIT_{name}")
            _, hard = resource.getrlimit(number)
            least = value if hard == resource.RLIM_INFINITY else min(value, hard)
            # Some systems know a limit by name and refuse every value.
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(number, (least, least))
        if settings["uid"] is not None:
            os.setgroups(settings["groups"])
            os.setgid(settings["uid"])
            os.setuid(settings["uid"])
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        os.umask(0o022)
        # Python ignores these, and a command would inherit that.
        for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        os.chdir(settings["cwd"])
    except OSError as error:
        complain(f"{error.filename or 'The command cannot be started'}: {error.strerror}", 127)
    try:
        os.execvpe(command[0], command, settings["env"])  # noqa: S606
    except FileNotFoundError:
        complain(f"{command[0]}: not found", 127)
    except OSError as error:
        complain(f"{command[0]}: {error.strerror}", 126)


def complain(text: str, code: int) -> None:
    os.write(2, f"{text}\n".encode())
    os._exit(code)


def threads_of(uid: int) -> int:
    """Return how many threads the user has already: the limit counts them all, whoever started them."""
    count = 0
    for name in os.listdir("/proc") if os.path.isdir("/proc") else []:  # noqa: PTH112, PTH208
        with contextlib.suppress(OSError, ValueError, IndexError):
            if name.isdecimal() and os.stat(f"/proc/{name}").st_uid == uid:  # noqa: PTH116
                count += len(os.listdir(f"/proc/{name}/task"))  # noqa: PTH208
    return count


def wait_for(child: int) -> int:
    """Wait until the command ends, taking in orphans meanwhile; return its exit status as a shell would."""
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def end_and_leave() -> None:
    end_all()
    os._exit(128 + signal.SIGTERM)


def end_all() -> None:
    """Kill every descendant."""
    until = time.monotonic() + END_WITHIN_S
    while time.monotonic() < until:
        # First stop them all: what is stopped neither forks nor makes room for another to fork.
        stopped: set[int] = set()
        while fresh := set(descendants()) - stopped:
            for pid in fresh:
                signal_to(pid, signal.SIGSTOP)
            stopped |= fresh
        for pid in stopped:
            signal_to(pid, signal.SIGKILL)
        if _child and not stopped:
            # Where there is no /proc to find descendants in, the command's own group is all we know.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(_child, signal.SIGKILL)
        if reap():
            return
        time.sleep(0.002)


def reap() -> bool:
    """Collect what has ended; return whether no child is left."""
    try:
        while True:
            pid, _ = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return False
    except ChildProcessError:
        return True


def descendants() -> list[int]:
    """Return every living process below this one."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc") if os.path.isdir("/proc") else []:  # noqa: PTH112, PTH208
        if not name.isdecimal():
            continue
        with contextlib.suppress(OSError, ValueError, IndexError):
            with open(f"/proc/{name}/stat", errors="replace") as file:  # noqa: PTH123
                fields = file.read().rpartition(")")[2].split()
            if fields[0] not in "ZX":
                children.setdefault(int(fields[1]), []).append(int(name))
    found: list[int] = []
    queue = [os.getpid()]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


def signal_to(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


if __name__ == "__main__":
    sys.exit(main())
