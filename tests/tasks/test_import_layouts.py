"""Tasks come in from every layout that the original writes or documents, and keep their identity."""

import json

import pytest

from oneshot import store
from oneshot.accounts.models import Visibility
from tasks.actions import import_tasks, stem_of
from tasks.models import Task
from tests.builders import make_team
from tests.tasks.builders import COMMIT, DIFF, DIFF_WITH_TEST, EVALUATION, META, STAMPED, TEST, write_task

pytestmark = pytest.mark.django_db


@pytest.fixture
def team():
    return make_team()


def import_one(path, team, **options):
    (result,) = import_tasks([path], team=team, **options)
    return result


def imported(path, team):
    result = import_one(path, team)
    assert result.problems == []
    return Task.objects.get(slug=result.slug)


@pytest.mark.parametrize("layout", ["created", "overlay", "prepared"])
def test_every_layout_is_read_alike(tmp_path, team, layout):
    task = imported(write_task(tmp_path / "task", layout=layout), team)
    version = task.current_version
    assert (task.slug, task.title, task.external_id) == ("fix-the-adder", "Fix the adder!", STAMPED)
    assert task.tags == ["bugfix", "completed", "py"]
    assert task.visibility == Visibility.PRIVATE
    assert version.number == 1
    assert version.instructions.startswith("# Task: Fix the adder!")
    assert version.repo["git_url"] == "git@example.org:acme/widget.git"
    assert version.repo["start_commit_sha"] == COMMIT
    assert version.reference_diff() == DIFF
    assert version.sensitivity == "unknown"
    assert version.environment == {}
    assert version.provenance["layout"] == ("created" if layout == "created" else "prepared")


def test_created_and_prepared_are_the_same_task(tmp_path, team):
    write_task(tmp_path / "created" / STAMPED)
    write_task(
        tmp_path / "prepared" / "fix-the-adder",
        {"evaluation": EVALUATION, "repo.git_url": "https://example.org/acme/widget.git"},
        layout="prepared",
    )
    results = import_tasks([tmp_path], team=team)
    assert [(result.result, result.version) for result in results] == [("new", 1), ("new_version", 2)]
    assert Task.objects.get().current_version.number == 2


def test_the_same_content_again_is_unchanged_however_it_is_written(tmp_path, team):
    import_one(write_task(tmp_path / "a"), team)
    shuffled = dict(reversed(json.loads(json.dumps(META)).items()))
    shuffled["metadata"]["tags"].reverse()
    text = "\ufeff" + json.dumps(shuffled, indent=4).replace("\n", "\r\n")
    instructions = "# Task: Fix the adder!\r\n\r\nadd returns the difference. Make it return the sum."
    again = import_one(write_task(tmp_path / "b", meta=text, instructions=instructions), team)
    assert (again.result, again.version, again.problems) == ("unchanged", 1, [])


@pytest.mark.parametrize(
    ("changes", "more"),
    [
        ({}, {"instructions": "Something else."}),
        ({}, {"diff": DIFF.replace(b"a + b", b"b + a")}),
        ({"repo.start_commit_sha": "a" * 40}, {}),
        ({"repo.subdir": "core"}, {}),
        ({"repo.sparse_checkout": ["core"]}, {}),
        ({"repo.git_url": "https://example.org/other/widget"}, {}),
        ({"environment": {"timeout_s": 60}}, {}),
        ({"evaluation": EVALUATION}, {}),
        ({}, {"files": {"overlay_repo_files/AGENTS.md": "Be brief."}}),
        ({}, {"files": {"overlay_files/remove_repo_paths.txt": "docs\n"}}),
    ],
)
def test_a_change_of_anything_that_is_seen_makes_a_new_version(tmp_path, team, changes, more):
    import_one(write_task(tmp_path / "a"), team)
    result = import_one(write_task(tmp_path / "b", changes, **more), team)
    assert (result.result, result.version, result.slug) == ("new_version", 2, "fix-the-adder")


def test_the_way_to_the_repository_is_no_content_but_is_kept_up_to_date(tmp_path, team):
    import_one(write_task(tmp_path / "a"), team)
    result = import_one(write_task(tmp_path / "b", {"repo.git_url": "https://example.org/acme/widget"}), team)
    assert result.result == "unchanged"
    assert Task.objects.get().current_version.repo["git_url"] == "https://example.org/acme/widget"


