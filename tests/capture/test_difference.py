"""The reference diff makes the end out of the start, byte for byte, whatever was done in between."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tasks.capture import difference, snapshot
from tasks.capture.worktree import Worktree
from tasks.patches import check_patch
from tests.prepare.repositories import Repository

PATHS = ["a.txt", "b.bin", "d/a.txt", "d/e/deep.py", "d", "with space", "né.txt", "-dash", 'quo"te', "new\nline"]
NAMES = st.sampled_from([*map(os.fsencode, PATHS), b"caf\xe9"])
CONTENTS = st.one_of(
    st.binary(max_size=60),
    st.text("ab \n\r\t", max_size=60).map(str.encode),
    st.sampled_from([b"same line\n" * 20, b"same line\n" * 19 + b"other\n", b"no end", b"\0\1\2" * 50, b""]),
)
EDITS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), NAMES, CONTENTS),
        st.tuples(st.just("program"), NAMES, CONTENTS),
        st.tuples(st.just("link"), NAMES, st.sampled_from([b"a.txt", b"/etc/passwd", b"../outside", b"caf\xe9"])),
        st.tuples(st.just("delete"), NAMES, st.just(b"")),
        st.tuples(st.just("move"), NAMES, NAMES),
        st.tuples(st.just("commit"), st.just(b""), st.just(b"")),
    ),
    max_size=12,
)


def edit(repository: Repository, kind: str, name: bytes, value: bytes) -> None:
    if kind == "commit":
        repository.git("add", "-A")
        repository.git("commit", "-q", "--allow-empty", "-m", "midway")
        return
    path = Path(os.fsdecode(os.fsencode(repository.path) + b"/" + name))
    if kind == "move":
        if not os.path.lexists(path) or value.startswith(name + b"/"):
            return
        target = Path(os.fsdecode(os.fsencode(repository.path) + b"/" + value))
        make_way(repository.path, target)
        if os.path.lexists(path):
            path.rename(target)
        return
    make_way(repository.path, path)
    if kind == "link":
        path.symlink_to(os.fsdecode(value))
    elif kind != "delete":
        path.write_bytes(value)
        path.chmod(0o755 if kind == "program" else 0o644)


def make_way(top: Path, path: Path) -> None:
    """Remove what stands at the path, and any file that stands where a directory must be."""
    for place in [*reversed(path.relative_to(top).parents[:-1]), path.relative_to(top)]:
        there = top / place
        if os.path.lexists(there) and (there == path or not stat.S_ISDIR(there.lstat().st_mode)):
            shutil.rmtree(there) if there.is_dir() and not there.is_symlink() else there.unlink()
    path.parent.mkdir(parents=True, exist_ok=True)


@example(before=[("write", b"d/a.txt", b"x"), ("commit", b"", b"")], between=[("link", b"d", b"a.txt")])
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=EDITS, between=EDITS)
def test_start_and_diff_give_the_end(tmp_path, before, between):
    folder = tmp_path / "random"
    shutil.rmtree(folder, ignore_errors=True)
    repository = Repository(folder)
    for step in before:
        edit(repository, *step)
    place = Worktree.locate(folder)
    start = snapshot.take(place, message="start")
    for step in between:
        edit(repository, *step)
    end = snapshot.take(place, message="end")
    # Raises when the diff, applied to the start, does not give the end.
    diff = difference.reference_diff(place, start.commit, end.commit)
    assert bool(diff) == (start.tree != end.tree) == bool(difference.touched_files(place, start.commit, end.commit))
    assert check_patch(diff) == [] or b"\\n" in diff  # a name with a line end is refused by the importer, rightly


def test_a_rename_is_told_as_one_and_both_names_are_touched(repository):
    place = Worktree.locate(repository.path)
    repository.write("long.py", "".join(f"line {number}\n" for number in range(40)))
    start = snapshot.take(place, message="start")
    (repository.path / "long.py").rename(repository.path / "moved.py")
    end = snapshot.take(place, message="end")
    assert b"rename from long.py" in difference.reference_diff(place, start.commit, end.commit)
    assert difference.touched_files(place, start.commit, end.commit) == ["long.py", "moved.py"]


def test_what_a_repository_says_about_diffs_does_not_change_the_diff(repository):
    place = Worktree.locate(repository.path)
    start = snapshot.take(place, message="start")
    repository.write("adder.py", "def add(a, b):   \n    return a + b\n")
    end = snapshot.take(place, message="end")
    plain = difference.reference_diff(place, start.commit, end.commit)
    settings_of_users = (
        *(
            ("diff.noprefix", "true"),
            ("diff.mnemonicPrefix", "true"),
            ("diff.context", "0"),
            ("core.quotePath", "false"),
        ),
        *(
            ("apply.whitespace", "fix"),
            ("diff.algorithm", "histogram"),
            ("color.ui", "always"),
            ("diff.external", "false"),
        ),
    )
    for key, value in settings_of_users:
        repository.git("config", key, value)
    assert difference.reference_diff(place, start.commit, end.commit) == plain
