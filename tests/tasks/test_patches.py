"""Patches are read as git reads them: compared with real `git diff` output over random trees."""

import base64
import quopri
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tasks.patches import (
    added_content,
    check_patch,
    is_mailbox,
    line_counts,
    mailbox_diffs,
    parse,
    patch_notes,
    strip_paths,
    touched_paths,
    unsafe_path,
)

GIT = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "core.autocrlf=false"]

NAME = st.text(st.sampled_from("ab \t\"'ü日\\=-+@"), min_size=1, max_size=5).filter(
    lambda name: name.strip() == name and "\\" not in name
)
PATH = st.lists(NAME, min_size=1, max_size=3).map("/".join)
TEXT = st.lists(
    st.sampled_from([b"x", b"--- a/evil", b"+++ b/evil", b"diff --git a/e b/e", b"", b"\xff", b"@@ -1 +1 @@", b"y\r"]),
    max_size=12,
).map(b"\n".join)
CONTENT = TEXT | TEXT.map(lambda text: text + b"\n") | st.binary(max_size=40)


def tree_of(paths: dict[str, bytes]) -> dict[str, bytes]:
    """Drop files whose path is a directory of another."""
    return {path: data for path, data in paths.items() if not any(other.startswith(path + "/") for other in paths)}


TREE = st.dictionaries(PATH, CONTENT, max_size=14).map(tree_of)


def git(cwd: Path, *arguments: str, stdin: bytes = b"") -> bytes:
    return subprocess.run([*GIT, *arguments], cwd=cwd, input=stdin, capture_output=True, check=True).stdout


def write_tree(root: Path, files: dict[str, bytes]) -> None:
    for entry in sorted(root.rglob("*"), reverse=True):
        if ".git" not in entry.relative_to(root).parts:
            entry.rmdir() if entry.is_dir() else entry.unlink()
    for path, data in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)


def commit(root: Path, files: dict[str, bytes]) -> str:
    write_tree(root, files)
    git(root, "add", "-A", "-f")
    return git(root, "commit-tree", "-m", "x", git(root, "write-tree").decode().strip()).decode().strip()


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("repository")
    git(root, "init", "-q")
    return root


def names_by_git(root: Path, *arguments: str) -> set[str]:
    fields = git(root, "diff", "--name-status", "-z", *arguments).decode().split("\0")[:-1]
    names, at = set(), 0
    while at < len(fields):
        kind = fields[at][0]
        if kind in "RC":
            names |= set(fields[at + 1 : at + 3]) if kind == "R" else {fields[at + 2]}
            at += 3
        else:
            names.add(fields[at + 1])
            at += 2
    return names


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=TREE, after=TREE, keep=st.booleans())
def test_paths_and_counts_are_those_that_git_names(repository, before, after, keep):
    if keep:
        after = tree_of({f"moved {path}": data for path, data in before.items()} | after)
    ends = commit(repository, before), commit(repository, after)
    diff = git(repository, "diff", "--binary", "-M", "-C", *ends)
    assert set(touched_paths(diff)) == names_by_git(repository, "-M", "-C", *ends)
    assert check_patch(diff) == []
    numbers = [line.split(b"\t")[:2] for line in git(repository, "diff", "--numstat", "-M", "-C", *ends).splitlines()]
    counted = [(int(added), int(removed)) for added, removed in numbers if added != b"-"]
    assert line_counts(diff) == (sum(a for a, _ in counted), sum(r for _, r in counted))
    assert b"".join(diff[section.start : section.end] for section in parse(diff)) == diff


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=TREE, after=TREE)
def test_what_is_left_after_stripping_applies_and_changes_nothing_else(repository, before, after):
    ends = commit(repository, before), commit(repository, after)
    diff = git(repository, "diff", "--binary", "--no-renames", *ends)
    # Where a folder becomes a file, half of the change cannot be applied: the name is taken.
    assume(not any(new.startswith(f"{old}/") or old.startswith(f"{new}/") for old in before for new in after))
    left = strip_paths(diff, lambda path: "a" in path)
    git(repository, "read-tree", ends[0])
    if left:
        git(repository, "apply", "--cached", "--whitespace=nowarn", stdin=left)
    tree = git(repository, "write-tree").decode().strip()
    assert names_by_git(repository, "--no-renames", ends[0], tree) == {
        path for path in names_by_git(repository, "--no-renames", *ends) if "a" not in path
    }


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(after=TREE)
def test_an_added_file_is_read_whole(repository, after):
    ends = commit(repository, {}), commit(repository, after)
    diff = git(repository, "diff", "--binary", "--no-renames", *ends)
    assert {section.new_path: added_content(diff, section) for section in parse(diff)} == after


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=300)
    | st.lists(
        st.sampled_from(
            [b"diff --git a/x b/x", b'diff --git "a/\\303" "b/x', b"--- a/x", b"+++ b/x", b"@@ -1,3 +1 @@", b" a", b"-",
             b"+", b"\\ No", b"GIT binary patch", b"literal 99999999", b"zabc", b"", b"rename from x", b"rename to y",
             b"new file mode 100644", b"index 0..1", b"Binary files a/x and b/x differ", b"copy from ../z"]
        ),
        max_size=14,
    ).map(b"\n".join)
)  # fmt: skip
def test_no_bytes_make_the_reader_fail(data):
    sections = parse(data)
    assert all(0 <= section.start < section.end <= len(data) for section in sections)
    check_patch(data), patch_notes(data), mailbox_diffs(data), line_counts(data)
    assert strip_paths(data, lambda path: False) == data
    for section in sections:
        added_content(data, section)


