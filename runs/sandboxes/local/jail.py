"""How a command is wrapped so that it sees and reaches only its sandbox: bubblewrap, `unshare`, or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from runs.sandboxes.local import seccomp
from runs.sandboxes.local.access import PASSAGE_GID
from runs.sandboxes.local.cgroups import OWN_PIDS, Group
from runs.sandboxes.local.layout import Step, steps
from runs.sandboxes.local.plan import Plan

MB = 1_000_000
PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
# What the sandbox's processes carry in their environment, so that a sweep finds those of a dead worker.
MARK = "ONESHOT_SANDBOX"
INSIDE_UID = 10001
KEEPER = Path(__file__).with_name("keeper.py")

JOIN = """
count=$1; shift
while [ "$count" -gt 0 ]; do echo 0 > "$1" || exit 125; shift; count=$((count - 1)); done
exec "$@"
"""
BEGIN = 'cd -- "$1" || exit 127; shift; exec "$@"'
# Opens the door's port in the sandbox's own network and hands the listening socket out to the host.
LISTEN = """
import os, socket, sys
number, port = int(sys.argv[1]), int(sys.argv[2])
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", port))
listener.listen(64)
with socket.socket(fileno=number) as host:
    socket.send_fds(host, [b"1"], [listener.fileno()])
listener.close()
os.execvp(sys.argv[3], sys.argv[3:])
"""
LOOPBACK_UP = """
import fcntl, socket, struct
with socket.socket() as probe:
    fcntl.ioctl(probe, 0x8914, struct.pack("16sh", b"lo", 0x49))
