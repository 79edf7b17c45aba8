"""Each limit, with something that tries to break it."""

import dataclasses
import os
import socket
import subprocess
import threading
from pathlib import Path

import pytest
from django.conf import settings

from runs.sandboxes.base import Door, Mount
from runs.sandboxes.local.seccomp import program
from tests.sandboxes.conftest import (
    ALL,
    ALL_AND_FAR,
    DOCKER,
    LIMITS,
    LOCAL,
    USUAL,
    WALLED,
    WALLED_AND_FAR,
    eventually,
    is_alive,
    open_to_all,
    text,
    unique_sleep,
)

every = pytest.mark.parametrize("kind", ALL, indirect=True)
usual = pytest.mark.parametrize("kind", USUAL, indirect=True)
walled = pytest.mark.parametrize("kind", WALLED, indirect=True)
far_too = pytest.mark.parametrize("kind", ALL_AND_FAR, indirect=True)
walled_far_too = pytest.mark.parametrize("kind", WALLED_AND_FAR, indirect=True)
local = pytest.mark.parametrize("kind", LOCAL, indirect=True)
docker = pytest.mark.parametrize("kind", DOCKER[:1], indirect=True)


# Processes


@far_too
def test_a_fork_bomb_fills_only_its_sandbox_and_is_ended(sandbox):
    if sandbox.isolation == "none" and os.geteuid() != 0:
        pytest.skip("without root and without walls, the bomb shares its limit with the user's own processes")
    nap = unique_sleep()
    bomb = f'echo kept > "$1"; bomb() {{ bomb & bomb & sleep {nap}; }}; bomb; sleep {nap}'
    most = 0

    def count(name, data):
        nonlocal most
        most = max(most, _count_of(nap))

    result = sandbox.exec(["bash", "-c", bomb, "bomb", sandbox.path("/work/file")], timeout_s=1.5, sink=count)
    assert result.timed_out
    assert b"Resource temporarily unavailable" in result.stderr
    assert 0 < most <= LIMITS.pids + 8
    assert eventually(lambda: not is_alive(nap), within_s=2)
    # The sandbox can be used and its files can be read.
    assert sandbox.exec(["cat", "file"]).stdout == b"kept\n"
    assert sandbox.get("/work/file") == b"kept\n"


def _count_of(word: str) -> int:
    found = subprocess.run(["pgrep", "-fc", word], capture_output=True, check=False)
    return int(found.stdout or 0)


# Memory


@every
def test_more_memory_than_allowed_ends_the_command_and_is_named(sandbox):
    # What has no line ends is kept whole by tail.
    result = sandbox.exec(["sh", "-c", "head -c 2000000000 /dev/zero | tail; exit 1"], timeout_s=60)
    assert result.limit == "memory"
    assert sandbox.exec(["echo", "well"]).stdout == b"well\n"


@far_too
def test_many_processes_share_one_memory_limit(sandbox):
    # Each stays far below the limit; together they pass it.
    one = '(head -c 80000000 /dev/zero; exec sleep 60) | tail & pids="$pids $!"; '
    watch = "while sleep 0.05; do for pid in $pids; do kill -0 $pid || exit 1; done; done"
    result = sandbox.exec(["bash", "-c", one * 5 + watch], timeout_s=30)
    assert result.limit == "memory"


@walled
def test_shared_memory_is_bounded_too(shared):
    result = shared.exec(["sh", "-c", "head -c 1000000000 /dev/zero > /dev/shm/file"], timeout_s=30)
    assert result.exit_code != 0


# Disk


@usual
def test_many_files_beyond_the_disk_limit_end_the_command(sandbox):
    script = "for i in $(seq 300); do head -c 1000000 /dev/zero > file$i || exit 1; done; echo kept > kept; sleep 30"
    result = sandbox.exec(["sh", "-c", script], timeout_s=20)
    assert result.limit == "disk"
    assert result.exit_code is None
    assert result.seconds < 10
    # Collecting comes next, and is not ended by what is there already.
    assert sandbox.exec(["sh", "-c", "sleep 1.5; ls | wc -l"]).exit_code == 0


