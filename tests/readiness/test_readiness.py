import json
import os
import subprocess
import time

import pytest

from tasks.capture import readiness
from tasks.capture.readiness import check
from tests.prepare.repositories import Repository


def ids(worktree) -> list[str]:
    return [issue.id for issue in check(worktree).issues]


def found(worktree, name: str):
    return next(issue for issue in check(worktree).issues if issue.id == name)


def conflict(repository, *command: str) -> None:
    """Run a git command that stops at a conflict in adder.py, between the branches main and other."""
    repository.git("switch", "-q", "-c", "other")
    repository.commit("other", **{"adder.py": "other\n"})
    repository.git("switch", "-q", "main")
    repository.commit("main", **{"adder.py": "main\n"})
    with pytest.raises(subprocess.CalledProcessError):
        repository.git(*command)


def test_nothing_is_said_about_an_ordinary_repository(repository):
    assert check(repository.path).as_dict() == {"ok": True, "issues": [], "summary": "Ready."}


def test_a_folder_inside_stands_for_its_repository(repository):
    repository.commit("deep", **{"a/b/c.py": "x\n"})
    assert ids(repository.path / "a" / "b") == []


def test_a_folder_without_git_is_an_error_with_the_way_out(tmp_path):
    (tmp_path / "plain").mkdir()
    readiness = check(tmp_path / "plain")
    assert not readiness.ok
    assert readiness.issues[0].id == "not_a_repository"
    assert "git init" in readiness.issues[0].commands
    assert readiness.summary.startswith("Not ready: ")


def test_a_folder_that_is_not_there_is_named(tmp_path):
    assert "nowhere does not exist" in found(tmp_path / "nowhere", "not_a_repository").message


def test_a_bare_repository_has_no_files_to_work_on(repository, tmp_path):
    repository.git("clone", "-q", "--bare", str(repository.path), str(tmp_path / "bare.git"))
    assert ids(tmp_path / "bare.git") == ["bare_repository"]


def test_a_repository_without_commits_may_be_captured(tmp_path):
    empty = Repository(tmp_path / "empty")
    assert check(empty.path).ok
    assert "no_commits" in ids(empty.path)


def test_a_machine_without_git_is_told_apart(repository, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ids(repository.path) == ["git_missing"]


def test_an_old_git_is_an_error(repository, monkeypatch, tmp_path):
    program = tmp_path / "git"
    program.write_text("#!/bin/sh\necho git version 2.25.1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "2.25.1 is too old" in found(repository.path, "git_too_old").message


def test_a_missing_identity_is_a_warning_because_a_capture_needs_none(repository):
    repository.git("config", "--unset", "user.name")
    repository.git("config", "--unset", "user.email")
    assert check(repository.path).ok
    assert ids(repository.path) == ["no_git_name", "no_git_email"]


def test_the_users_own_settings_and_environment_are_an_identity(repository, nobody, monkeypatch):
    repository.git("config", "--unset", "user.name")
    repository.git("config", "--unset", "user.email")
    (nobody / ".gitconfig").write_text("[user]\n\tname = Ada\n")
    assert ids(repository.path) == ["no_git_email"]
    monkeypatch.setenv("GIT_AUTHOR_EMAIL", "ada@localhost")
    monkeypatch.setenv("GIT_COMMITTER_EMAIL", "ada@localhost")
    assert ids(repository.path) == []


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (("merge", "other"), "merge_in_progress"),
        (("rebase", "other"), "rebase_in_progress"),
        (("rebase", "--apply", "other"), "rebase_in_progress"),
        (("cherry-pick", "other"), "cherry_pick_in_progress"),
        (("revert", "--no-edit", "HEAD~1"), "revert_in_progress"),
    ],
)
def test_work_that_stopped_at_a_conflict_is_an_error(repository, command, name):
    conflict(repository, *command)
    readiness = check(repository.path)
    assert not readiness.ok
    assert {name, "merge_conflicts"} <= {issue.id for issue in readiness.issues}
    assert found(repository.path, name).commands[-1].endswith("--abort")


def test_mailed_patches_being_applied_are_not_called_a_rebase(repository):
    repository.commit("change", **{"adder.py": "changed\n"})
    patch = repository.git("format-patch", "--stdout", "-1") + "\n"
    repository.git("reset", "-q", "--hard", "HEAD~1")
    repository.commit("other", **{"adder.py": "other\n"})
    with pytest.raises(subprocess.CalledProcessError):
        repository.git("am", stdin=patch.encode())
    assert "am_in_progress" in ids(repository.path)
    assert "rebase_in_progress" not in ids(repository.path)