"""


@dataclass(kw_only=True)
class Launch:
    """A process to start: its arguments and what it inherits."""

    argv: list[str]
    pass_fds: list[int] = field(default_factory=list)
    # Whether the wrapper tells on `status` that the command really began
    status: int = -1


@dataclass(frozen=True, kw_only=True)
class Inner:
    """The command as it is to run inside."""

    argv: Sequence[str]
    cwd: str
    env: Mapping[str, str]
    # (descriptor to hand the listening socket out through, port) of the door, where the sandbox needs one
    door: tuple[int, int] | None = None


class Bubblewrap:
    """bwrap, which needs root or user namespaces for everybody. A new set of namespaces for every command."""

    name = "bubblewrap"
    has_own_network = True

    @contextlib.contextmanager
    def launch(self, plan: Plan, inner: Inner, group: Group | None) -> Iterator[Launch]:
        with contextlib.ExitStack() as stack:
            # A file in memory: the arguments name directories of the host, which `ps` inside would show.
            arguments = stack.enter_context(_memory("\0".join(self._arguments(plan)).encode() + b"\0"))
            reader, writer = _pipe(stack)
            argv = [_tool("bwrap"), "--args", str(arguments), "--json-status-fd", str(writer)]
            inherited = [arguments, writer]
            if filter_program := seccomp.program():
                rules = stack.enter_context(_memory(filter_program))
                argv += ["--seccomp", str(rules)]
                inherited.append(rules)
            if inner.door:
                inherited.append(inner.door[0])
            drop = _drop(plan.uid) if plan.uid is not None else []
            argv += ["--", *_limited(plan, group), *drop, *_inner(inner)]
            yield Launch(argv=_joined(group, argv), pass_fds=inherited, status=reader)

    def began(self, status: bytes) -> bool:
        """Whether the status it wrote says that the command ran; else bwrap itself failed."""
        lines = [line for line in status.splitlines() if line.strip()]
        with contextlib.suppress(ValueError):
            return any("exit-code" in json.loads(line) for line in lines)
        return False

    def _arguments(self, plan: Plan) -> list[str]:
        argv = ["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--hostname", "sandbox"]
        argv += ["--die-with-parent", "--new-session", "--cap-drop", "ALL", "--proc", "/proc", "--dev", "/dev"]
        if plan.network != "full":
            argv.append("--unshare-net")
        if plan.uid is None:
            argv += ["--unshare-user", "--uid", str(INSIDE_UID), "--gid", str(INSIDE_UID)]
        else:
            # Real root makes the mounts, so that directories closed to others can be shown, and is then dropped.
            argv += [word for name in ("SETUID", "SETGID", "SETPCAP") for word in ("--cap-add", f"CAP_{name}")]
        for step in steps(plan):
            argv += self._step(step)
        return [*argv, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/"]

    def _step(self, step: Step) -> list[str]:
        if step.kind == "dir":
            return ["--perms", "0755", "--dir", step.target]
        if step.kind == "link":
            return ["--symlink", step.source, step.target]
        if step.kind == "tmpfs":
            return ["--perms", "1777", "--size", str(int(step.source) * MB), "--tmpfs", step.target]
        return ["--ro-bind" if step.kind == "ro" else "--bind", step.source, step.target]


class Unshare:
    """The same walls built with util-linux' unshare and mount, where bubblewrap is not installed.

    Weaker in one thing: system calls are not filtered, so a command may make namespaces of its own.
    """

    name = "unshare"
    has_own_network = True

    @contextlib.contextmanager
    def launch(self, plan: Plan, inner: Inner, group: Group | None) -> Iterator[Launch]:
        with contextlib.ExitStack() as stack:
            reader, writer = _pipe(stack)
            root = plan.directory / "root"
            root.mkdir(exist_ok=True)
            flags = ["--mount", "--pid", "--fork", "--kill-child", "--ipc", "--uts"]
            if plan.network != "full":
                flags.append("--net")
            if plan.uid is None:
                flags += ["--user", "--map-root-user"]
            argv = [_tool("setpriv"), "--pdeathsig", "KILL", _tool("unshare"), *flags, "/bin/sh", "-c"]
            argv += [self._script(plan, root, writer), "enter"]
            drop = _drop(plan.uid) if plan.uid is not None else _without_rights()
            argv += [*_limited(plan, group), *drop, *_inner(inner)]
            inherited = [writer, *([inner.door[0]] if inner.door else [])]
            yield Launch(argv=_joined(group, argv), pass_fds=inherited, status=reader)

    def began(self, status: bytes) -> bool:
        return bool(status)

    def _script(self, plan: Plan, root: Path, writer: int) -> str:
        """Return the shell script that builds the sandbox's root in an empty one and moves into it."""
        lines = [
            # Opened anew because sh knows only descriptors of one digit.
            f"set -e; umask 022; exec 9> /proc/self/fd/{writer}",
            f"mount -t tmpfs -o mode=0755,size=4m oneshot {shlex.quote(str(root))}",
            f"cd {shlex.quote(str(root))}",
            "mkdir proc dev dev/pts .host; mount -t proc proc proc",
            "for name in null zero full random urandom tty; do",
            "  : > dev/$name; mount --bind /dev/$name dev/$name",
            "done",
            "ln -s /proc/self/fd dev/fd; ln -s pts/ptmx dev/ptmx",
            "ln -s fd/0 dev/stdin; ln -s fd/1 dev/stdout; ln -s fd/2 dev/stderr",
            "mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts || true",
            # One call for all of them, because each costs a millisecond.
            "mkdir -p " + " ".join(shlex.quote(name.lstrip("/")) for name in self._directories(plan)),
            *(self._step(step) for step in steps(plan) if step.kind != "dir"),
            "hostname sandbox 2>/dev/null || true",
        ]
        if plan.network != "full":
            up = f"{shlex.quote(_python())} -I -S -c {shlex.quote(LOOPBACK_UP)}"
            lines.append(f"ip link set lo up 2>/dev/null || {up}")
        lines += [
            "pivot_root . .host; cd /",
            "umount -l /.host; rmdir /.host; mount -o remount,bind,ro /",
            "echo started >&9; exec 9>&-",
            "set +e",
            # As the first process inside it stays, takes in orphans, and ends them all by ending.
            '"$@"',
            "exit $?",
        ]
        return "\n".join(lines)

    def _directories(self, plan: Plan) -> list[str]:
        """Return every directory that must be there before the mounts; below one of them, mounts make their own."""
        return [step.target for step in steps(plan) if step.kind == "dir" or step.kind == "tmpfs"]

    def _step(self, step: Step) -> str:
        target, source = shlex.quote(step.target.lstrip("/")), shlex.quote(step.source)
        if step.kind == "link":
            return f"ln -s {source} {target}"
        if step.kind == "tmpfs":
            return f"mount -t tmpfs -o mode=1777,size={step.source}m oneshot {target}"
        is_directory = Path(step.source).is_dir()
        make = f"[ -d {target} ] || mkdir -p {target}" if is_directory else f"[ -e {target} ] || : > {target}"
        options = "bind,ro,nosuid" if step.kind == "ro" else "bind"
        return f"{make}; mount -o {options} {source} {target}"


class Plain:
    """No walls: a process of its own with limits, and as root with a user of its own. Pages say *not isolated*."""

    name = "none"
    has_own_network = False

    @contextlib.contextmanager
    def launch(self, plan: Plan, inner: Inner, group: Group | None) -> Iterator[Launch]:
        settings = {
            "uid": plan.uid,
            "groups": [PASSAGE_GID],
            "cwd": inner.cwd,
            "env": dict(inner.env),
            "rlimits": _rlimits(plan, group),
            "nproc_extra": plan.uid is None,
            "entrances": group.entrances if group else [],
        }
        yield Launch(argv=[sys.executable, "-I", "-S", str(KEEPER), json.dumps(settings), "--", *inner.argv])

    def began(self, status: bytes) -> bool:
        return True