@usual
def test_one_huge_file_ends_the_command_at_once(sandbox):
    result = sandbox.exec(["sh", "-c", "head -c 300000000 /dev/zero > big; echo not reached > more; exit 5"])
    assert result.limit == "disk" or result.exit_code == 5
    size = int(sandbox.exec(["stat", "-c", "%s", "big"]).stdout)
    assert size <= LIMITS.disk_mb * 1_000_000


def may_trace() -> bool:
    """Return whether this process has CAP_SYS_PTRACE, bit 19 of its effective capabilities."""
    status = Path("/proc/self/status").read_text()
    return bool(int(status.partition("CapEff:")[2].split()[0], 16) >> 19 & 1)


@pytest.mark.parametrize("kind", ["bubblewrap", "unshare", "none", DOCKER[0]], indirect=True)
def test_a_deleted_file_that_is_still_open_counts(sandbox):
    if sandbox.isolation == "container" and os.geteuid() != 0:
        pytest.skip("the open files of a container's processes are shown to root alone")
    if sandbox.isolation == "none" and os.geteuid() == 0 and not may_trace():
        pytest.skip("root without CAP_SYS_PTRACE is not shown the open files of another user's processes")
    fill = 'for n in 3 4 5; do eval "exec $n> f$n"; rm f$n; head -c 90000000 /dev/zero >&$n; done; sleep 30'
    result = sandbox.exec(["bash", "-c", fill], timeout_s=20)
    assert result.limit == "disk"


# Time


@usual
def test_the_sandbox_s_own_lifetime_ends_its_commands(make):
    sandbox = make(limits=dataclasses.replace(LIMITS, lifetime_s=1.5))
    result = sandbox.exec(["sleep", "60"], timeout_s=60)
    assert result.limit == "lifetime"
    assert result.exit_code is None
    assert result.seconds < 5


# Rights


@every
def test_commands_are_not_root_and_have_no_rights_to_gain(shared):
    status = text(shared.exec(["cat", "/proc/self/status"]).stdout)
    rights = {line.split()[0]: line.split()[1] for line in status.splitlines() if line.startswith(("Cap", "NoNew"))}
    assert rights["NoNewPrivs:"] == "1"
    if shared.isolation != "none" or os.geteuid() == 0:
        assert {rights[name] for name in ("CapEff:", "CapPrm:", "CapInh:", "CapAmb:")} == {"0" * 16}


FORBIDDEN = (
    "chown 12345 own",
    "mount -t tmpfs none /tmp",
    "mount -o remount,rw /",
    "touch /usr/new",
    "mknod device c 1 3",
    "chroot / true",
    "hostname other",
    "kill -9 1 && ! kill -0 1",
    "echo 1 > /proc/sys/kernel/panic",
    "echo b > /proc/sysrq-trigger",
    "cat /etc/shadow",
    "ls /proc/1/root/root/.",
    "dd if=/dev/mem of=/dev/null count=1",
)


@walled
def test_what_root_may_do_is_refused(shared):
    script = "touch own; " + " ".join(f"({one}) && echo 'DONE: {one}';" for one in FORBIDDEN)
    result = shared.exec(["sh", "-c", script], timeout_s=20)
    assert b"DONE" not in result.stdout, text(result.stdout)
    assert result.stderr.count(b"\n") >= len(FORBIDDEN) - 3


@pytest.mark.parametrize("kind", ["bubblewrap"], indirect=True)
@pytest.mark.parametrize("attempt", ["unshare --user true", "unshare --net true", "unshare --user --map-root-user id"])
def test_system_calls_that_make_namespaces_are_filtered(shared, attempt):
    if not program():
        pytest.skip("the filter's numbers are not known for this machine")
    assert shared.exec(["sh", "-c", attempt]).exit_code != 0
    assert shared.exec(["sh", "-c", "true & wait; (echo threads) | cat"]).stdout == b"threads\n"


@pytest.mark.parametrize("kind", ["bubblewrap", "unshare"], indirect=True)
def test_raw_sockets_are_refused(shared):
    code = "import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)"
    result = shared.exec(["python3", "-c", code])
    if result.exit_code == 127:
        pytest.skip("there is no python3 in the system's directories")
    assert b"PermissionError" in result.stderr


# The host


