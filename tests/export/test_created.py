import json
import shutil
import subprocess
from pathlib import Path

import pytest

from oneshot import demo, store
from tasks.actions import NEW, NEW_VERSION, UNCHANGED, import_tasks
from tasks.exporting import Foreign, created_name, export_tasks, write_created
from tasks.models import Task
from tasks.snapshot import ensure_snapshot
from tests.builders import make_task, make_team
from tests.prepare.repositories import Lines
from tests.tasks.builders import DIFF_WITH_TEST, EVALUATION, META, STAMPED, write_task

pytestmark = pytest.mark.django_db


def imported(team, *paths) -> list:
    results = import_tasks(paths, team=team)
    assert [problem for result in results for problem in result.problems] == []
    return results


def the_task(team) -> Task:
    return Task.objects.select_related("current_version").get(team=team)


def exported(team, target: Path, **options) -> Path:
    """Export the team's one task and return where it lies."""
    (result,) = export_tasks([the_task(team)], target, **options)
    assert result.problems == []
    return Path(result.path)


@pytest.fixture
def team():
    return make_team()


def test_a_created_task_comes_back_unchanged(team, tmp_path):
    imported(team, write_task(tmp_path / "in", {"evaluation": EVALUATION}))
    directory = exported(team, tmp_path / "out")
    assert directory.name == STAMPED
    (again,) = imported(team, directory)
    assert (again.result, again.version) == (UNCHANGED, 1)
    assert the_task(team).rubrics.count() == 1


def test_the_files_are_those_of_the_original(team, tmp_path):
    imported(team, write_task(tmp_path / "in", {"evaluation": EVALUATION}))
    directory = exported(team, tmp_path / "out")
    names = {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}
    assert names == {
        *("tb_meta.json", "LM_INSTRUCTIONS.md", "repo_info.json", "diff.patch", "notes.md"),
        *("trace/session_id.txt", "trace/session_clean.json", "evaluation/rubric_template.md"),
    }
    meta = json.loads((directory / "tb_meta.json").read_text())
    assert meta["task_id"] == STAMPED
    assert meta["task_id"].rsplit("_", 2)[0] == "fix-the-adder"
    assert meta["metadata"]["title"] == "Fix the adder!"
    assert meta["repo"] == META["repo"]
    assert meta["sensitivity"] == {"level": "unknown"}
    assert [rubric["weight"] for rubric in meta["evaluation"]["rubrics"]] == [0.6, 0.4]
    assert meta["evaluation"]["test_scripts"] == EVALUATION["test_scripts"]
    assert meta["lm"]["instructions"] == (directory / "LM_INSTRUCTIONS.md").read_text()
    info = json.loads((directory / "repo_info.json").read_text())
    assert info["touched_files"] == ["adder.py"]
    assert info["start_commit"] == META["repo"]["start_commit_sha"]
    clean = json.loads((directory / "trace/session_clean.json").read_text())
    assert (clean["traces"], clean["count"]) == ([], 0)


def test_tests_of_the_diff_are_written_out_and_known_again(team, tmp_path):
    imported(team, write_task(tmp_path / "in", diff=DIFF_WITH_TEST))
    directory = exported(team, tmp_path / "out")
    meta = json.loads((directory / "tb_meta.json").read_text())
    assert [test["path"] for test in meta["evaluation"]["test_scripts"]] == ["tests/test_adder.py"]
    assert imported(team, directory)[0].result == UNCHANGED


def test_a_change_to_the_files_makes_another_version(team, tmp_path):
    imported(team, write_task(tmp_path / "in", {"evaluation": EVALUATION}))
    directory = exported(team, tmp_path / "out")
    (directory / "LM_INSTRUCTIONS.md").write_text("Do something else.")
    (again,) = imported(team, directory)
    assert (again.result, again.version) == (NEW_VERSION, 2)


def test_another_team_gets_a_task_of_its_own(team, tmp_path):
    imported(team, write_task(tmp_path / "in", {"evaluation": EVALUATION}))
    other = make_team()
    (result,) = imported(other, exported(team, tmp_path / "out"))
    assert result.result == NEW
    assert the_task(other).current_version.hidden_tests == the_task(team).current_version.hidden_tests