@pytest.mark.parametrize(
    ("path", "safe"),
    [
        ("a.py", True),
        ("a/b c/ü.py", True),
        (".github/x.yml", True),
        (".gitignore", True),
        ("..a/b", True),
        ("../a", False),
        ("a/../../b", False),
        ("/etc/passwd", False),
        ("C:\\x", False),
        ("a\\..\\b", False),
        (".git/config", False),
        ("sub/.GIT/hooks/x", False),
        (".git./config", False),
        ("git~1/config", False),
        ("a//b", False),
        ("./a", False),
        ("", False),
        ("a\0b", False),
    ],
)
def test_paths_that_leave_or_reach_git_are_unsafe(path, safe):
    assert (unsafe_path(path) == "") is safe


@pytest.mark.parametrize(
    ("diff", "word"),
    [
        (b"diff --git a/.git/hooks/x b/.git/hooks/x\nnew file mode 100755\n--- /dev/null\n+++ b/.git/hooks/x\n"
         b"@@ -0,0 +1 @@\n+x\n", ".git"),
        (b"--- a/../../x\n+++ b/../../x\n@@ -1 +1 @@\n-a\n+b\n", "leaves"),
        (b"diff --git a/x b/x\nsimilarity index 100%\nrename from x\nrename to ../y\n", "leaves"),
        (b"diff --git a/x b/x\nsimilarity index 100%\ncopy from ../../etc/passwd\ncopy to y\n", "leaves"),
        (b"diff --git a/x b/x\n--- a/x\n+++ b/.git/config\n@@ -1 +1 @@\n-a\n+b\n", "different files"),
        (b"diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,5 +1 @@\n-a\n+b\n", "cut or edited"),
        (b"diff --git a/x b/x\n--- a/x\n+++ b/x\n", "no hunk"),
        (b"diff --git src/x.py src/x.py\n--- src/x.py\n+++ src/x.py\n@@ -1 +1 @@\n-a\n+b\n", "--no-prefix"),
        (b"just words\n", "no change"),
        ("diff --git a/x b/x\n".encode("utf-16"), "UTF-16"),
        (b"\xef\xbb\xbfdiff --git a/x b/x\n", "byte order mark"),
        (b"diff --git a/x b/x\r\n--- a/x\r\n+++ b/x\r\n@@ -1 +1 @@\r\n-a\r\n+b\r\n", "CRLF"),
        (b"diff --cc x\nindex 1,2..3\n--- a/x\n+++ b/x\n@@@ -1,1 -1,1 +1,1 @@@\n- a\n", "combined"),
    ],
)  # fmt: skip
def test_a_patch_that_cannot_or_must_not_be_applied_is_a_problem(diff, word):
    problems = check_patch(diff)
    assert problems
    assert word in problems[0].message
    assert problems[0].file == "diff.patch"


