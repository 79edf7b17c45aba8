import subprocess

from tasks.capture.autofix import autofix
from tests.prepare.repositories import Repository


def test_an_identity_is_set_in_the_repository_alone(repository, nobody):
    repository.git("config", "--unset", "user.name")
    repository.git("config", "--unset", "user.email")
    done = autofix(repository.path)
    assert done["ok"]
    assert done["fixed"] == ["no_git_name", "no_git_email"]
    assert repository.git("config", "--local", "user.email") == "oneshot@localhost"
    assert not (nobody / ".gitconfig").exists()
    assert autofix(repository.path)["fixed"] == []


def test_an_identity_that_is_there_is_kept(repository):
    repository.git("config", "--unset", "user.email")
    assert autofix(repository.path)["fixed"] == ["no_git_email"]
    assert repository.git("config", "user.name") == "Ada"


def test_a_linked_worktree_gets_its_identity_too(repository, tmp_path):
    repository.git("config", "--unset", "user.name")
    repository.git("worktree", "add", "-q", "-b", "side", str(tmp_path / "side"))
    assert autofix(tmp_path / "side")["fixed"] == ["no_git_name"]


def clone_with_submodule(repository, tmp_path):
    library = Repository(tmp_path / "library")
    library.commit("start", **{"lib.py": "x\n"})
    repository.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(library.path), "lib")
    repository.commit("submodule")
    clone = tmp_path / "clone"
    repository.git("clone", "-q", str(repository.path), str(clone))
    made = Repository(clone)
    made.git("config", "user.name", "Ada")
    made.git("config", "user.email", "ada@localhost")
    return made


def test_submodules_are_checked_out_into_their_empty_folders(repository, tmp_path):
    clone = clone_with_submodule(repository, tmp_path)
    done = autofix(clone.path)
    assert done["fixed"] == ["uninitialized_submodules"]
    assert (clone.path / "lib/lib.py").read_text() == "x\n"
    assert clone.git("status", "--porcelain") == ""


def test_files_in_the_place_of_a_submodule_are_kept(repository, tmp_path):
    clone = clone_with_submodule(repository, tmp_path)
    clone.write("lib/mine.txt", "mine\n")
    done = autofix(clone.path)
    assert done["fixed"] == []
    assert (clone.path / "lib/mine.txt").read_text() == "mine\n"
    assert "hold files" in done["remaining_issues"][0]["message"]


def test_a_submodule_that_cannot_be_reached_stays_with_the_reason(repository, tmp_path):
    clone = clone_with_submodule(repository, tmp_path)
    clone.git("config", "-f", ".gitmodules", "submodule.lib.url", "ext::sh -c 'touch ran'")
    done = autofix(clone.path)
    assert done["fixed"] == []
    assert "could not be mended" in done["remaining_issues"][0]["message"]
    assert not (clone.path / "ran").exists()


def test_a_command_named_as_the_way_of_updating_is_not_run(repository, tmp_path):
    clone = clone_with_submodule(repository, tmp_path)
    clone.git("config", "submodule.lib.update", f"!touch {tmp_path}/ran")
    autofix(clone.path)
    assert not (tmp_path / "ran").exists()


def test_a_merge_and_its_conflicts_are_left_to_a_person(repository):
    repository.git("switch", "-q", "-c", "other")
    repository.commit("other", **{"adder.py": "other\n"})
    repository.git("switch", "-q", "main")
    repository.commit("main", **{"adder.py": "main\n"})
    subprocess.run(["git", "merge", "-q", "other"], cwd=repository.path, capture_output=True, check=False)
    before = (repository.path / "adder.py").read_text()
    done = autofix(repository.path)
    assert not done["ok"]
    assert {issue["id"] for issue in done["remaining_issues"]} == {"merge_in_progress", "merge_conflicts"}
    assert (repository.path / "adder.py").read_text() == before
    assert done["summary"].startswith("Nothing was changed. Not ready: ")


def test_a_folder_without_git_is_reported_and_left(tmp_path):
    (tmp_path / "plain").mkdir()
    done = autofix(tmp_path / "plain")
    assert not done["ok"]
    assert list((tmp_path / "plain").iterdir()) == []