def test_every_task_of_the_demo_comes_back_unchanged(team, tmp_path):
    sources = sorted(path for path in (Path(demo.__file__).parent / "tasks").iterdir() if path.is_dir())
    imported(team, *[demo.write_task(source, tmp_path / "in") for source in sources])
    results = export_tasks(Task.objects.filter(team=team).select_related("current_version"), tmp_path / "out")
    assert [(result.result, result.problems) for result in results] == [("written", [])] * len(sources)
    again = imported(team, *[result.path for result in results])
    assert {result.result for result in again} == {UNCHANGED}


def test_a_base_that_only_this_machine_has_travels_along(team, git_repository, tmp_path):
    repository = git_repository({"adder.py": "def add(a, b):\n    return a - b\n", "tool.sh": "#!/bin/sh\n"})
    (repository / "tool.sh").chmod(0o755)
    subprocess.run(["git", "-c", "user.name=A", "-c", "user.email=a@b", "commit", "-qam", "x"], cwd=repository)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=repository, capture_output=True, text=True).stdout
    repo = {"git_url": str(repository), "branch": "main", "start_commit_sha": commit.strip()}
    imported(team, write_task(tmp_path / "in", {"repo": repo, "evaluation": EVALUATION}))
    directory = exported(team, tmp_path / "out")
    assert str(tmp_path / "repository") not in (directory / "tb_meta.json").read_text()
    assert imported(team, directory)[0].result == UNCHANGED
    shutil.rmtree(repository)
    other = make_team()
    imported(other, directory)
    ours, theirs = the_task(team).current_version, the_task(other).current_version
    ensure_snapshot(theirs, Lines())
    assert theirs.snapshot_commit == ours.snapshot_commit
    assert theirs.snapshot_digest == ours.snapshot_digest


def test_a_base_that_is_gone_is_said_and_the_rest_is_written(team, git_repository, tmp_path):
    repository = git_repository({"adder.py": "x\n"})
    repo = {"git_url": str(repository), "branch": "main", "start_commit_sha": "0" * 40}
    imported(team, write_task(tmp_path / "in", {"repo": repo, "evaluation": EVALUATION}))
    shutil.rmtree(repository)
    (result,) = export_tasks([the_task(team)], tmp_path / "out")
    assert result.result == "written"
    assert any("bound to this machine" in note for note in result.notes)


def test_overlay_environment_and_removals_come_back(team, tmp_path):
    source = write_task(
        tmp_path / "in", {"evaluation": EVALUATION, "environment": {"setup": ["make deps"], "network": "none"}}
    )
    (source / "overlay_repo_files/docs").mkdir(parents=True)
    (source / "overlay_repo_files/docs/guide.md").write_text("guide\n")
    (source / "overlay_repo_files/run.sh").write_text("#!/bin/sh\n")
    (source / "overlay_repo_files/run.sh").chmod(0o755)
    (source / "remove_repo_paths.txt").write_text("old/\nsecret.txt\n")
    imported(team, source)
    directory = exported(team, tmp_path / "out")
    assert (directory / "remove_repo_paths.txt").read_text() == "old\nsecret.txt\n"
    assert (directory / "overlay_repo_files/run.sh").stat().st_mode & 0o111
    assert imported(team, directory)[0].result == UNCHANGED


def test_a_test_that_is_no_text_lies_beside_the_metadata(team, tmp_path):
    source = write_task(
        tmp_path / "in", {"evaluation": {"rubrics": [], "test_scripts": [{"path": "t/data.bin", "file": "data.bin"}]}}
    )
    (source / "data.bin").write_bytes(b"\xff\0\xfe")
    imported(team, source)
    directory = exported(team, tmp_path / "out")
    assert (directory / "evaluation/tests/t/data.bin").read_bytes() == b"\xff\0\xfe"
    assert imported(team, directory)[0].result == UNCHANGED


