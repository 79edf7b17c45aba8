"""Secrets that were never committed stay out of both trees of a capture; what was committed is left as it is."""

from __future__ import annotations

import pytest

from tasks import capture
from tasks.capture import difference, snapshot
from tasks.capture.cleaning import values_between
from tasks.capture.worktree import Worktree
from tests.capture.conftest import content, files_of

KEY = "sk-proj-" + "a1B2c3D4e5F6g7H8i9J0" * 2
OTHER = "sk-proj-" + "z9Y8x7W6v5U4t3S2r1Q0" * 2


def take(repository, before: snapshot.Snapshot | None = None) -> snapshot.Snapshot:
    begun = before and snapshot.Before(before.head, before.left_out, before.cleaned.blobs)
    return snapshot.take(Worktree.locate(repository.path), message="x", before=begun)


def test_a_file_that_looks_secret_is_left_out_without_being_opened(repository):
    repository.write(".env", "A=1\n")
    (repository.path / ".env").chmod(0)
    repository.write("deploy/id_rsa", "x")
    repository.write(".env.example", "A=\n")
    taken = take(repository)
    assert set(taken.left_out) == {".env", "deploy/id_rsa"}
    assert ".env.example" in files_of(repository, taken.commit)
    assert not {".env", "deploy/id_rsa"} & set(files_of(repository, taken.commit))
    assert taken.notes == ["Untracked files that look like secrets are left out of the task: .env, deploy/id_rsa."]


def test_a_tracked_file_that_looks_secret_stays(repository):
    repository.commit("fixture", **{"tests/server.pem": "a test's own\n"})
    repository.write("tests/server.pem", "changed\n")
    taken = take(repository)
    assert taken.left_out == []
    assert content(repository, taken.commit, "tests/server.pem") == b"changed\n"


def test_what_was_left_out_stays_out_when_the_agent_commits_it(repository):
    repository.write(".env", "WORD=plain\n")
    begun = take(repository)
    repository.commit("all", **{"new.py": "x = 1\n"})
    assert ".env" in files_of(repository, "HEAD")
    ended = take(repository, begun)
    assert set(files_of(repository, ended.commit)) - set(files_of(repository, begun.commit)) == {"new.py"}


def test_a_value_that_is_committed_already_is_no_part_of_the_change(repository):
    """Else the change would seem to take a fixture's key away, in every file that it touches."""
    repository.commit("fixture", **{"fixture.py": f'KEY = "{KEY}"\n'})
    repository.write("fixture.py", f'KEY = "{KEY}"\nOTHER = "{OTHER}"\n')
    taken = take(repository)
    assert content(repository, taken.commit, "fixture.py") == f'KEY = "{KEY}"\nOTHER = "[redacted]"\n'.encode()
    (repository.path / "fixture.py").rename(repository.path / "moved.py")
    assert KEY.encode() in content(repository, take(repository).commit, "moved.py")


def test_lines_modes_and_odd_bytes_around_a_secret_stay(repository):
    repository.write("run.sh", b"#!/bin/sh\r\nKEY=" + KEY.encode() + b" caf\xe9\r\n", executable=True)
    repository.write("data.bin", b"\0\1" + KEY.encode())
    taken = take(repository)
    assert content(repository, taken.commit, "run.sh") == b"#!/bin/sh\r\nKEY=[redacted] caf\xe9\r\n"
    assert files_of(repository, taken.commit)["run.sh"] == "100755"
    assert taken.cleaned.paths == [b"run.sh"]
    assert [(row["path"], row["line"]) for row in taken.cleaned.secrets] == [("run.sh", 2)]


def test_before_a_first_commit_every_file_counts(tmp_path, repository):
    repository.git("update-ref", "-d", "HEAD")
    repository.git("rm", "-rq", "--cached", ".")
    repository.write("a.py", f"KEY = '{KEY}'\n")
    assert content(repository, take(repository).commit, "a.py") == b"KEY = '[redacted]'\n"


def test_a_file_that_did_not_change_is_the_same_at_both_ends(repository):
    repository.write("notes.txt", f"token = {KEY}\n")
    begun = take(repository)
    repository.commit("the agent commits it", **{"new.py": "x\n"})
    ended = take(repository, begun)
    place = Worktree.locate(repository.path)
    assert difference.touched_files(place, begun.commit, ended.commit) == ["new.py"]


def test_a_value_that_only_the_process_of_the_start_knew_is_replaced_at_the_end_too(repository):
    """As with a start by an agent whose environment has the key, and an end from a terminal that does not."""
    value = "correct-horse-battery-staple"
    raw = repository.git("hash-object", "-w", "--stdin", stdin=f"first\n{value}\nlast\n".encode())
    clean = repository.git("hash-object", "-w", "--stdin", stdin=b"first\n[redacted]\nlast\n")
    repository.write("same.txt", f"first\n{value}\nlast\n")
    repository.write("other.txt", f"and again {value}\n")
    before = snapshot.Before(repository.git("rev-parse", "HEAD"), [], {raw: clean})
    taken = snapshot.take(Worktree.locate(repository.path), message="x", before=before)
    assert content(repository, taken.commit, "same.txt") == b"first\n[redacted]\nlast\n"
    assert content(repository, taken.commit, "other.txt") == b"and again [redacted]\n"


@pytest.mark.parametrize(
    ("raw", "clean", "values"),
    [
        ("a K b", "a [redacted] b", {"K"}),
        ("K", "[redacted]", {"K"}),
        ("x=K;y=L", "x=[redacted];y=[redacted]", {"K", "L"}),
        ("a [redacted] b", "a [redacted] b", set()),
        ("nothing like it", "a [redacted] b", set()),
        ("a K c L", "a [redacted] b [redacted]", set()),
        ("", "a [redacted] b", set()),
    ],
)
def test_values_are_read_off_beside_what_replaced_them(raw, clean, values):
    assert values_between(raw, clean) == values


@pytest.mark.django_db
def test_a_capture_tells_what_it_left_out_and_replaced(repository):
    repository.write(".env", "A=1\n")
    repository.write("notes.txt", f"token = {KEY}\n")
    row = capture.start(worktree=repository.path, title="Fix it")
    assert (row.detail["left_out"], row.detail["secrets"][0]["path"]) == ([".env"], "notes.txt")
    assert len(row.detail["notes"]) == 2
    assert set(row.detail["notes"]) <= set(capture.end(row).notes)
