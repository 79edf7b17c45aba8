"""The base of a task: exactly one commit's files, byte for byte, and nothing that came later."""

import os
import subprocess
import threading

import pytest
from django.conf import settings

from oneshot import store
from oneshot.errors import InfraError, TaskError
from tasks import trees
from tasks.snapshot import ensure_snapshot, make_base_repository
from tests.prepare.repositories import Lines, Repository, version_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def repository(tmp_path):
    return Repository(tmp_path / "origin")


def prepared(url, commit, **fields):
    version = version_of(url, commit, **fields)
    log = Lines()
    ensure_snapshot(version, log)
    version.refresh_from_db()
    return version, log


def files_of(version, tmp_path):
    archive = tmp_path / "snapshot.tar"
    archive.write_bytes(store.get(version.snapshot_digest))
    with trees.open_archive(archive) as opened:
        return {
            member.name: (
                oct(member.mode),
                member.linkname if member.issym() else opened.extractfile(member).read() if member.isreg() else None,
            )
            for member in opened
        }


def names_of(version, tmp_path):
    return sorted(files_of(version, tmp_path))


def test_base_that_is_no_branch_tip_is_fetched(repository, tmp_path):
    first = repository.commit(**{"a.txt": "one"})
    repository.commit(**{"a.txt": "two", "answer.txt": "42"})
    version, log = prepared(repository.path, first)
    assert files_of(version, tmp_path) == {"a.txt": ("0o644", b"one")}
    assert "1 files" in log.text()


def test_base_on_no_branch_at_all_is_fetched(repository, tmp_path):
    base = repository.commit(**{"a.txt": "one"})
    repository.git("checkout", "-q", "--detach")
    lost = repository.commit(**{"a.txt": "lost"})
    repository.git("update-ref", "refs/changes/1", lost)
    repository.git("checkout", "-q", "main")
    assert base != lost
    version, _ = prepared(repository.path, lost)
    assert files_of(version, tmp_path)["a.txt"][1] == b"lost"