def test_an_older_content_stays_old(tmp_path, team):
    first = write_task(tmp_path / "a")
    import_one(first, team)
    import_one(write_task(tmp_path / "b", {"metadata.title": "Newer"}, instructions="Newer."), team)
    again = import_one(first, team)
    task = Task.objects.get()
    assert (again.result, again.version) == ("unchanged", 1)
    assert (task.current_version.number, task.title) == (2, "Newer")
    assert "version 2 stays" in again.notes[-1].message


def test_another_rubric_is_no_new_version(tmp_path, team):
    import_one(write_task(tmp_path / "a", {"evaluation": EVALUATION}), team)
    changed = {**EVALUATION, "rubrics": [{"id": "behaviour", "criterion": "It adds well.", "weight": None}]}
    result = import_one(write_task(tmp_path / "b", {"evaluation": changed}), team)
    task = Task.objects.get()
    assert result.result == "unchanged"
    assert "new rubric 2" in [note.message for note in result.notes]
    assert [rubric.number for rubric in task.rubrics.all()] == [1, 2]
    criterion = task.rubrics.last().criteria.get()
    assert (criterion.key, criterion.text, criterion.weight) == ("behaviour", "It adds well.", 1)
    first = task.rubrics.first().criteria.first()
    assert (first.checks, str(first.weight)) == (["1 + 2 is 3"], "0.6000")


def test_rubrics_without_tests_and_tests_without_rubrics_are_accepted(tmp_path, team):
    only_rubrics = imported(write_task(tmp_path / "a", {"evaluation": {"rubrics": EVALUATION["rubrics"]}}), team)
    assert only_rubrics.current_version.hidden_tests == []
    assert only_rubrics.rubrics.get().criteria.count() == 2
    tests = {"evaluation": {"test_scripts": EVALUATION["test_scripts"]}, "task_id": "other"}
    only_tests = imported(write_task(tmp_path / "b", tests), team)
    assert only_tests.current_version.hidden_test_files() == {"tests/test_adder.py": TEST.encode()}
    assert only_tests.rubrics.count() == 0


def test_the_text_of_a_test_may_lie_in_a_file_of_the_task(tmp_path, team):
    scripts = [{"path": "tests/test_adder.py", "file": "evaluation/test_adder.py"}]
    changes = {"evaluation": {"test_scripts": scripts}}
    task = imported(write_task(tmp_path / "t", changes, files={"evaluation/test_adder.py": TEST}), team)
    assert task.current_version.hidden_test_files() == {"tests/test_adder.py": TEST.encode()}


PLACEHOLDERS = [
    {
        "path": "tests/test_task_completion.py",
        "rubric_id": "task_completion",
        "content": "import subprocess\ndef test_changes_were_made():\n"
        "    names = subprocess.run(['git', 'diff', '--name-only', '--cached'])\n    assert names\n",
    },
    {
        "path": "tests/test_code_runs.py",
        "rubric_id": "testing",
        "content": "import os, subprocess\ndef test_tests_can_run():\n    for root in os.walk('.'):\n"
        "        assert 'SyntaxError' not in subprocess.run(['python3', '-m', 'pytest']).stderr\n",
    },
]


def test_placeholder_tests_of_the_original_are_left_out_and_those_of_the_diff_taken(tmp_path, team):
    changes = {"evaluation": {"rubrics": EVALUATION["rubrics"], "test_scripts": PLACEHOLDERS}}
    path = write_task(tmp_path / "a", changes, layout="prepared", diff=DIFF_WITH_TEST)
    result = import_one(path, team)
    version = Task.objects.get().current_version
    messages = [note.message for note in result.notes]
    assert messages.count("placeholder test of the original: left out") == 2
    assert version.hidden_test_files() == {"tests/test_adder.py": TEST.encode()}
    assert version.provenance["placeholder_tests"] == ["tests/test_task_completion.py", "tests/test_code_runs.py"]


def test_a_real_test_under_a_placeholders_name_stays(tmp_path, team):
    scripts = [{"path": "tests/test_task_completion.py", "content": TEST}]
    task = imported(write_task(tmp_path / "a", {"evaluation": {"test_scripts": scripts}}), team)
    assert list(task.current_version.hidden_test_files()) == ["tests/test_task_completion.py"]