@walled
def test_the_host_s_files_and_processes_are_out_of_sight(shared):
    secret = Path(settings.DATA_DIR) / "secret_key"
    secret.touch()
    ours = str(os.getpid())
    script = f"""
    test -e {secret} && echo secret; test -e {Path(settings.DATA_DIR) / "sandboxes"} && echo sandboxes
    test -e /root/.ssh && echo ssh; test -e /root/.bashrc && [ "$HOME" != /root ] && test -r /root/.bashrc && echo root
    ls /home | grep -v agent && echo home
    test -e /var/run/docker.sock && echo docker
    tr '\\0' ' ' < /proc/{ours}/cmdline 2>/dev/null | grep -q pytest && echo processes
    cat /proc/{ours}/environ 2>/dev/null | grep -q ONESHOT_DATA_DIR && echo environment
    echo end
    """
    assert text(shared.exec(["sh", "-c", script]).stdout) == "end\n"


@pytest.mark.parametrize("kind", ["none"], indirect=True)
def test_without_walls_root_still_keeps_its_secrets(shared):
    if os.geteuid() != 0:
        pytest.skip("without root a plain process is the same user as OneShot; docs/sandboxes.md says so")
    data = Path(settings.DATA_DIR)
    secret, database = data / "secret_key", data / "other.sqlite3"
    secret.touch(mode=0o600)
    database.write_text("rows")
    database.chmod(0o644)
    for attempt in (
        f"cat {secret}",
        f"cat {database}",
        f"ls {data}",
        f"cat /proc/{os.getpid()}/environ",
        "cat /etc/shadow",
    ):
        assert shared.exec(["sh", "-c", attempt]).exit_code != 0, attempt


@local
def test_one_sandbox_cannot_touch_another(make):
    if os.geteuid() != 0:
        pytest.skip("without root all local sandboxes are the same user's")
    first, second = make(), make()
    first.put("/work/mine", b"1")
    where = first.plan.work / "mine"
    assert second.exec(["cat", str(where)]).exit_code != 0
    assert second.exec(["sh", "-c", f"echo 2 > {where}"]).exit_code != 0
    assert first.get("/work/mine") == b"1"


@usual
def test_a_mount_is_shown_and_cannot_be_written(make, tmp_path):
    open_to_all(tmp_path)
    (tmp_path / "tool").write_text("#!/bin/sh\necho tool\n")
    (tmp_path / "tool").chmod(0o755)
    sandbox = make(mounts=[Mount(source=tmp_path, target="/opt/agent")])
    assert sandbox.exec(["/opt/agent/tool"]).stdout == b"tool\n"
    if sandbox.isolation != "none" or os.geteuid() == 0:
        assert sandbox.exec(["sh", "-c", f"echo > {sandbox.path('/opt/agent')}/tool"]).exit_code != 0


@pytest.mark.parametrize("kind", ["bubblewrap", "unshare", "none"], indirect=True)
def test_the_image_s_own_tools_are_there_and_cannot_be_written(shared, local_image):
    real = f"{local_image}/opt/tools/greet"
    assert shared.exec([real]).stdout == b"greetings\n"
    assert shared.exec([shared.path("/opt/tools/greet")]).stdout == b"greetings\n"
    if shared.isolation != "none" or os.geteuid() == 0:
        assert shared.exec(["sh", "-c", f"echo > {real}"]).exit_code != 0
    assert (Path(local_image) / "work" / "README").read_text() == "hello\n"


# The network


class Answerer:
    """Listens on an address of this host and answers every connection with one word."""

    def __init__(self, word: bytes, address: str = "127.0.0.1") -> None:
        self.listener = socket.create_server((address, 0))
        self.port = self.listener.getsockname()[1]
        self.word = word
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                connection.sendall(self.word + b" " + connection.recv(100))

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@pytest.fixture
def answer():
    made = []

    def new(word: bytes, address: str = "127.0.0.1") -> Answerer:
        made.append(Answerer(word, address))
        return made[-1]

    yield new
    for one in made:
        one.close()


def call(sandbox, host: str, port: int) -> str:
    """Return what a service answers to a command inside, "" when it cannot be reached."""
    script = f"exec 3<>/dev/tcp/{host}/{port} && echo hello >&3 && cat <&3"
    return text(sandbox.exec(["timeout", "3", "bash", "-c", script], timeout_s=10).stdout)


