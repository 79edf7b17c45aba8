"""A capture from start to end: what the user had stays, what was done becomes a draft, nothing is lost on the way."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import tarfile
import threading
from pathlib import Path

import pytest

from oneshot import store
from tasks import capture
from tasks.capture.client import Client
from tasks.capture.difference import tree_after
from tasks.capture.worktree import Worktree
from tasks.models import Capture, Task
from tasks.snapshot import ensure_snapshot
from tests.capture.conftest import BASE, state_of
from tests.prepare.repositories import Repository

pytestmark = pytest.mark.django_db

FIXED = "def add(a, b):\n    return a + b\n"
TEST = "from adder import add\n\n\ndef test_adds():\n    assert add(1, 2) == 3\n"
CODEX = Client(agent="codex", thread_id="01a1b2c3-0000-7000-8000-000000000001", version="0.169.0", name="codex")
OTHER = Client(agent="codex", thread_id="01a1b2c3-0000-7000-8000-000000000002", version="0.169.0", name="codex")


def start(repository: Repository | Path, title: str = "Fix the adder!", **fields) -> Capture:
    path = repository if isinstance(repository, Path) else repository.path
    return capture.start(worktree=path, title=title, **fields)


def solve(repository: Repository) -> None:
    repository.write("adder.py", FIXED)
    repository.write("tests/test_adder.py", TEST)


def refs(repository: Repository) -> list[str]:
    return repository.git("for-each-ref", "--format=%(refname)", "refs/oneshot").split()


def base_of(version) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(store.get(version.snapshot_digest))) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive if member.isfile()}


def applies(repository: Repository, row: Capture) -> bool:
    """Return whether the reference diff makes the end of a capture out of its start."""
    place = Worktree.locate(repository.path)
    made, _ = tree_after(place, row.start_commit, [store.get(row.diff_digest)])
    return made == place.tree_of(row.end_commit)


def test_a_draft_comes_out_with_base_change_tests_and_proposals(repository):
    repository.git("remote", "add", "origin", "https://ann:hunter2@example.org/acme/adder.git")
    repository.write("README.md", "# Adder, not committed yet\n")
    before = state_of(repository.path)
    row = start(repository, notes="add subtracts; it should add.", labels=["py", "bug"])
    assert state_of(repository.path) == before
    assert re.fullmatch(r"fix-the-adder_\d{8}_\d{6}", row.slug)
    assert row.status == "open"
    assert row.remote_urls == ["https://example.org/acme/adder.git"]
    solve(repository)
    ended = capture.end(row, summary="It adds.", labels=["done"])
    task, version = ended.task, ended.version
    assert (task.state, task.slug, task.external_id) == (Task.State.CAPTURED, "fix-the-adder", row.slug)
    assert task.tags == ["bug", "done", "py"]
    assert ended.touched_files == ["adder.py", "tests/test_adder.py"]
    assert ended.diff_bytes == len(version.reference_diff()) > 0
    assert version.hidden_test_files() == {"tests/test_adder.py": TEST.encode()}
    assert "add subtracts; it should add." in version.instructions
    assert version.sensitivity == "unknown"
    kinds = dict(task.rubrics.get().criteria.values_list("key", "kind"))
    assert kinds["task_completion"] == "essential"
    assert kinds["scope"] == "pitfall"
    assert {"rubric", "hidden_tests"} <= set(version.provenance["proposed"])
    assert version.provenance["head_commit"] == repository.git("rev-parse", "HEAD")
    base = base_of(version)
    assert base["README.md"] == b"# Adder, not committed yet\n"
    assert base["adder.py"] == BASE["adder.py"].encode()
    assert "hunter2" not in str([version.provenance, version.repo, row.remote_urls, row.detail])
    assert (ended.task_dir / "tb_meta.json").is_file()


def test_the_base_needs_the_repository_no_longer(repository):
    row = start(repository)
    solve(repository)
    version = capture.end(row).version
    shutil.rmtree(repository.path)
    lines: list[str] = []
    ensure_snapshot(version, lambda source, text: lines.append(text))
    assert lines == []
    assert set(base_of(version)) == set(BASE)


def test_the_base_can_be_fetched_again_from_the_private_commit(repository):
    row = start(repository)
    solve(repository)
    version = capture.end(row).version
    digest, commit = version.snapshot_digest, version.snapshot_commit
    version.snapshot_digest = ""
    version.save()
    ensure_snapshot(version, lambda source, text: None)
    assert (version.snapshot_digest, version.snapshot_commit) == (digest, commit)


def test_a_clean_start_that_was_pushed_is_named_by_its_remote(repository, tmp_path):
    subprocess.run(["git", "init", "-q", "--bare", str(tmp_path / "server.git")], check=True)
    repository.git("remote", "add", "origin", str(tmp_path / "server.git"))
    repository.git("push", "-q", "-u", "origin", "main")
    row = start(repository)
    solve(repository)
    version = capture.end(row).version
    assert version.repo["git_url"] == str(tmp_path / "server.git")
    assert version.repo["start_commit_sha"] == repository.git("rev-parse", "HEAD")


def commit_all(repository: Repository) -> None:
    repository.commit("by the agent")


def rebase(repository: Repository) -> None:
    repository.commit("by the agent")
    repository.git("checkout", "-q", "-b", "elsewhere", "HEAD~1")
    repository.commit("upstream", **{"upstream.txt": "up\n"})
    repository.git("rebase", "-q", "elsewhere", "main")


def switch(repository: Repository) -> None:
    repository.git("checkout", "-q", "-b", "fix")
    repository.commit("on another branch")
    repository.git("checkout", "-q", "--detach")


def amend(repository: Repository) -> None:
    repository.git("add", "-A")
    repository.git("commit", "-q", "--amend", "-m", "rewritten")


def stage(repository: Repository) -> None:
    repository.git("add", "-A")


@pytest.mark.parametrize("deed", [commit_all, rebase, switch, amend, stage], ids=lambda deed: deed.__name__)
def test_the_change_is_whole_whatever_the_agent_did_with_git(repository, deed):
    row = start(repository)
    solve(repository)
    deed(repository)
    repository.write("logo.bin", bytes(range(256)))
    repository.write("late.txt", "not committed\n")
    (repository.path / "README.md").unlink()
    (repository.path / "tools/run.sh").chmod(0o755)
    (repository.path / "link").symlink_to("adder.py")
    before = state_of(repository.path)
    ended = capture.end(row)
    assert state_of(repository.path) == before
    touched = {"adder.py", "tests/test_adder.py", "logo.bin", "late.txt", "README.md", "tools/run.sh", "link"}
    assert set(ended.touched_files) - {"upstream.txt"} == touched
    assert applies(repository, row)


def test_an_end_asked_for_twice_is_one(repository):
    row = start(repository)
    solve(repository)
    first = capture.end(row, summary="one")
    repository.write("adder.py", "later work\n")
    again = capture.end(Capture.objects.get(pk=row.pk), summary="two")
    assert (again.task, again.version, again.diff_bytes, again.touched_files) == (
        *(first.task, first.version, first.diff_bytes),
        first.touched_files,
    )
    assert Task.objects.count() == 1
    assert Capture.objects.get().summary == "one"


def test_a_start_asked_for_twice_by_one_thread_is_one(repository):
    first = start(repository, client=CODEX)
    assert start(repository, client=CODEX) == first
    assert start(repository, client=OTHER) != first
    repository.write("adder.py", "changed\n")
    assert start(repository, client=CODEX) != first


def test_captures_of_one_title_at_once_have_slugs_of_their_own(repository):
    rows = [start(repository) for _ in range(3)]
    assert len({row.slug for row in rows}) == 3
    assert all(re.fullmatch(r"fix-the-adder_\d{8}_\d{6}", row.slug) for row in rows)


def test_two_worktrees_at_once_do_not_meet(repository, tmp_path):
    side = tmp_path / "side"
    repository.git("worktree", "add", "-q", "-b", "side", str(side))
    here, there = start(repository, client=CODEX), start(side, client=OTHER)
    (side / "side.txt").write_text("side\n")
    solve(repository)
    assert capture.find_open(side, Client()) == there
    assert capture.end(there).touched_files == ["side.txt"]
    assert capture.end(here).touched_files == ["adder.py", "tests/test_adder.py"]


def test_a_thread_finds_its_own_capture_and_others_must_say_which(repository, tmp_path):
    mine, other = start(repository, "Mine", client=CODEX), start(repository, "Other", client=OTHER)
    assert capture.find_open(repository.path, CODEX) == mine
    assert capture.find_open(tmp_path, OTHER) == other
    with pytest.raises(capture.SeveralOpen, match=f"{other.slug}(.|\n)*{mine.slug}"):
        capture.find_open(repository.path, Client())
    capture.drop(other)
    assert capture.find_open(repository.path, Client()) == mine
    capture.drop(mine)
    assert capture.find_open(repository.path, Client()) is None


def test_the_later_of_two_captures_of_a_thread_ends_first(repository):
    outer = start(repository, "Outer", client=CODEX)
    inner = start(repository, "Inner", client=CODEX)
    assert capture.find_open(repository.path, CODEX) == inner
    capture.end(inner)
    assert capture.find_open(repository.path, CODEX) == outer


def test_a_dropped_capture_leaves_no_ref_and_cannot_be_ended(repository):
    row = start(repository)
    assert refs(repository) == [f"refs/oneshot/captures/{row.pk}/start"]
    capture.drop(row)
    assert refs(repository) == []
    assert row.status == "dropped"
    with pytest.raises(capture.WrongState):
        capture.end(row)


def test_dropping_after_the_end_removes_the_refs_and_leaves_the_task(repository):
    row = start(repository)
    solve(repository)
    capture.end(row)
    assert len(refs(repository)) == 2
    capture.drop(row)
    assert refs(repository) == []
    assert (row.status, Task.objects.count()) == ("ended", 1)
    assert capture.end(row).task == Task.objects.get()


def test_one_that_was_never_ended_is_finished_later_and_says_so(repository):
    row = start(repository, client=CODEX)
    solve(repository)
    repository.git("gc", "-q", "--prune=now")
    ended = capture.finish(row)
    assert ended.version.provenance["finished_by_hand"] is True
    assert any("finished by hand" in note for note in ended.notes)


def test_a_folder_that_was_moved_is_ended_from_its_new_place(repository, tmp_path):
    row = start(repository)
    solve(repository)
    repository.path.rename(tmp_path / "moved")
    with pytest.raises(capture.BadRepository, match=f"capture drop {row.slug}"):
        capture.end(row)
    assert capture.end(row, worktree=tmp_path / "moved").touched_files == ["adder.py", "tests/test_adder.py"]


def test_another_repository_in_the_same_place_is_told_apart(repository):
    row = start(repository)
    shutil.rmtree(repository.path)
    Repository(repository.path).commit("other", **BASE)
    with pytest.raises(capture.BadRepository, match="another repository"):
        capture.end(row)
    capture.drop(row)
    assert row.status == "dropped"


def test_a_folder_that_is_gone_can_be_dropped(repository):
    row = start(repository)
    shutil.rmtree(repository.path)
    with pytest.raises(capture.BadRepository, match="is not there any more"):
        capture.finish(row)
    capture.drop(row)
    assert row.status == "dropped"


def test_a_removed_worktree_is_finished_from_an_end_that_was_tried(repository, tmp_path, monkeypatch):
    side = tmp_path / "side"
    repository.git("worktree", "add", "-q", "-b", "side", str(side))
    row = start(side)
    (side / "adder.py").write_text(FIXED)
    with monkeypatch.context() as patch:
        patch.setattr("tasks.capture.lifecycle.make_draft", lambda material: raise_interrupt())
        with pytest.raises(KeyboardInterrupt):
            capture.end(row)
    assert Capture.objects.get().status == "open"
    repository.git("worktree", "remove", "--force", str(side))
    ended = capture.finish(row)
    assert ended.touched_files == ["adder.py"]
    assert any("The folder is gone" in note for note in ended.notes)


def raise_interrupt():
    raise KeyboardInterrupt


def test_a_failure_after_the_draft_was_stored_is_made_up_for_at_the_next_call(repository, monkeypatch):
    row = start(repository)
    solve(repository)
    with monkeypatch.context() as patch:
        patch.setattr("tasks.capture.keeping.keep_base", lambda *args: raise_interrupt())
        with pytest.raises(KeyboardInterrupt):
            capture.end(row)
    assert Capture.objects.get().status == "ended"
    ended = capture.end(row)
    ended.version.refresh_from_db()
    assert store.has(ended.version.snapshot_digest)
    assert (ended.task_dir / "tb_meta.json").is_file()
    assert Task.objects.count() == 1


def test_a_ref_that_someone_removed_is_written_again_at_the_end(repository):
    row = start(repository)
    repository.git("update-ref", "-d", f"refs/oneshot/captures/{row.pk}/start")
    solve(repository)
    capture.end(row)
    assert len(refs(repository)) == 2


def test_nothing_changed_is_a_draft_without_a_reference(repository):
    ended = capture.end(start(repository))
    assert (ended.diff_bytes, ended.touched_files, ended.version.reference_diff_digest) == (0, [], "")
    assert any("Nothing was changed" in note for note in ended.notes)


def test_a_repository_that_is_not_ready_is_refused_with_what_to_mend(repository):
    (repository.path / ".git" / "MERGE_HEAD").write_text(repository.git("rev-parse", "HEAD") + "\n")
    with pytest.raises(capture.NotReady) as caught:
        start(repository)
    assert caught.value.details["ok"] is False
    assert any(issue["severity"] == "error" and issue["fix_suggestion"] for issue in caught.value.details["issues"])
    assert Capture.objects.count() == 0
    assert refs(repository) == []


def test_work_before_a_first_commit_is_captured_too(tmp_path):
    fresh = Repository(tmp_path / "fresh")
    fresh.git("config", "user.name", "Ann")
    fresh.git("config", "user.email", "ann@localhost")
    fresh.write("adder.py", BASE["adder.py"])
    row = start(fresh)
    solve(fresh)
    fresh.commit("the first")
    ended = capture.end(row)
    assert ended.touched_files == ["adder.py", "tests/test_adder.py"]
    assert base_of(ended.version) == {"adder.py": BASE["adder.py"].encode()}


def test_a_capture_without_a_title_or_a_repository_is_refused(repository, tmp_path):
    with pytest.raises(capture.CaptureError, match="has no title"):
        start(repository, "  \n ")
    with pytest.raises(capture.BadRepository, match="is not in a git repository"):
        start(tmp_path)


def test_words_that_no_database_holds_are_cleaned(repository):
    row = start(repository, "Fix\0 \ud800 it", notes="a\0b", labels=["x\0y", " "])
    row.refresh_from_db()
    assert (row.title, row.notes, row.labels) == ("Fix ? it", "ab", ["xy"])


def test_a_folder_whose_name_cannot_be_stored_is_refused(repository, tmp_path):
    odd = tmp_path / "caf\udce9"
    repository.path.rename(odd)
    with pytest.raises(capture.BadRepository, match="cannot be stored"):
        start(odd)


def test_a_title_of_signs_and_one_in_another_script_make_slugs(repository):
    assert re.fullmatch(r"_\d{8}_\d{6}", start(repository, "!!!").slug)
    assert start(repository, "Почини сумматор / ../x").slug.startswith("почини-сумматор-x_")


def test_secrets_are_taken_out_of_words_and_told_of_in_the_change(repository):
    key = "sk-proj-" + "a1B2c3D4e5F6g7H8i9J0" * 2
    row = start(repository, f"Use {key}", notes=f"the key is {key}", labels=[key])
    repository.write("config.py", f'KEY = "{key}"\n')
    ended = capture.end(row, summary=f"used {key}")
    version = ended.version
    assert version.sensitivity == "sensitive"
    assert [(found["part"], found["path"]) for found in version.provenance["findings"]] == [("reference", "config.py")]
    row.refresh_from_db()
    kept = [row.title, row.notes, row.summary, row.labels, row.slug, row.detail, ended.task.title, ended.task.tags]
    assert key not in str([*kept, version.instructions, version.title, version.provenance, ended.notes])
    assert key.lower() not in row.slug
    assert key not in store.get_text(version.provenance["files"]["notes.md"])
    assert key not in version.reference_diff().decode()
    made, why = tree_after(Worktree.locate(repository.path), row.start_commit, [store.get(row.diff_digest)])
    assert made, why


def test_a_secret_that_was_never_committed_is_told_of_in_the_base(repository):
    repository.write("notes.txt", "token = sk-proj-" + "a1B2c3D4e5F6g7H8i9J0" * 2 + "\n")
    version = capture.end(start(repository)).version
    assert [(found["part"], found["path"]) for found in version.provenance["findings"]] == [("base", "notes.txt")]


@pytest.mark.django_db(transaction=True)
def test_ends_at_once_make_one_task(repository):
    from django.db import connection

    row = start(repository)
    solve(repository)
    ended = []

    def run() -> None:
        try:
            ended.append(capture.end(Capture.objects.get(pk=row.pk)))
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one.version.pk for one in ended}) == 1
    assert len(ended) == 3
    assert Task.objects.count() == 1