@pytest.fixture
def old_protocol(tmp_path, monkeypatch):
    """An old server gives what its branches and tags name, and no other commit."""
    config = tmp_path / "gitconfig"
    config.write_text("[protocol]\n\tversion = 0\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))


def test_server_that_gives_no_single_commits_is_asked_for_its_branches(repository, tmp_path, old_protocol):
    first = repository.commit(**{"a.txt": "one"})
    second = repository.commit(**{"a.txt": "two"})
    tip = repository.commit(**{"a.txt": "three"})
    version, _ = prepared(repository.path, tip)
    version, log = prepared(repository.path, first)
    assert files_of(version, tmp_path)["a.txt"][1] == b"one"
    assert "fetching its branches" in log.text()
    version, log = prepared(repository.path, second)
    assert files_of(version, tmp_path)["a.txt"][1] == b"two"
    assert "already here" in log.text()


def test_bundle_file_serves_as_a_repository(repository, tmp_path):
    first = repository.commit(**{"a.txt": "one"})
    repository.commit(**{"a.txt": "two"})
    bundle = tmp_path / "all.bundle"
    repository.git("bundle", "create", "-q", str(bundle), "--all")
    version, _ = prepared(bundle, first)
    assert files_of(version, tmp_path)["a.txt"][1] == b"one"


def test_second_commit_of_a_repository_comes_after_a_single_fetch(repository, tmp_path):
    first = repository.commit(**{"a.txt": "one"})
    second = repository.commit(**{"a.txt": "two"})
    prepared(repository.path, second)
    version, _ = prepared(repository.path, first[:10])
    assert files_of(version, tmp_path)["a.txt"][1] == b"one"


def test_same_tree_gives_the_same_digest_and_commit_everywhere(tmp_path):
    versions = []
    for name in ("one", "two"):
        repository = Repository(tmp_path / name)
        repository.commit(message=name)
        commit = repository.commit(message=name, **{"b.txt": "b", "a/c.txt": "c"})
        versions.append(prepared(repository.path, commit)[0])
    assert versions[0].snapshot_digest == versions[1].snapshot_digest
    assert versions[0].snapshot_commit == versions[1].snapshot_commit


def test_head_is_the_tip_of_the_named_branch_and_stays_what_it_was(repository, tmp_path):
    repository.commit(**{"a.txt": "main"})
    repository.git("checkout", "-q", "-b", "other")
    repository.commit(**{"a.txt": "other"})
    repository.git("checkout", "-q", "main")
    version, _ = prepared(f"file://{repository.path}", "HEAD", repo={"branch": "other"})
    assert files_of(version, tmp_path)["a.txt"][1] == b"other"
    repository.git("checkout", "-q", "other")
    repository.commit(**{"a.txt": "later"})
    store.path_of(version.snapshot_digest).unlink()
    ensure_snapshot(version, Lines())
    assert files_of(version, tmp_path)["a.txt"][1] == b"other"


def test_files_marked_export_ignore_modes_links_and_odd_names_are_kept(repository, tmp_path):
    repository.write(".gitattributes", "secret.txt export-ignore\n*.crlf text eol=crlf\n*.id ident\n")
    repository.write("secret.txt", "kept")
    repository.write("mixed.crlf", b"a\r\nb\n")
    repository.write("x.id", "$Id$\n")
    repository.write("run.sh", "#!/bin/sh\n", executable=True)
    repository.write('odd "name"\n\\ and tab\t', "odd")
    repository.write(os.fsdecode(b"latin-\xe9.txt"), "latin")
    repository.write("ünïcode 漢字.txt", "u")
    repository.write("-rf", "dash")
    repository.write(".gitignore", "ignored.txt\n")
    repository.write("ignored.txt", "tracked all the same")
    (repository.path / "link").symlink_to("/etc/passwd")
    (repository.path / "inside").symlink_to("run.sh")
    version, _ = prepared(repository.path, repository.commit())
    files = files_of(version, tmp_path)
    listed = subprocess.run(
        ["git", "ls-tree", "-r", "-z", "--name-only", "HEAD"], cwd=repository.path, capture_output=True, check=True
    ).stdout
    assert sorted(files) == sorted(os.fsdecode(name) for name in listed.split(b"\0") if name)
    assert files["secret.txt"][1] == b"kept"
    assert files["x.id"][1] == b"$Id$\n"
    assert files["run.sh"][0] == "0o755"
    assert files["link"][1] == "/etc/passwd"
    assert files["inside"][1] == "run.sh"

    made = tmp_path / "made.git"
    commit = make_base_repository(tmp_path / "snapshot.tar", made)
    assert commit == version.snapshot_commit
    tree = subprocess.run(["git", "rev-parse", "HEAD^{tree}"], cwd=made, capture_output=True, check=True, text=True)
    assert tree.stdout.strip() == repository.git("rev-parse", "HEAD^{tree}")
    out = tmp_path / "out"
    trees.unpack(tmp_path / "snapshot.tar", out)
    assert os.readlink(out / "link") == "/etc/passwd"
    assert (out / 'odd "name"\n\\ and tab\t').read_text() == "odd"
    assert os.access(out / "run.sh", os.X_OK)


def test_base_repository_has_one_commit_and_nothing_else(repository, tmp_path):
    repository.commit(**{"a.txt": "one"})
    repository.git("tag", "v1")
    base = repository.commit(**{"a.txt": "two"})
    repository.commit(**{"a.txt": "answer"})
    version, _ = prepared(repository.path, base)
    archive = tmp_path / "base.tar"
    archive.write_bytes(store.get(version.snapshot_digest))
    made = tmp_path / "base.git"
    make_base_repository(archive, made)

    def run(*words):
        return subprocess.run(["git", *words], cwd=made, capture_output=True, text=True, check=True).stdout

    assert run("rev-list", "--all", "--count").strip() == "1"
    assert run("tag") == run("remote") == run("reflog") == run("fsck", "--unreachable", "--no-reflogs") == ""
    assert run("cat-file", "--batch-all-objects", "--batch-check").count("blob") == 1


def test_subdirectory_becomes_the_root_and_the_reference_diff_follows(repository, tmp_path):
    base = repository.commit(**{"packages/core/a.py": "a = 1\n", "README": "r\n", "packages/core/b.py": "b = 1\n"})
    repository.commit(**{"packages/core/a.py": "a = 2\n", "README": "new\n"})
    diff = repository.git("diff", base, "HEAD").encode() + b"\n"
    version, _ = prepared(
        repository.path,
        base,
        repo={"subdir": "packages/core"},
        diff=diff,
        hidden_tests=[{"path": "packages/core/test_a.py", "digest": store.put(b"t"), "rubric_id": None}],
    )
    assert names_of(version, tmp_path) == ["a.py", "b.py"]
    moved = version.reference_diff()
    assert b"a/a.py" in moved
    assert b"README" not in moved
    assert version.hidden_tests[0]["path"] == "test_a.py"


def test_reference_diff_of_a_subdirectory_stays_as_it_is(repository, tmp_path):
    base = repository.commit(**{"core/a.py": "a = 1\n"})
    repository.commit(**{"core/a.py": "a = 2\n"})
    diff = repository.git("diff", "--relative=core", base, "HEAD").encode() + b"\n"
    version, _ = prepared(repository.path, base, repo={"subdir": "core"}, diff=diff)
    assert version.reference_diff() == diff


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["src"], ["README", "src/a.py", "src/deep/b.py"]),
        (["docs/api"], ["README", "docs/api/x.md", "docs/index.md"]),
        (["/src/", "!/src/deep/"], ["src/a.py"]),
        (["/*", "!/*/", "/docs/"], ["README", "docs/api/x.md", "docs/index.md"]),
        (["*.md"], ["docs/api/x.md", "docs/index.md"]),
        (["**/api", "a?[a-c]"], ["docs/api/x.md"]),
        (["docs/**/x.*", "de[de]p"], ["docs/api/x.md", "src/deep/b.py"]),
    ],
)
def test_sparse_checkout_keeps_what_git_would(repository, tmp_path, patterns, expected):
    names = ["README", "src/a.py", "src/deep/b.py", "docs/index.md", "docs/api/x.md"]
    base = repository.commit(**dict.fromkeys(names, "x"))
    version, _ = prepared(repository.path, base, repo={"sparse_checkout": patterns})
    assert names_of(version, tmp_path) == expected

    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(repository.path), str(clone)], check=True)
    plain = not any(set("*!") & set(pattern) for pattern in patterns)
    mode = "--cone" if plain else "--no-cone"
    subprocess.run(["git", "sparse-checkout", "set", mode, *patterns], cwd=clone, check=True, capture_output=True)
    seen = [str(path.relative_to(clone)) for path in clone.rglob("*") if path.is_file() and ".git" not in path.parts]
    assert sorted(seen) == expected


