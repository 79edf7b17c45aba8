"""What a command in a sandbox gets, gives and leaves behind."""

import threading
import time

import pytest

from runs.errors import InfraError
from tests.sandboxes.conftest import ALL, ALL_AND_FAR, USUAL, eventually, is_alive, text, unique_sleep

every = pytest.mark.parametrize("kind", ALL, indirect=True)
far_too = pytest.mark.parametrize("kind", ALL_AND_FAR, indirect=True)
usual = pytest.mark.parametrize("kind", USUAL, indirect=True)


@far_too
def test_output_error_and_exit_status_come_back_apart(shared):
    result = shared.exec(["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert (result.exit_code, result.stdout, result.stderr) == (3, b"out\n", b"err\n")
    assert not result.timed_out
    assert not result.truncated
    assert result.limit == ""
    assert result.seconds > 0


@every
def test_the_workdir_the_home_and_the_image_environment_are_there(shared):
    result = shared.exec(["sh", "-c", 'pwd; cd ~ && pwd && touch here; echo "$FROM_IMAGE"; id -u'])
    assert result.stdout.decode().split()[:3] == [shared.workdir, shared.home, "yes"]
    assert result.stdout.split()[3] != b"0" or shared.isolation == "unshare"
    assert shared.exec(["sh", "-c", f"test -d {shared.base_git} && ! touch {shared.base_git}/new"]).exit_code == 0


@usual
def test_the_environment_is_the_image_s_the_sandbox_s_and_the_command_s_never_ours(make, monkeypatch):
    monkeypatch.setenv("SECRET_OF_THE_HOST", "key")
    sandbox = make(env={"OF_SANDBOX": "a", "BOTH": "sandbox"})
    seen = text(sandbox.exec(["env"], env={"BOTH": "command", "SPACED": "two words"}).stdout).splitlines()
    assert {"OF_SANDBOX=a", "BOTH=command", "SPACED=two words", "FROM_IMAGE=yes"} <= set(seen)
    assert not any("SECRET_OF_THE_HOST" in line for line in seen)


@every
def test_stdin_reaches_the_command_and_ends(shared):
    data = b"0123456789abcdef" * 100_000
    assert shared.exec(["wc", "-c"], stdin=data).stdout.split() == [b"1600000"]
    assert shared.exec(["cat"], stdin=b"short").stdout == b"short"
    assert shared.exec(["cat"]).stdout == b""
    # A command that reads nothing is not held up by what it is sent.
    assert shared.exec(["true"], stdin=data).exit_code == 0


@usual
def test_the_working_directory_can_be_given(shared):
    assert text(shared.exec(["pwd"], cwd="/usr").stdout).strip() == "/usr"
    assert shared.exec(["pwd"], cwd="/nowhere").exit_code in (126, 127)


@usual
def test_a_command_that_is_not_there_answers_as_in_a_shell(shared):
    result = shared.exec(["no-such-command", "--now"])
    assert result.exit_code == 127
    assert b"no-such-command" in result.stderr


@usual
def test_files_stay_from_one_command_to_the_next(shared):
    shared.exec(["sh", "-c", "echo kept > file; echo too > /tmp/other"] if shared.isolation != "none" else
                 ["sh", "-c", 'echo kept > file; echo too > "$TMPDIR/other"'])  # fmt: skip
    assert shared.exec(["cat", "file", shared.path("/tmp/other")]).stdout == b"kept\ntoo\n"


@usual
def test_output_arrives_while_the_command_runs(shared):
    seen = []

    def sink(name, data):
        seen.append((name, data))
        if b"ready" in data:
            shared.put("/tmp/go", b"")

    script = 'echo ready; while [ ! -e "$1" ]; do sleep 0.02; done; echo done'
    result = shared.exec(["sh", "-c", script, "wait", shared.path("/tmp/go")], timeout_s=10, sink=sink)
    assert result.exit_code == 0
    assert b"".join(data for name, data in seen if name == "stdout") == b"ready\ndone\n"


@usual
def test_a_flood_is_cut_in_the_middle(shared):
    passed = []
    result = shared.exec(
        ["sh", "-c", "echo begin; head -c 3000000 /dev/zero | tr '\\0' x; echo; echo end; echo whole >&2"],
        max_output_bytes=1000,
        sink=lambda name, data: passed.append(len(data)),
    )
    assert result.exit_code == 0
    assert result.truncated
    assert len(result.stdout) == 1000
    assert result.stdout.startswith(b"begin\n")
    assert result.stdout.endswith(b"\nend\n")
    assert result.stderr == b"whole\n"
    assert sum(passed) == 3_000_000 + len("begin\n\nend\nwhole\n")


@usual
def test_what_is_within_the_bound_is_whole(shared):
    result = shared.exec(["sh", "-c", "head -c 1000 /dev/zero | tr '\\0' x"], max_output_bytes=1000)
    assert result.stdout == b"x" * 1000
    assert not result.truncated


@far_too
def test_a_time_out_kills_children_and_daemons_too_and_keeps_the_files(sandbox):
    nap = unique_sleep()
    script = f"echo started; setsid sh -c 'cd /; sleep {nap}; true' </dev/null >/dev/null 2>&1 & sleep {nap}; echo no"
    began = time.monotonic()
    result = sandbox.exec(["sh", "-c", f"echo work > left-behind; {script}"], timeout_s=0.7)
    assert result.timed_out
    assert result.exit_code is None
    assert result.stdout == b"started\n"
    assert time.monotonic() - began < 3
    assert eventually(lambda: not is_alive(nap), within_s=2)
    assert sandbox.exec(["cat", "left-behind"]).stdout == b"work\n"


@far_too
def test_a_daemon_does_not_outlive_its_command(shared):
    nap = unique_sleep()
    result = shared.exec(["sh", "-c", f"env -i setsid sleep {nap} </dev/null >/dev/null 2>&1 & echo hi"])
    assert result.exit_code == 0
    assert eventually(lambda: not is_alive(nap), within_s=1)


@far_too
def test_a_child_that_keeps_the_output_open_does_not_hold_up_the_end(shared):
    nap = unique_sleep()
    result = shared.exec(["sh", "-c", f"setsid sleep {nap} & echo last words"], timeout_s=30)
    assert result.exit_code == 0
    assert result.stdout == b"last words\n"
    assert result.seconds < 5
    assert not is_alive(nap)


@usual
def test_a_command_that_closes_its_output_is_waited_for(shared):
    result = shared.exec(["sh", "-c", "exec >&- 2>&-; sleep 0.3; exit 7"], timeout_s=10)
    assert result.exit_code == 7
    assert result.seconds >= 0.3


@usual
def test_a_command_that_dies_of_a_signal_says_which(shared):
    assert shared.exec(["sh", "-c", "kill -TERM $$"]).exit_code == 128 + 15


@far_too
def test_kill_from_another_thread_ends_a_command_within_a_second(shared):
    nap = unique_sleep()
    results = []
    began = threading.Event()
    thread = threading.Thread(
        target=lambda: results.append(
            shared.exec(["sh", "-c", f"echo on; sleep {nap}"], sink=lambda name, data: began.set())
        )
    )
    thread.start()
    assert began.wait(5)
    at = time.monotonic()
    shared.kill()
    thread.join(5)
    assert time.monotonic() - at < 1.0
    assert results[0].exit_code is None
    assert not results[0].timed_out
    assert not is_alive(nap)
    assert shared.exec(["echo", "again"]).stdout == b"again\n"


@every
def test_destroying_a_sandbox_ends_its_command(sandbox):
    nap = unique_sleep()
    results = []
    began = threading.Event()

    def run():
        try:
            results.append(sandbox.exec(["sh", "-c", f"echo on; sleep {nap}"], sink=lambda name, data: began.set()))
        except InfraError as error:
            results.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert began.wait(5)
    sandbox.destroy()
    thread.join(3)
    assert results[0].exit_code is None
    assert eventually(lambda: not is_alive(nap), within_s=1)


@usual
def test_a_sink_that_gives_up_takes_the_command_with_it(shared):
    nap = unique_sleep()

    class GaveUp(Exception):
        pass

    def sink(name, data):
        raise GaveUp

    with pytest.raises(GaveUp):
        shared.exec(["sh", "-c", f"echo hi; sleep {nap}"], sink=sink)
    assert eventually(lambda: not is_alive(nap), within_s=1)
    assert shared.exec(["true"]).exit_code == 0


@usual
def test_two_commands_run_at_once(shared):
    results = {}

    def run(mine, other):
        script = 'echo > "$1"; while [ ! -e "$2" ]; do sleep 0.02; done; sleep 0.1; echo met'
        paths = [shared.path(f"/tmp/{mine}"), shared.path(f"/tmp/{other}")]
        results[mine] = shared.exec(["sh", "-c", script, "meet", *paths], timeout_s=10)

    threads = [threading.Thread(target=run, args=pair) for pair in (("a", "b"), ("b", "a"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {name: result.stdout for name, result in results.items()} == {"a": b"met\n", "b": b"met\n"}


@usual
def test_a_destroyed_sandbox_says_so_and_can_be_destroyed_again(sandbox):
    sandbox.destroy()
    sandbox.destroy()
    with pytest.raises(InfraError, match="destroyed"):
        sandbox.exec(["true"])
    with pytest.raises(InfraError, match="destroyed"):
        sandbox.get("/work/README")