def test_a_bisection_is_a_warning(repository):
    repository.commit("two")
    repository.git("bisect", "start")
    assert check(repository.path).ok
    assert "bisect_in_progress" in ids(repository.path)


def test_every_kind_of_conflict_is_found_and_named(repository):
    repository.commit("files", **{name: f"{name}\n" * 5 for name in ("both", "ours_gone", "theirs_gone")})
    repository.git("switch", "-q", "-c", "other")
    repository.git("rm", "-q", "theirs_gone")
    repository.commit("other", **{"both": "other\n", "ours_gone": "other\n", "added": "other\n"})
    repository.git("switch", "-q", "main")
    repository.git("rm", "-q", "ours_gone")
    repository.commit("main", **{"both": "main\n", "theirs_gone": "main\n", "added": "main\n"})
    with pytest.raises(subprocess.CalledProcessError):
        repository.git("merge", "other")
    message = found(repository.path, "merge_conflicts").message
    assert "both (changed by both)" in message
    assert "added (added by both)" in message
    assert "ours_gone (deleted by us)" in message
    assert "theirs_gone (deleted by them)" in message


def test_a_detached_head_is_a_warning(repository):
    repository.git("checkout", "-q", "--detach")
    assert check(repository.path).ok
    assert ids(repository.path) == ["detached_head"]


def test_a_linked_worktree_is_read_by_its_own_state(repository, tmp_path):
    repository.git("worktree", "add", "-q", "-b", "side", str(tmp_path / "side"))
    assert ids(tmp_path / "side") == ["linked_worktree"]
    conflict(repository, "merge", "other")
    assert ids(tmp_path / "side") == ["linked_worktree"]


def test_a_shallow_clone_is_noted(repository, tmp_path):
    repository.commit("two")
    repository.git("clone", "-q", "--depth=1", f"file://{repository.path}", str(tmp_path / "shallow"))
    assert "shallow_clone" in ids(tmp_path / "shallow")
    assert check(tmp_path / "shallow").ok


def test_a_sparse_checkout_is_a_warning(repository):
    repository.commit("more", **{"a/x.py": "x\n", "b/y.py": "y\n"})
    repository.git("sparse-checkout", "set", "a")
    assert "sparse_checkout" in ids(repository.path)


def test_submodules_absent_changed_and_clean_are_told_apart(repository, tmp_path):
    library = Repository(tmp_path / "library")
    library.commit("start", **{"lib.py": "x\n"})
    allow = ("-c", "protocol.file.allow=always")
    repository.git(*allow, "submodule", "--quiet", "add", str(library.path), "vendor/lib-one")
    repository.commit("submodule")
    assert ids(repository.path) == []
    (repository.path / "vendor/lib-one/new.py").write_text("new\n")
    assert "vendor/lib-one (changed files)" in found(repository.path, "dirty_submodules").message
    (repository.path / "vendor/lib-one/new.py").unlink()
    inside = Repository(repository.path / "vendor/lib-one")
    inside.commit("inside")
    assert "(another commit)" in found(repository.path, "dirty_submodules").message
    clone = tmp_path / "clone"
    repository.git("clone", "-q", str(repository.path), str(clone))
    assert "vendor/lib-one" in found(clone, "uninitialized_submodules").message


def test_files_that_lfs_has_not_fetched_are_named(repository):
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 12\n"
    repository.commit("lfs", **{".gitattributes": "*.bin filter=lfs -text\n", "model.bin": pointer, "a.txt": pointer})
    issue = found(repository.path, "lfs_not_fetched")
    assert "1 of 1 files" in issue.message
    assert "model.bin" in issue.message
    repository.write("model.bin", b"\0" * 2000)
    assert "lfs_not_installed" in ids(repository.path)
    repository.git("config", "filter.lfs.clean", "git-lfs clean -- %f")
    assert not {"lfs_not_fetched", "lfs_not_installed"} & set(ids(repository.path))


def test_large_untracked_files_are_named_with_their_size(repository):
    with (repository.path / "model.weights").open("wb") as file:
        file.truncate(25_000_000)
    issue = found(repository.path, "large_untracked_files")
    assert "model.weights (25.0 MB)" in issue.message
    assert issue.commands == ("echo /model.weights >> .gitignore",)
    repository.write(".gitignore", "*.weights\n")
    assert "large_untracked_files" not in ids(repository.path)