def test_overlay_files_lie_over_the_base(repository, tmp_path):
    base = repository.commit(**{"a.txt": "old"})
    overlay = [
        {"path": "a.txt", "digest": store.put(b"new"), "mode": "0644"},
        {"path": "bin/tool", "digest": store.put(b"#!/bin/sh\n"), "mode": "0755"},
    ]
    version, _ = prepared(repository.path, base, overlay_files=overlay)
    assert files_of(version, tmp_path) == {"a.txt": ("0o644", b"new"), "bin/tool": ("0o755", b"#!/bin/sh\n")}


def test_files_alone_make_a_base_without_a_repository(tmp_path):
    version, _ = prepared("", "", overlay_files=[{"path": "calc.py", "digest": store.put(b"x = 1\n"), "mode": 0o644}])
    assert names_of(version, tmp_path) == ["calc.py"]


def test_overlay_cannot_write_through_a_link_of_the_repository(repository):
    (repository.path / "etc").symlink_to("/etc")
    base = repository.commit()
    overlay = [{"path": "etc/passwd", "digest": store.put(b"x"), "mode": "0644"}]
    with pytest.raises(TaskError, match="below something that is no directory"):
        prepared(repository.path, base, overlay_files=overlay)


def test_submodules_and_lfs_pointers_are_named_in_the_log(repository, tmp_path):
    repository.write("big.bin", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    head = repository.commit()
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{head},vendor/lib")
    repository.git("commit", "-qm", "module")
    version, log = prepared(repository.path, repository.git("rev-parse", "HEAD"))
    assert "vendor/lib" in log.text()
    assert "Git LFS" in log.text()
    assert files_of(version, tmp_path)["vendor/lib"] == ("0o755", None)


def test_missing_commit_is_the_task_s_fault_and_says_the_mend(repository):
    repository.commit()
    with pytest.raises(TaskError, match=r"no branch, tag or other reference leads to it\. Push it"):
        prepared(repository.path, "0123456789" * 4)


def test_shallow_source_says_how_to_deepen_it(repository, tmp_path):
    first = repository.commit(**{"a": "1"})
    repository.commit(**{"a": "2"})
    shallow = tmp_path / "shallow"
    subprocess.run(["git", "clone", "-q", "--depth=1", f"file://{repository.path}", str(shallow)], check=True)
    with pytest.raises(TaskError, match=r"shallow clone.*--unshallow"):
        prepared(shallow, first)
    head = repository.git("rev-parse", "HEAD")
    prepared(shallow, head)


def test_missing_repository_is_the_task_s_fault(tmp_path):
    with pytest.raises(TaskError, match="There is no git repository at"):
        prepared(tmp_path / "nowhere", "a" * 40)


def test_unreachable_server_is_this_installation_s_fault():
    with pytest.raises(InfraError, match="cannot be reached"):
        prepared("http://127.0.0.1:9/x.git", "a" * 40)


@pytest.mark.parametrize("url", ["ext::sh -c 'touch /tmp/oops'", "--upload-pack=touch", "fd::17", "ftp://h/x"])
def test_address_that_would_run_a_program_is_refused(url):
    with pytest.raises(TaskError, match="cannot be used"):
        prepared(url, "a" * 40)


def test_hooks_and_settings_of_a_local_repository_run_nothing(repository, tmp_path):
    base = repository.commit(**{"a.txt": "a", ".gitattributes": "* filter=evil\n"})
    mark = tmp_path / "ran"
    repository.git("config", "core.fsmonitor", f"touch {mark}")
    repository.git("config", "filter.evil.smudge", f"touch {mark}; cat")
    repository.git("config", "uploadpack.packObjectsHook", f"touch {mark};")
    hook = repository.path / ".git" / "hooks" / "post-checkout"
    hook.write_text(f"#!/bin/sh\ntouch {mark}\n")
    hook.chmod(0o755)
    version, _ = prepared(repository.path, base)
    assert version.snapshot_digest
    assert not mark.exists()


def test_repository_of_another_user_is_read(repository):
    base = repository.commit(**{"a.txt": "a"})
    for folder, _, names in os.walk(repository.path):
        for path in [folder, *(os.path.join(folder, name) for name in names)]:
            os.lchown(path, 12345, 12345)
    version, _ = prepared(repository.path, base)
    assert version.snapshot_digest


def test_too_large_a_base_says_how_to_take_a_part(repository, monkeypatch):
    base = repository.commit(**{"a": "1", "b": "2"})
    monkeypatch.setattr(trees, "MOST_FILES", 1)
    with pytest.raises(TaskError, match=r"repo\.subdir or repo\.sparse_checkout"):
        prepared(repository.path, base)


@pytest.mark.parametrize("name", [b".git", b"..", b".GIT"])
def test_tree_with_a_path_that_leaves_it_is_refused(repository, name):
    blob = repository.git("hash-object", "-w", "--stdin", stdin=b"evil")
    inner = (
        subprocess.run(
            ["git", "mktree", "-z"],
            cwd=repository.path,
            input=b"100644 blob " + blob.encode() + b"\tconfig\0",
            capture_output=True,
            check=True,
        )
        .stdout.decode()
        .strip()
    )
    raw = b"40000 " + name + b"\0" + bytes.fromhex(inner)
    tree = repository.git("hash-object", "-t", "tree", "-w", "--stdin", "--literally", stdin=raw)
    commit = repository.git("commit-tree", tree, "-m", "evil")
    repository.git("update-ref", "refs/heads/evil", commit)
    with pytest.raises(TaskError, match="no checkout may have"):
        prepared(repository.path, commit)


def test_stopping_ends_a_fetch_at_once(tmp_path):
    """A server that never answers is left as soon as the work must stop."""
    import socket

    class Stopped(Exception):
        pass

    def stop():
        raise Stopped

    with socket.create_server(("127.0.0.1", 0)) as server:
        version = version_of(f"http://127.0.0.1:{server.getsockname()[1]}/x.git", "a" * 40)
        with pytest.raises(Stopped):
            ensure_snapshot(version, Lines(), stop)


@pytest.mark.django_db(transaction=True)
def test_many_at_once_fetch_only_once(repository):
    base = repository.commit(**{"a.txt": "a"})
    version = version_of(repository.path, base)
    logs = [Lines() for _ in range(4)]

    def work(log):
        from django.db import connection

        from tasks.models import TaskVersion

        ensure_snapshot(TaskVersion.objects.get(pk=version.pk), log)
        connection.close()

    threads = [threading.Thread(target=work, args=(log,)) for log in logs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert sum("fetching" in log.text() for log in logs) == 1


def test_no_scratch_is_left_behind(repository):
    prepared(repository.path, repository.commit(**{"a.txt": "a"}))
    left = [path.name for path in (settings.DATA_DIR / "repositories").iterdir() if path.name.startswith(".")]
    assert left == []
