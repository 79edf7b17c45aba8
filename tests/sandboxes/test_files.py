"""Files into a sandbox and out of it, also when what is inside is hostile."""

from pathlib import Path

import pytest

from runs.errors import InfraError
from runs.sandboxes.base import FileTooLarge
from tests.sandboxes.conftest import USUAL, text

pytestmark = pytest.mark.parametrize("kind", USUAL, indirect=True)


def run(sandbox, script: str, *arguments: str) -> str:
    result = sandbox.exec(["sh", "-c", script, "sh", *arguments])
    assert result.exit_code == 0, text(result.stderr)
    return text(result.stdout)


def test_a_file_is_written_with_its_directories_for_the_sandbox_s_own_user(shared):
    data = bytes(range(256)) * 1000
    shared.put("/work/new/deep/file.bin", data, mode=0o755)
    assert shared.get("/work/new/deep/file.bin") == data
    where = shared.path("/work/new/deep/file.bin")
    owner, mode = run(shared, 'stat -c "%u %a" "$1"', where).split()
    assert (owner, mode) == (run(shared, "id -u").strip(), "755")
    assert run(shared, 'rm -r "$1"; echo gone', shared.path("/work/new")) == "gone\n"


def test_home_and_tmp_can_be_written_and_the_system_cannot(shared):
    shared.put(f"{shared.home}/.config/tool.toml", b"a = 1")
    shared.put("/home/agent/.config/other.toml", b"b = 1")
    shared.put("/tmp/scratch", b"c")
    assert run(shared, "cat ~/.config/tool.toml ~/.config/other.toml") == "a = 1b = 1"
    with pytest.raises(InfraError):
        shared.put("/usr/bin/new", b"")
    with pytest.raises(InfraError):
        shared.put(shared.base_git + "/HEAD", b"")


def test_a_file_that_is_there_is_replaced(shared):
    shared.put("/work/twice", b"a long first version")
    shared.put("/work/twice", b"second")
    assert shared.get("/work/twice") == b"second"


def test_an_empty_file_is_a_file(shared):
    shared.put("/work/empty", b"")
    assert shared.get("/work/empty") == b""


def test_a_tree_is_written_in_one_go(shared):
    files = {f"d{number % 7}/sub/f{number}": str(number).encode() for number in range(60)} | {"top": b"t"}
    shared.put_tree("/work/tree", files)
    listed = run(shared, 'cd "$1" && find . -type f | wc -l; cat d3/sub/f3 top', shared.path("/work/tree"))
    assert listed == "61\n3t"
    shared.put_tree("/work/tree", {})


@pytest.mark.parametrize("name", ["../outside", "/absolute", "a/../../b", "", "a//b", "./a", "nul\0"])
def test_a_name_that_leaves_the_tree_is_refused(shared, name):
    with pytest.raises(InfraError, match="plain relative"):
        shared.put_tree("/work/tree", {name: b""})


def test_links_in_the_way_are_replaced_not_followed(shared):
    run(shared, "mkdir -p away trap; echo old > away/file; ln -s ../away trap/tests; ln -s ../away/file trap/link")
    shared.put_tree("/work/trap", {"tests/file": b"new", "link": b"newer"})
    shared.put("/work/trap/tests/more", b"more")
    script = (
        "cat away/file; ls away; test -L trap/tests || test -L trap/link || echo plain; cat trap/tests/file trap/link"
    )
    assert run(shared, script) == "old\nfile\nplain\nnewnewer"


def test_a_directory_where_a_file_belongs_is_replaced(shared):
    run(shared, "mkdir -p blocked/tests/test_a.py/inner; echo x > blocked/plain")
    shared.put_tree("/work/blocked", {"tests/test_a.py": b"def test(): pass", "plain/under": b"u"})
    assert run(shared, "cat blocked/tests/test_a.py blocked/plain/under") == "def test(): passu"


def test_what_is_not_there_is_a_file_not_found(shared):
    for path in ("/work/missing", "/work/missing/file", f"{shared.home}/none", "/nowhere/at/all"):
        with pytest.raises(FileNotFoundError):
            shared.get(path)


def test_only_regular_files_are_read(shared):
    run(shared, "mkdir dir; mkfifo pipe; ln -s /etc/passwd link; ln -s dir/none dangling; ln -s link again")
    for name in ("dir", "pipe", "link", "dangling", "again"):
        with pytest.raises(FileNotFoundError):
            shared.get(f"/work/{name}")


def test_a_link_on_the_way_does_not_lead_to_the_host(shared):
    outside = "/etc"
    run(shared, 'ln -sfn "$1" way', outside)
    host = Path("/etc/passwd").read_bytes()
    try:
        found = shared.get("/work/way/passwd")
    except FileNotFoundError:
        return
    # A container's own /etc is its own business.
    assert shared.isolation == "container"
    assert found != host


def test_a_file_that_is_too_large_is_refused(shared):
    run(shared, "head -c 3000000 /dev/zero > large; truncate -s 50000000 sparse")
    for name in ("large", "sparse"):
        with pytest.raises(FileTooLarge, match="at most 1000000"):
            shared.get(f"/work/{name}", max_bytes=1_000_000)
    assert len(shared.get("/work/large", max_bytes=3_000_000)) == 3_000_000
    run(shared, "rm large sparse")


def test_strange_names_go_in_and_come_out(shared):
    names = ["with space", "-dash", "quote'\"`$(x)", "new\nline", "ünïcode"]
    shared.put_tree("/work/strange", {name: name.encode() for name in names})
    for name in names:
        assert shared.get(f"/work/strange/{name}") == name.encode()


def test_what_the_agent_did_to_modes_does_not_stop_destroy(make):
    sandbox = make()
    sandbox.exec(["sh", "-c", "mkdir -p a/b/c; touch a/b/c/d; chmod 000 a/b/c a/b a; chmod 555 ."])
    sandbox.destroy()


def test_a_very_deep_tree_does_not_stop_destroy(make):
    sandbox = make()
    # Longer than any path may be
    script = "deep=$(printf '%0200d/' $(seq 18)); mkdir -p $deep && cd -P $deep && mkdir -p $deep"
    assert sandbox.exec(["sh", "-c", script]).exit_code == 0
    sandbox.destroy()
    if hasattr(sandbox, "plan"):
        assert not sandbox.plan.directory.exists()