def test_an_export_replaces_its_own_earlier_one_and_nothing_else(team, tmp_path):
    imported(team, write_task(tmp_path / "in", {"evaluation": EVALUATION}))
    directory = exported(team, tmp_path / "out")
    (directory / "stray").write_text("left by somebody\n")
    assert exported(team, tmp_path / "out") == directory
    assert not (directory / "stray").exists()
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "mine.txt").write_text("mine\n")
    with pytest.raises(Foreign, match=r"Move it away"):
        write_created(the_task(team).current_version, foreign)
    assert (foreign / "mine.txt").read_text() == "mine\n"


def test_the_directory_that_was_imported_is_not_taken_for_an_export(team, tmp_path):
    source = write_task(tmp_path / "in", {"evaluation": EVALUATION})
    imported(team, source)
    before = (source / "tb_meta.json").read_bytes()
    (result,) = export_tasks([the_task(team)], source.parent)
    if source.name == STAMPED:
        assert result.result == "refused"
    assert (source / "tb_meta.json").read_bytes() == before


def test_a_link_is_not_followed(team, tmp_path):
    imported(team, write_task(tmp_path / "in", {"evaluation": EVALUATION}))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / STAMPED).symlink_to(tmp_path / "elsewhere")
    (result,) = export_tasks([the_task(team)], tmp_path / "out")
    assert result.result == "refused"
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_failure_leaves_no_half_written_directory(team, tmp_path):
    imported(team, write_task(tmp_path / "in", {"evaluation": EVALUATION}))
    version = the_task(team).current_version
    store.path_of(version.reference_diff_digest).unlink()
    (result,) = export_tasks([the_task(team)], tmp_path / "out")
    assert result.result == "refused"
    assert "content store" in result.problems[0]
    assert not any((tmp_path / "out").iterdir()) if (tmp_path / "out").exists() else True


@pytest.mark.parametrize("path", ["../../escaped", "/tmp/escaped", ".git/hooks/post-checkout"])
def test_no_path_of_a_version_leaves_the_directory(team, tmp_path, path):
    task = make_task(
        team=team, version={"overlay_files": [{"path": path, "digest": store.put(b"x"), "mode": "100644"}]}
    )
    (result,) = export_tasks([task], tmp_path / "out")
    assert result.result == "refused"
    assert not list(tmp_path.rglob("*escaped*"))


@pytest.mark.parametrize("external_id", ["../../up_20261120_225428", "a/b_20261120_225428", ".hidden", "", "x" * 300])
def test_an_odd_id_gives_a_plain_directory_name(team, external_id):
    task = make_task(team=team, external_id=external_id)
    name = created_name(task.current_version)
    assert name.startswith(f"{task.slug}_")
    assert name.rsplit("_", 2)[0] == task.slug


def test_a_sensitive_task_stays_unless_it_is_asked_for(team, tmp_path):
    task = make_task(team=team, version={"sensitivity": "sensitive"})
    (result,) = export_tasks([task], tmp_path / "out")
    assert result.result == "refused"
    assert "--include-sensitive" in result.problems[0]
    (result,) = export_tasks([task], tmp_path / "out", include_sensitive=True)
    assert result.result == "written"


def test_a_task_that_holds_a_key_stays_too(team, tmp_path):
    task = make_task(team=team, version={"instructions": "Use ghp_0123456789abcdefghij0123456789abcdef for it."})
    (result,) = export_tasks([task], tmp_path / "out")
    assert "github, instructions, line 1" in result.problems[0]
    assert "ghp_" not in result.problems[0]


def test_what_the_original_refuses_is_said(team, tmp_path):
    imported(team, write_task(tmp_path / "in"))
    (result,) = export_tasks([the_task(team)], tmp_path / "out")
    said = " ".join(result.notes)
    assert "repositories on github.com only" in said
    assert "default evaluation" in said


def test_two_tasks_of_one_name_are_named_because_the_original_mixes_them(team, tmp_path):
    first = make_task(team=team, external_id="same_20261120_225428")
    second = make_task(team=team, external_id="same_20261121_225428")
    results = export_tasks([first, second], tmp_path / "out")
    assert any("into one directory, same" in note for note in results[1].notes)