Jail = Bubblewrap | Unshare | Plain
JAILS: tuple[Jail, ...] = (Bubblewrap(), Unshare(), Plain())


def outer_env(plan: Plan) -> dict[str, str]:
    """Return the environment of the wrapper itself, which must not be the task's: that may name libraries to load."""
    return {"PATH": PATH, "LC_ALL": "C", MARK: plan.id}


def works(jail: Jail, plan: Plan) -> str:
    """Return "" when a command can really be run in this jail here, else what it said."""
    if sys.platform != "linux" and not isinstance(jail, Plain):
        return "it needs Linux"
    try:
        inner = Inner(argv=["true"], cwd="/", env={"PATH": PATH, MARK: plan.id})
        with jail.launch(plan, inner, None) as launch:
            done = subprocess.run(
                launch.argv,
                pass_fds=launch.pass_fds,
                env=outer_env(plan),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=10,
                check=False,
            )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if done.returncode == 0 else done.stderr.decode("utf-8", "replace").strip()[-200:] or "it failed"


def _inner(inner: Inner) -> list[str]:
    """Return the last stretch: the task's own environment, the door if there is one, the directory, the command."""
    argv = [_tool("env"), "-i", *(f"{name}={value}" for name, value in inner.env.items())]
    if inner.door:
        number, port = inner.door
        argv += [_python(), "-I", "-S", "-c", LISTEN, str(number), str(port)]
    return [*argv, "/bin/sh", "-c", BEGIN, "sh", inner.cwd, *inner.argv]


def _limited(plan: Plan, group: Group | None) -> list[str]:
    limits = _rlimits(plan, group)
    if plan.uid is None and not _counts_by_namespace():
        # The kernel would count all that the user runs, sandbox or not.
        limits.pop("NPROC", None)
    return [_tool("prlimit"), *(f"--{name.lower()}={value}" for name, value in limits.items())]


def _rlimits(plan: Plan, group: Group | None) -> dict[str, int]:
    limits = {"FSIZE": plan.limits.disk_mb * MB, "CORE": 0, "NPROC": plan.limits.pids + OWN_PIDS}
    if group is None or "memory" not in group.holds:
        # Only a brake for what grows faster than we look. Not the address space: language runtimes reserve far more of
        # that than they ever use.
        limits["DATA"] = 2 * plan.limits.memory_mb * 1024 * 1024
    return limits


def _counts_by_namespace() -> bool:
    """Whether the kernel counts a user's processes for each user namespace apart (Linux 5.14)."""
    try:
        major, minor = (int(part) for part in platform.release().split(".")[:2])
    except ValueError:
        return False
    return (major, minor) >= (5, 14)


def _drop(uid: int) -> list[str]:
    who = ["--reuid", str(uid), "--regid", str(uid), "--clear-groups"]
    return [_tool("setpriv"), *who, "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"]


def _without_rights() -> list[str]:
    """Stay root of a user namespace in name only."""
    bits = "--securebits=+noroot,+noroot_locked"
    return [_tool("setpriv"), "--inh-caps=-all", "--bounding-set=-all", bits, "--no-new-privs"]


def _joined(group: Group | None, argv: list[str]) -> list[str]:
    if group is None:
        return argv
    return ["/bin/sh", "-c", JOIN, "join", str(len(group.entrances)), *group.entrances, *argv]


def _tool(name: str) -> str:
    """Return a system program by its full name; a path that the task sets must not decide what runs as root."""
    found = shutil.which(name, path=PATH)
    if found is None:
        raise FileNotFoundError(f"{name} is not installed")
    return found


def _python() -> str:
    return str(Path(sys.executable).resolve())


@contextlib.contextmanager
def _memory(data: bytes) -> Iterator[int]:
    """Give a descriptor from which exactly `data` can be read."""
    number = os.memfd_create("oneshot", 0)
    try:
        os.write(number, data)
        os.lseek(number, 0, os.SEEK_SET)
        yield number
    finally:
        os.close(number)


def _pipe(stack: contextlib.ExitStack) -> tuple[int, int]:
    reader, writer = os.pipe()
    stack.callback(_close, reader)
    stack.callback(_close, writer)
    return reader, writer


def _close(number: int) -> None:
    with contextlib.suppress(OSError):
        os.close(number)