def test_older_shapes_of_the_metadata_are_read(tmp_path, team):
    meta = {
        "id": "old-one",
        "title": "An old task",
        "tags": ["a"],
        "created_at": "2025-01-01T00:00:00",
        "lm": {"instructions": "Do it."},
        "repository": {"clone_url": "https://example.org/x/y.git", "branch": "dev", "commit": "abcdef1"},
    }
    path = write_task(tmp_path / "t", meta=meta, instructions=None, diff=None)
    (path / "repo_info.json").unlink()
    result = import_one(path, team)
    task = Task.objects.get()
    assert (task.slug, task.title, task.tags) == ("old-one", "An old task", ["a"])
    assert task.current_version.instructions == "Do it."
    assert task.current_version.repo | {"git_url": "https://example.org/x/y.git", "branch": "dev"} == (
        task.current_version.repo
    )
    assert task.current_version.repo["start_commit_sha"] == "abcdef1"
    assert "no reference diff" in result.notes[0].message


def test_almost_everything_may_be_missing(tmp_path, team):
    path = write_task(tmp_path / "tiny", meta={"repo": {}}, instructions="Say hello.", diff=None)
    task = imported(path, team)
    assert (task.slug, task.external_id, task.title) == ("tiny", "tiny", "tiny")
    assert task.current_version.repo["git_url"] == "git@example.org:acme/widget.git"
    assert task.current_version.repo["start_commit_sha"] == COMMIT


def test_null_counts_as_missing(tmp_path, team):
    nulls = dict.fromkeys(
        ("metadata.tags", "repo.subdir", "repo.sparse_checkout", "repo.end_commit_sha", "sensitivity")
    )
    scripts = [{"path": "tests/test_a.py", "rubric_id": None, "content": TEST, "score": None}]
    changes = {**nulls, "evaluation": {"rubrics": None, "test_scripts": scripts}, "environment": None}
    assert imported(write_task(tmp_path / "t", changes), team).tags == []


@pytest.mark.parametrize(
    ("task_id", "title", "slug"),
    [
        ("fix-it_20261120_225428", "Fix it", "fix-it"),
        ("my_multi_word_task", "x", "my_multi_word_task"),
        ("v1_20261399_000000", "x", "v1_20261399_000000"),
        ("_20261120_225428", "!!!", "task"),
        ("_20261120_225428", "Mend the Grüße", "mend-the-grue"),
        ("日本語の課題_20261120_225428", "日本語の課題", "task"),
        ("a/b c", "x", "ab-c"),
        ("x" * 300, "x", "x" * 100),
    ],
)
def test_slugs_come_from_the_id_without_its_time(tmp_path, team, task_id, title, slug):
    task = imported(write_task(tmp_path / "t", {"task_id": task_id, "metadata.title": title}), team)
    assert task.title == title
    assert task.slug == slug


def test_slugs_are_made_unique(tmp_path, team):
    for stamp in ("20261120_225428", "20261120_225429", "20261121_000000"):
        import_one(write_task(tmp_path / stamp, {"task_id": f"fix_{stamp}"}), team)
    other = import_one(write_task(tmp_path / "other", {"task_id": "fix_20261120_225428"}), make_team())
    assert sorted(Task.objects.values_list("slug", flat=True)) == ["fix", "fix-2", "fix-3", "fix-4"]
    assert other.result == "new"


@pytest.mark.parametrize(
    ("name", "stem"),
    [("a_20261120_225428", "a"), ("a_20261120", "a_20261120"), ("a_99999999_999999", "a_99999999_999999"), ("a", "a")],
)
def test_only_a_real_time_is_taken_off(name, stem):
    assert stem_of(name) == stem


def test_a_folder_holds_tasks_and_other_things(tmp_path, team):
    write_task(tmp_path / "b", {"task_id": "b"}, layout="prepared")
    write_task(tmp_path / "a", {"task_id": "a"})
    write_task(tmp_path / "deeper" / "c", {"task_id": "c"}, layout="overlay")
    write_task(tmp_path / "broken", meta="{")
    (tmp_path / "README.md").write_text("not a task")
    (tmp_path / "empty").mkdir()
    results = import_tasks([tmp_path], team=team)
    assert [(result.path.removeprefix(f"{tmp_path}/"), result.result) for result in results] == [
        ("a", "new"),
        ("b", "new"),
        ("broken", "refused"),
        ("deeper/c", "new"),
    ]