def test_quoted_names_spaces_tabs_and_modes_are_read(repository):
    before = {"a b.txt": b"1\n", "tab\there": b"1\n", "ü.txt": b"1\n", 'q"uote': b"1\n", "run.sh": b"1\n"}
    first = commit(repository, before)
    (repository / "run.sh").chmod(0o755)
    (repository / "a b.txt").write_bytes(b"2\n")
    (repository / "tab\there").write_bytes(b"2\n")
    (repository / "ü.txt").write_bytes(b"2\n")
    (repository / 'q"uote').unlink()
    git(repository, "add", "-A")
    diff = git(repository, "diff", "--binary", "--cached", first)
    assert set(touched_paths(diff)) == set(before)
    mode = next(section for section in parse(diff) if section.new_path == "run.sh")
    assert (mode.old_mode, mode.new_mode, mode.added, mode.removed) == ("100644", "100755", 0, 0)


def test_binary_stubs_and_submodules_are_noted():
    stub = (
        b"diff --git a/logo.bin b/logo.bin\nnew file mode 100644\nindex 0000000..c866266\n"
        b"Binary files /dev/null and b/logo.bin differ\n"
    )
    module = (
        b"diff --git a/lib b/lib\nindex 1111111..2222222 160000\n--- a/lib\n+++ b/lib\n@@ -1 +1 @@\n"
        b"-Subproject commit 1\n+Subproject commit 2\n"
    )
    notes = patch_notes(stub + module)
    assert [note.field for note in notes] == ["logo.bin", "lib"]
    assert "content is lost" in notes[0].message
    assert check_patch(stub + module) == []


@pytest.fixture
def series(tmp_path) -> tuple[Path, list[str]]:
    """A repository with a base and 25 commits, in which a message holds lines that look like a patch."""
    git(tmp_path, "init", "-q", "-b", "main")
    (tmp_path / "a.py").write_bytes(b"base\n")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "base")
    for number in range(25):
        (tmp_path / "a.py").write_bytes(b"".join(b"line %d\n" % i for i in range(number + 1)))
        (tmp_path / f"n{number}.bin").write_bytes(bytes(range(256)) * (number % 2))
        git(tmp_path, "add", "-A")
        git(tmp_path, "commit", "-qm", f"Änderung {number}\n\nFrom here on:\n- one\n  diff --git a/no b/no")
    return tmp_path, git(tmp_path, "rev-list", "--reverse", "HEAD").decode().split()


def test_a_mailbox_series_yields_diffs_that_lead_to_the_same_tree(series):
    root, commits = series
    mailbox = git(root, "format-patch", "--stdout", "--binary", f"{commits[0]}..")
    assert is_mailbox(mailbox)
    assert check_patch(mailbox) == []
    diffs = mailbox_diffs(mailbox)
    assert len(diffs) == 25
    assert len(touched_paths(mailbox)) == 26
    git(root, "read-tree", commits[0])
    for diff in diffs:
        git(root, "apply", "--cached", stdin=diff)
    assert git(root, "write-tree") == git(root, "rev-parse", "HEAD^{tree}")
    left = strip_paths(mailbox, lambda path: path.endswith(".bin"))
    assert touched_paths(left) == ["a.py"]
    assert left.count(b"Subject:") == 25


def test_a_message_that_a_mail_program_encoded_is_decoded(series):
    root, commits = series
    plain = git(root, "format-patch", "--stdout", "-1", commits[1])
    head, _, body = plain.partition(b"\n\n")
    head = head.replace(b"8bit", b"").replace(b"Content-Transfer-Encoding: \n", b"")
    for name, encoded in (("base64", base64.encodebytes(body)), ("quoted-printable", quopri.encodestring(body))):
        message = head + b"\nContent-Transfer-Encoding: " + name.encode() + b"\n\n" + encoded
        assert mailbox_diffs(message) == mailbox_diffs(plain), name
        assert touched_paths(message) == touched_paths(plain)
        assert check_patch(message) == []


def test_one_diff_is_no_mailbox():
    diff = b"diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n"
    assert not is_mailbox(diff)
    assert mailbox_diffs(diff) == [diff]
    assert mailbox_diffs(b"") == []
