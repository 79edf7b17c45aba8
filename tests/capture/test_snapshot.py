"""A snapshot is the tree as it lies on the disk, whatever state git is in, and nothing of the user's is touched."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tasks.capture import difference, snapshot
from tasks.capture.errors import BadRepository
from tasks.capture.worktree import Worktree, without_credentials
from tests.capture.conftest import BASE, content, files_of, state_of
from tests.prepare.repositories import Repository


def take(repository: Repository, path: Path | None = None) -> snapshot.Snapshot:
    return snapshot.take(Worktree.locate(path or repository.path), message="test")


def test_staged_unstaged_and_untracked_are_in_it_and_ignored_is_not(repository):
    repository.write("adder.py", "staged\n")
    repository.git("add", "adder.py")
    repository.write("adder.py", "on the disk\n")
    repository.write("new/untracked.txt", "new\n")
    repository.write("trace.log", "ignored\n")
    taken = take(repository)
    assert content(repository, taken.commit, "adder.py") == b"on the disk\n"
    assert set(files_of(repository, taken.commit)) == {*BASE, "new/untracked.txt"}
    assert repository.git("rev-parse", f"{taken.commit}^") == taken.head == repository.git("rev-parse", "HEAD")
    assert taken.branch == "main"


def test_nothing_of_the_user_changes_but_objects_and_private_refs(repository):
    repository.write("adder.py", "staged\n")
    repository.git("add", "adder.py")
    repository.git("stash")
    repository.write("adder.py", "again\n")
    repository.write("new.txt", "new\n")
    repository.git("config", "core.logAllRefUpdates", "always")
    before = state_of(repository.path)
    taken = take(repository)
    snapshot.keep(Worktree.locate(repository.path), "1", "start", taken.commit)
    assert state_of(repository.path) == before
    repository.git("gc", "-q", "--prune=now")
    assert content(repository, "refs/oneshot/captures/1/start", "new.txt") == b"new\n"


def test_a_change_in_the_same_moment_as_the_index_is_seen(repository):
    """Git tells it by the times of file and index; a copy of the index with a later time would hide it."""
    repository.write("adder.py", "def add(a, b):\n    return a * b\n")
    index = repository.path / ".git" / "index"
    repository.git("add", "adder.py")
    repository.write("adder.py", "def add(a, b):\n    return a + b\n")
    times = index.stat()
    os.utime(repository.path / "adder.py", ns=(times.st_mtime_ns, times.st_mtime_ns))
    assert content(repository, take(repository).commit, "adder.py").endswith(b"a + b\n")


def test_modes_links_and_odd_names(repository):
    (repository.path / "tools/run.sh").chmod(0o755)
    (repository.path / "link").symlink_to("adder.py")
    (repository.path / "README.md").unlink()
    (repository.path / "README.md").symlink_to("/etc/passwd")
    names = [b"caf\xe9.txt", b"new\nline", b"tab\tname", b'quo"te', b"-dash", "naïve ☃.txt".encode(), b" space "]
    for name in names:
        (Path(os.fsencode(repository.path).decode()) / os.fsdecode(name)).write_text("x")
    taken = take(repository)
    listed = subprocess.run(
        ["git", "ls-tree", "-r", "-z", taken.commit], cwd=repository.path, check=True, capture_output=True
    ).stdout.split(b"\0")
    modes = {row.partition(b"\t")[2]: row.split()[0] for row in listed if row}
    assert modes[b"tools/run.sh"] == b"100755"
    assert modes[b"link"] == modes[b"README.md"] == b"120000"
    assert all(modes[name] == b"100644" for name in names)


def test_a_file_that_became_a_directory_and_one_that_became_a_file(repository):
    (repository.path / "adder.py").unlink()
    repository.write("adder.py/core.py", "x\n")
    (repository.path / "tools/run.sh").unlink()
    (repository.path / "tools").rmdir()
    repository.write("tools", "a file now\n")
    assert set(files_of(repository, take(repository).commit)) == {
        "adder.py/core.py",
        "tools",
        "README.md",
        ".gitignore",
    }


def test_a_tracked_file_counts_although_it_is_ignored(repository):
    repository.write("kept.log", "1\n")
    repository.git("add", "-f", "kept.log")
    repository.git("commit", "-qm", "log")
    repository.write("kept.log", "2\n")
    repository.write("other.log", "2\n")
    taken = take(repository)
    assert content(repository, taken.commit, "kept.log") == b"2\n"
    assert "other.log" not in files_of(repository, taken.commit)


def test_oneshots_own_data_is_left_out(repository, settings):
    settings.DATA_DIR = repository.path / "var"
    repository.write("var/oneshot.sqlite3", "x")
    repository.write("various.txt", "x")
    files = files_of(repository, take(repository).commit)
    assert "various.txt" in files
    assert "var/oneshot.sqlite3" not in files


def test_files_of_the_users_global_ignore_list_are_left_out(repository, nobodys_configuration):
    (nobodys_configuration.parent / "ignore").write_text("*.swp\n")
    nobodys_configuration.write_text("[core]\n\texcludesFile = ~/ignore\n")
    repository.write("adder.swp", "x")
    assert "adder.swp" not in files_of(repository, take(repository).commit)


def test_intent_to_add_assume_unchanged_and_skip_worktree_hide_nothing_that_is_there(repository):
    repository.write("later.txt", "later\n")
    repository.git("add", "-N", "later.txt")
    repository.git("update-index", "--assume-unchanged", "adder.py")
    repository.git("update-index", "--skip-worktree", "README.md")
    repository.write("adder.py", "changed\n")
    repository.write("README.md", "changed too\n")
    taken = take(repository)
    for path, text in (("later.txt", b"later\n"), ("adder.py", b"changed\n"), ("README.md", b"changed too\n")):
        assert content(repository, taken.commit, path) == text
    assert repository.git("ls-files", "-v", "adder.py", "README.md").split("\n") == ["S README.md", "h adder.py"]


@pytest.mark.parametrize("cone", ["--cone", "--no-cone"])
def test_what_a_sparse_checkout_leaves_out_is_not_deleted(repository, cone):
    repository.commit("more", **{"docs/guide.md": "guide\n", "src/core.py": "core\n"})
    repository.git("sparse-checkout", "set", cone, "src")
    assert not (repository.path / "docs").exists()
    repository.write("src/core.py", "changed\n")
    repository.write("docs/new.md", "outside\n")
    taken = take(repository)
    assert content(repository, taken.commit, "docs/guide.md") == b"guide\n"
    assert content(repository, taken.commit, "src/core.py") == b"changed\n"
    assert content(repository, taken.commit, "docs/new.md") == b"outside\n"


def test_a_split_index_is_read_and_stays_as_it_is(repository):
    repository.git("config", "core.splitIndex", "true")
    repository.git("update-index", "--split-index")
    repository.write("adder.py", "changed\n")
    before = state_of(repository.path)
    assert content(repository, take(repository).commit, "adder.py") == b"changed\n"
    assert state_of(repository.path) == before


def test_conflicts_are_taken_as_they_lie_on_the_disk(repository):
    repository.git("checkout", "-qb", "other")
    repository.commit("other", **{"adder.py": "other\n"})
    repository.git("checkout", "-q", "main")
    repository.commit("mine", **{"adder.py": "mine\n"})
    with pytest.raises(subprocess.CalledProcessError):
        repository.git("merge", "other")
    assert b"<<<<<<<" in content(repository, take(repository).commit, "adder.py")


def test_line_ends_follow_the_users_setting(repository, nobodys_configuration):
    nobodys_configuration.write_text("[core]\n\tautocrlf = true\n")
    repository.write("README.md", "# Adder\r\n")
    repository.write("windows.txt", "one\r\ntwo\r\n")
    taken = take(repository)
    assert content(repository, taken.commit, "README.md") == b"# Adder\n"
    assert content(repository, taken.commit, "windows.txt") == b"one\ntwo\n"


@pytest.fixture
def marker(tmp_path):
    """A file that appears when a program of the repository was run, and the command that would make it."""
    path = tmp_path / "was-run"
    return path, f"touch {path}; cat"


def test_no_program_of_the_repository_is_run(repository, marker):
    ran, command = marker
    hooks = repository.path / ".git" / "hooks"
    for name in ("post-index-change", "reference-transaction", "pre-commit", "post-commit", "fsmonitor-watchman"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {ran}\n")
        (hooks / name).chmod(0o755)
    repository.commit("attributes", **{".gitattributes": "*.bin filter=evil=1 diff=evil\n*.txt filter=lfs\n"})
    ran.unlink(missing_ok=True)
    config = [
        *(("core.fsmonitor", command), ("filter.lfs.process", command), ("filter.lfs.clean", command)),
        *(("filter.evil=1.clean", command), ("filter.evil=1.required", "true"), ("diff.evil.command", command)),
        *(("diff.evil.textconv", command), ("core.pager", command), ("core.sshCommand", command)),
    ]
    for key, value in config:
        repository.git("config", key, value)
    ran.unlink(missing_ok=True)
    repository.write("data.bin", b"\0\1")
    repository.write("large.txt", "large\n")
    start = take(repository)
    repository.write("data.bin", b"\0\1\2")
    end = take(repository)
    place = Worktree.locate(repository.path)
    snapshot.keep(place, "1", "start", start.commit)
    assert b"GIT binary patch" in difference.reference_diff(place, start.commit, end.commit)
    assert not ran.exists()


def test_a_large_file_is_kept_as_the_pointer_that_its_filter_would_write(repository):
    repository.commit("attributes", **{".gitattributes": "*.psd filter=lfs diff=lfs merge=lfs -text\n"})
    repository.write("art.psd", b"pixels" * 1000)
    taken = take(repository)
    pointer = content(repository, taken.commit, "art.psd")
    assert pointer.startswith(b"version https://git-lfs.github.com/spec/v1\noid sha256:")
    assert pointer.endswith(b"size 6000\n")
    assert "art.psd" in taken.notes[0]
    repository.write("art.psd", pointer)
    assert content(repository, take(repository).commit, "art.psd") == pointer


def test_a_submodule_is_its_commit_and_whether_it_is_dirty(repository, tmp_path):
    library = Repository(tmp_path / "library")
    first = library.commit("library", **{"lib.py": "1\n"})
    second = library.commit("more", **{"lib.py": "2\n"})
    repository.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(library.path), "vendor/lib")
    repository.git("commit", "-qm", "submodule")
    assert take(repository).submodules == [{"path": "vendor/lib", "commit": second, "dirty": False}]
    inside = repository.path / "vendor" / "lib"
    subprocess.run(["git", "checkout", "-q", first], cwd=inside, check=True)
    (inside / "lib.py").write_text("changed\n")
    before = state_of(repository.path)
    taken = take(repository)
    assert state_of(repository.path) == before
    assert taken.submodules == [{"path": "vendor/lib", "commit": first, "dirty": True}]
    assert f"160000 commit {first}" in repository.git("ls-tree", "-r", taken.commit)
    assert "vendor/lib" in taken.notes[0]


def test_repositories_inside_are_left_out_and_named(repository):
    for name, commits in (("nested", True), ("empty nested", False)):
        inner = Repository(repository.path / name)
        inner.write("file.txt", "x")
        if commits:
            inner.commit("inner")
    taken = take(repository)
    assert set(files_of(repository, taken.commit)) == set(BASE)
    assert "nested" in taken.notes[0]


def test_a_linked_worktree_is_its_own_tree(repository, tmp_path):
    repository.git("worktree", "add", "-q", "-b", "side", str(tmp_path / "side"))
    (tmp_path / "side" / "adder.py").write_text("side\n")
    before = state_of(repository.path)
    taken = take(repository, tmp_path / "side")
    assert taken.branch == "side"
    assert content(repository, taken.commit, "adder.py") == b"side\n"
    snapshot.keep(Worktree.locate(tmp_path / "side"), "1", "start", taken.commit)
    assert repository.git("rev-parse", "refs/oneshot/captures/1/start") == taken.commit
    assert state_of(repository.path) == before


def test_a_repository_without_commits_has_a_snapshot_without_parent(tmp_path):
    repository = Repository(tmp_path / "fresh")
    repository.write("first.txt", "1\n")
    taken = take(repository)
    assert (taken.head, taken.branch) == ("", "main")
    assert repository.git("rev-list", "--count", taken.commit) == "1"
    assert set(files_of(repository, taken.commit)) == {"first.txt"}


def test_a_folder_below_the_top_leads_to_the_whole_repository(repository):
    assert Worktree.locate(repository.path / "tools").top == repository.path


def test_no_repository_and_a_broken_one_are_said_plainly(tmp_path):
    (tmp_path / "plain").mkdir()
    with pytest.raises(BadRepository, match="is not in a git repository"):
        Worktree.locate(tmp_path / "plain")
    with pytest.raises(BadRepository, match="cannot be opened"):
        Worktree.locate(tmp_path / "nowhere")
    (tmp_path / "plain" / ".git").write_text("gitdir: /nowhere/at/all\n")
    with pytest.raises(BadRepository, match="which is not there"):
        Worktree.locate(tmp_path / "plain")
    (tmp_path / "plain" / ".git").unlink()
    (tmp_path / "plain" / ".git").mkdir()
    with pytest.raises(BadRepository, match="git cannot read the repository"):
        Worktree.locate(tmp_path / "plain")


def test_a_repository_that_cannot_be_written_is_said_plainly(repository):
    repository.write("adder.py", "changed\n")
    objects = repository.path / ".git" / "objects"
    objects.rename(repository.path / ".git" / "real-objects")
    # Whoever runs the tests, root too, cannot make a file in there.
    objects.symlink_to("/proc/self/fdinfo")
    with pytest.raises(BadRepository, match=r"not be kept|failed in"):
        take(repository)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://ann:word@example.org/a/b.git", "https://example.org/a/b.git"),
        ("https://token@example.org:8443/a", "https://example.org:8443/a"),
        ("ssh://git:word@example.org/a", "ssh://git@example.org/a"),
        ("git@example.org:a/b.git", "git@example.org:a/b.git"),
        ("/srv/git/a", "/srv/git/a"),
    ],
)
def test_remote_urls_lose_their_credentials(url, shown):
    assert without_credentials(url) == shown