def test_repository_overlay_keeps_modes_and_removals(tmp_path, team):
    path = write_task(
        tmp_path / "t",
        layout="prepared",
        files={
            "overlay_repo_files/AGENTS.md": "Be brief.",
            "overlay_repo_files/bin/run.sh": "#!/bin/sh\n",
            "overlay_repo_files/.gitkeep": "",
            "overlay_files/remove_repo_paths.txt": "docs/\n\n./secret.txt\n",
            "overlay_files/extra.txt": "x",
        },
    )
    (path / "overlay_repo_files" / "bin" / "run.sh").chmod(0o755)
    result = import_one(path, team)
    version = Task.objects.get().current_version
    assert [(file["path"], file["mode"]) for file in version.overlay_files] == [
        ("AGENTS.md", "100644"),
        ("bin/run.sh", "100755"),
    ]
    assert store.get(version.overlay_files[0]["digest"]) == b"Be brief."
    assert version.repo["remove_paths"] == ["docs", "secret.txt"]
    assert [note.file for note in result.notes if "left out" in note.message] == [
        "Dockerfile",
        "overlay_files/extra.txt",
    ]


def test_a_task_that_brings_its_files_needs_no_repository(tmp_path, team):
    meta = {"task_id": "self-contained", "metadata": {"title": "All here"}}
    path = write_task(tmp_path / "t", meta=meta, diff=None, files={"overlay_repo_files/adder.py": "x = 1\n"})
    (path / "repo_info.json").unlink()
    assert imported(path, team).current_version.repo["git_url"] == ""


def test_overrides_are_applied(tmp_path, team):
    overrides = {
        "prompt": "Do it differently.",
        "overlay_repo_files": {"AGENTS.md": "# Guide"},
        "inject_files": [{"path": "hint.txt", "content": "hi"}],
        "remove_repo_paths": ["docs/", "*.log"],
        "evaluation": EVALUATION,
        "repo": {"git_url": "https://example.org/new/one", "start_commit_sha": "b" * 40},
        "environment_variables": {"A": "1"},
        "openai": {"api_key": "sk-very-secret"},
    }
    path = write_task(tmp_path / "t", layout="prepared", files={"overrides.json": json.dumps(overrides)})
    result = import_one(path, team)
    assert result.problems == []
    version = Task.objects.get().current_version
    assert version.instructions == "Do it differently."
    assert [file["path"] for file in version.overlay_files] == ["AGENTS.md", "hint.txt"]
    assert version.repo["remove_paths"] == ["*.log", "docs"]
    assert (version.repo["git_url"], version.repo["branch"]) == ("https://example.org/new/one", "main")
    assert version.environment == {"env": {"A": "1"}}
    assert list(version.hidden_test_files()) == ["tests/test_adder.py"]
    assert "sk-very-secret" not in json.dumps([result.as_dict(), version.provenance])
    assert any(note.file == "overrides.json" and note.field == "openai" for note in result.notes)


def test_a_dockerfile_of_the_tasks_own_becomes_its_environment(tmp_path, team):
    text = "FROM debian:bookworm-slim\nRUN apt-get update\n"
    beside = imported(write_task(tmp_path / "a", {"task_id": "a"}, files={"Dockerfile": text}), team)
    assert beside.current_version.environment == {"dockerfile": text}
    named = {"task_id": "b", "environment": {"dockerfile": "docker/Test.Dockerfile"}}
    elsewhere = imported(write_task(tmp_path / "b", named, files={"docker/Test.Dockerfile": text}), team)
    assert elsewhere.current_version.environment == {"dockerfile": text}


def test_what_was_trimmed_from_the_end_of_a_diff_is_given_back(tmp_path, team):
    diff = DIFF.replace(b"@@ -1,2 +1,2 @@", b"@@ -1,4 +1,4 @@") + b" \n \n"
    task = imported(write_task(tmp_path / "t", diff=diff.rstrip()), team)
    assert task.current_version.reference_diff() == diff


def test_sensitive_tasks_never_become_public(tmp_path, team):
    write_task(tmp_path / "a", {"task_id": "a", "sensitivity.level": "sensitive"})
    write_task(tmp_path / "b", {"task_id": "b", "sensitivity.level": "Safe"})
    results = import_tasks([tmp_path], team=team, public=True)
    assert dict(Task.objects.values_list("slug", "visibility")) == {"a": "private", "b": "public"}
    assert "marked sensitive" in results[0].notes[-1].message


def test_a_dry_run_stores_nothing(tmp_path, team):
    path = write_task(tmp_path / "t")
    foreseen = import_one(path, team, dry_run=True)
    assert (foreseen.result, foreseen.slug, foreseen.version) == ("new", "fix-the-adder", 1)
    assert not Task.objects.exists()
    import_one(path, team)
    assert import_one(path, team, dry_run=True).result == "unchanged"
    again = import_one(write_task(tmp_path / "u", instructions="Else."), team, dry_run=True)
    assert (again.result, again.version) == ("new_version", 2)