@pytest.mark.parametrize(
    "name", [".env", ".env.local", "deploy/server.pem", "id_rsa", "credentials.json", "my-secrets.yml", ".npmrc"]
)
def test_untracked_files_that_look_secret_are_named_and_never_opened(repository, name):
    repository.write(name, "API_KEY=sk-very-secret-0123456789\n")
    repository.path.joinpath(name).chmod(0)
    readiness = check(repository.path)
    issue = found(repository.path, "untracked_secrets")
    assert name in issue.message
    assert "very-secret" not in json.dumps(readiness.as_dict())


@pytest.mark.parametrize("name", [".env.example", ".env.sample", "id_rsa.pub", "secretary.py", "tokenizer.json"])
def test_files_that_only_look_a_little_like_secrets_are_left_alone(repository, name):
    repository.write(name, "x\n")
    assert "untracked_secrets" not in ids(repository.path)


def test_a_file_name_cannot_add_a_command(repository):
    repository.write("x;touch gone'$(id)\n.pem", "x")
    (command,) = found(repository.path, "untracked_secrets").commands
    subprocess.run(["sh", "-c", command], cwd=repository.path, check=True)
    assert not (repository.path / "gone").exists()
    assert (repository.path / ".gitignore").read_text().startswith("/x;touch gone'$(id)")


def test_ignored_files_that_a_person_made_are_noted(repository):
    repository.commit("ignore", **{".gitignore": ".env\nnode_modules/\n*.pyc\n"})
    for path in (".env", "node_modules/x.js", "a.pyc"):
        repository.write(path, "x")
    issue = found(repository.path, "ignored_files")
    assert ".env" in issue.message
    assert "node_modules" not in issue.message
    assert issue.severity == "info"


def test_the_users_own_ignore_file_counts(repository, nobody):
    repository.write("notes.pem", "x")
    (nobody / "ignored").write_text("*.pem\n")
    (nobody / ".gitconfig").write_text("[core]\n\texcludesFile = ~/ignored\n")
    assert "untracked_secrets" not in ids(repository.path)


def test_a_repository_inside_is_left_out_and_named(repository):
    Repository(repository.path / "inner").commit("inner", **{"x.py": "x\n"})
    assert "inner/" in found(repository.path, "nested_repositories").message


def test_a_held_index_is_a_warning(repository):
    repository.write(".git/index.lock", "")
    assert found(repository.path, "index_locked").commands[0].endswith("/.git/index.lock")
    assert check(repository.path).ok


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_repository_of_another_user_is_a_warning_unless_trusted(repository, nobody):
    os.chown(repository.path, 12345, 12345)
    assert "dubious_ownership" in ids(repository.path)
    (nobody / ".gitconfig").write_text(f"[safe]\n\tdirectory = {repository.path}\n")
    assert ids(repository.path) == []


def test_a_repository_that_cannot_be_written_to_is_an_error(repository, monkeypatch):
    real = os.access
    # Root may write anywhere; what counts is the answer of the system.
    monkeypatch.setattr(
        readiness.os, "access", lambda path, mode: real(path, mode) and not str(path).endswith(".git/objects")
    )
    assert ids(repository.path) == ["read_only_repository"]


def test_nothing_in_the_repository_runs_a_program_or_changes(repository, tmp_path):
    trap = tmp_path / "trap.sh"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\ncat\n")
    trap.chmod(0o755)
    repository.commit("attributes", **{".gitattributes": "* filter=trap\n", "x.txt": "x\n"})
    for key in ("core.fsmonitor", "filter.trap.clean", "filter.trap.smudge", "filter.trap.process", "core.pager"):
        repository.git("config", key, str(trap))
    repository.git("config", "core.hooksPath", str(tmp_path))
    repository.write("x.txt", "changed\n")
    index = (repository.path / ".git/index").read_bytes()
    (repository.path / "x.txt").touch()
    check(repository.path)
    assert not (tmp_path / "ran").exists()
    assert (repository.path / ".git/index").read_bytes() == index


def test_ten_thousand_files_take_no_half_second(repository):
    for number in range(10_000):
        folder = repository.path / f"d{number // 100}"
        folder.mkdir(exist_ok=True)
        (folder / f"f{number}.py").write_text("x\n")
    repository.commit("many")
    started = time.perf_counter()
    check(repository.path)
    assert time.perf_counter() - started < 0.5