def own_address() -> str:
    """Return an address of this machine that is not its loopback, "" when there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return ""
        return probe.getsockname()[0]


@walled
@pytest.mark.parametrize("network", ["none", "model-only"])
def test_without_a_network_or_a_door_nothing_can_be_reached(make, answer, network):
    service = answer(b"host", "0.0.0.0")
    sandbox = make(network=network)
    for host in filter(None, ("127.0.0.1", "172.17.0.1", own_address())):
        assert call(sandbox, host, service.port) == ""
    assert sandbox.exec(["getent", "hosts", "host.docker.internal"]).exit_code != 0
    assert b"lo:" in sandbox.exec(["cat", "/proc/net/dev"]).stdout
    assert sandbox.exec(["sh", "-c", "tail -n +3 /proc/net/dev | grep -v lo:"]).stdout == b""


@walled_far_too
def test_a_model_only_sandbox_reaches_its_door_and_nothing_else(make, answer, provider):
    listen, inside = provider.door_host()
    relay = answer(b"relay", listen)
    other = answer(b"other", "127.0.0.1")
    sandbox = make(network="model-only", door=Door(port=relay.port, token="t"))
    assert call(sandbox, inside, relay.port) == "relay hello\n"
    assert call(sandbox, inside, relay.port) == "relay hello\n"
    assert call(sandbox, inside, other.port) == ""
    assert call(sandbox, "127.0.0.1", other.port) == ""
    if own_address():
        assert call(sandbox, own_address(), other.port) == ""
    assert sandbox.exec(["getent", "hosts", "example.org"], timeout_s=20).exit_code != 0


@walled_far_too
def test_the_door_stays_open_after_a_time_out(make, answer, provider):
    listen, inside = provider.door_host()
    relay = answer(b"relay", listen)
    sandbox = make(network="model-only", door=Door(port=relay.port, token="t"))
    assert sandbox.exec(["sleep", "30"], timeout_s=0.3).timed_out
    assert call(sandbox, inside, relay.port) == "relay hello\n"


@far_too
def test_with_the_whole_network_the_door_is_open_too(make, answer, provider):
    listen, inside = provider.door_host()
    relay = answer(b"relay", listen)
    sandbox = make(network="full", door=Door(port=relay.port, token="t"))
    assert call(sandbox, inside, relay.port) == "relay hello\n"


@docker
def test_a_container_with_the_whole_network_knows_its_host(make):
    sandbox = make(network="full")
    assert sandbox.exec(["getent", "hosts", "host.docker.internal"]).exit_code == 0


@walled
def test_a_door_carries_much_and_many_at_once(make, provider):
    listen, inside = provider.door_host()
    listener = socket.create_server((listen, 0))
    threading.Thread(target=_echo_counts, args=(listener,), daemon=True).start()
    port = listener.getsockname()[1]
    sandbox = make(network="model-only", door=Door(port=port, token="t"))
    one = f"(exec 3<>/dev/tcp/{inside}/{port}; head -c 3000000 /dev/zero >&3; echo end >&3; cat <&3) & "
    result = sandbox.exec(["bash", "-c", one * 5 + "wait"], timeout_s=30)
    listener.close()
    assert text(result.stdout).split() == ["3000004"] * 5


def _echo_counts(listener: socket.socket) -> None:
    def serve(connection: socket.socket) -> None:
        with connection:
            count, last = 0, b""
            while not last.endswith(b"end\n"):
                last = connection.recv(65536)
                count += len(last)
            connection.sendall(f"{count}\n".encode())

    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=serve, args=(connection,), daemon=True).start()


@pytest.mark.parametrize("kind", ["bubblewrap"], indirect=True)
def test_a_worker_that_dies_leaves_no_process(make, tmp_path):
    """The wrapper is told by the kernel when its parent dies; here the parent is a process of our own."""
    sandbox = make()
    nap = unique_sleep()
    pid = os.fork()
    if pid == 0:
        try:
            sandbox.exec(["sh", "-c", f"setsid sleep {nap} & sleep {nap}"])
        finally:
            os._exit(0)
    assert eventually(lambda: is_alive(nap))
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    assert eventually(lambda: not is_alive(nap), within_s=2)
