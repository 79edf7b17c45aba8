"""The demo: six small real tasks, tried by reference agents and three scripted ones of different skill.

Everything goes the way that a user's own tasks go: git repositories are made, task directories imported, versions
validated, runs queued. What it shows is what happened here; nothing is made up.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction

from oneshot.accounts.models import Team, Visibility

BOARD = "demo"
ATTEMPTS = 3
HERE = Path(__file__).parent
PATIENCE_S = 900

# One fixed identity and time, so that the same task has the same commit on every machine.
GIT_ENVIRONMENT = {
    "GIT_AUTHOR_NAME": "OneShot demo",
    "GIT_AUTHOR_EMAIL": "demo@localhost",
    "GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z",
    "GIT_COMMITTER_NAME": "OneShot demo",
    "GIT_COMMITTER_EMAIL": "demo@localhost",
    "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}


def start() -> Iterator[str]:
    """Bring the demo in and queue its runs, telling of each step; what is there already is left as it is."""
    from runs import sandboxes
    from runs.errors import Fault
    from tasks.models import Task

    team, _ = Team.objects.get_or_create(slug="demo", defaults={"name": "Demo", "is_demo": True})
    problems = _import(team)
    tasks = list(Task.objects.filter(team=team).select_related("current_version").order_by("slug"))
    yield f"Demo: {len(tasks)} tasks are here."
    yield from problems
    _make_board(team, tasks)
    try:
        sandbox = sandboxes.choose(settings.SANDBOX).name
    except Fault as fault:
        yield f"The demo cannot run: {fault}"
        return
    yield from _validate(tasks, sandbox)
    if queued := _queue(tasks, sandbox):
        yield f"Demo: {queued} runs queued."


def remove() -> int:
    """Remove the demo's team with all it owns, and return how many runs that were. Working runs stop by themselves."""
    from runs import actions
    from runs.models import AgentConfig, Run

    teams = Team.objects.filter(is_demo=True)
    runs = Run.objects.filter(team__in=teams)
    for run in runs.active():
        actions.cancel(run)
    with transaction.atomic():
        count = runs.count()
        agents = list(runs.values_list("agent", flat=True).distinct())
        teams.delete()
        AgentConfig.objects.filter(pk__in=agents, runs__isnull=True).delete()
    shutil.rmtree(Path(settings.DATA_DIR) / "demo", ignore_errors=True)
    return count


def _import(team: Team) -> list[str]:
    """Import every demo task, and return the problems that there should not be."""
    from tasks.actions import import_tasks

    root = Path(settings.DATA_DIR) / "demo"
    shutil.rmtree(root, ignore_errors=True)
    paths = [write_task(source, root) for source in sorted((HERE / "tasks").iterdir()) if source.is_dir()]
    results = import_tasks(paths, team=team)
    team.tasks.update(visibility=Visibility.PUBLIC)
    return [f"{result.path}: {problem.message}" for result in results for problem in result.problems]


def write_task(source: Path, root: Path) -> Path:
    """Turn one folder of `demo/tasks` into a git repository and a task directory in OneShot's layout below `root`.

    Returns the task directory. The reference diff is what git says between `repository/` and `solution/`.
    """
    repository, target = root / "repositories" / source.name, root / "tasks" / source.name
    shutil.copytree(source / "repository", repository)
    _git(repository, "init", "--quiet", "--initial-branch=main")
    _git(repository, "add", "--all")
    _git(repository, "commit", "--quiet", "--message", "Start")
    base = _git(repository, "rev-parse", "HEAD").decode().strip()
    shutil.copytree(source / "solution", repository, dirs_exist_ok=True)
    _git(repository, "add", "--all")
    diff = _git(repository, "diff", "--cached", "--binary", "HEAD")
    _git(repository, "reset", "--quiet", "--hard")
    about: dict[str, Any] = json.loads((source / "task.json").read_text(encoding="utf-8"))
    hidden = sorted(path for path in (source / "hidden").rglob("*") if path.is_file())
    meta = {
        "task_id": source.name,
        "metadata": {"title": about["title"], "tags": about["tags"]},
        "repo": {"git_url": repository.as_uri(), "branch": "main", "start_commit_sha": base},
        "environment": about["environment"],
        "evaluation": {
            "rubrics": [],
            "test_scripts": [
                {"path": str(path.relative_to(source / "hidden")), "content": path.read_text(encoding="utf-8")}
                for path in hidden
            ],
        },
        "sensitivity": {"level": "safe"},
    }
    target.mkdir(parents=True)
    (target / "tb_meta.json").write_text(json.dumps(meta, indent=2), encoding="utf-8")
    (target / "diff.patch").write_bytes(diff)
    shutil.copy(source / "LM_INSTRUCTIONS.md", target / "LM_INSTRUCTIONS.md")
    return target


def _git(repository: Path, *args: str) -> bytes:
    env = {**os.environ, **GIT_ENVIRONMENT}
    return subprocess.run(["git", *args], cwd=repository, env=env, capture_output=True, check=True).stdout


def _make_board(team: Team, tasks: list[Any]) -> None:
    from benchmarks.models import Board

    board, _ = Board.objects.get_or_create(
        slug=BOARD,
        defaults={
            "title": "Demo board",
            "description": "Six small tasks that come with OneShot, tried on this machine by scripted agents.",
            "team": team,
            "visibility": Visibility.PUBLIC,
        },
    )
    board.tasks.set(tasks)


def _validate(tasks: list[Any], sandbox: str) -> Iterator[str]:
    """Validate what never was, all at once, and wait for it: without it no run can be graded."""
    from runs import actions
    from runs.validation import start_validation
    from tasks.models import TaskVersion

    versions = TaskVersion.objects.filter(pk__in=[task.current_version_id for task in tasks])
    waiting = versions.filter(validation=TaskVersion.Validation.NONE)
    for version in waiting.select_related("task"):
        actions.submit(list(start_validation(version, sandbox=sandbox).runs.all()))
    unfinished = versions.filter(validation__in=[TaskVersion.Validation.NONE, TaskVersion.Validation.RUNNING])
    if not unfinished.exists():
        return
    yield f"Demo: validating {len(tasks)} tasks (does nothing fail, does the reference pass, three times each)."
    told = -1
    deadline = time.monotonic() + PATIENCE_S
    while (left := unfinished.count()) and time.monotonic() < deadline:
        if left != told:
            told = left
            yield f"Demo: {len(tasks) - left} of {len(tasks)} validated."
        else:
            yield ""
        time.sleep(0.2)
    invalid = versions.exclude(validation=TaskVersion.Validation.VALID).select_related("task")
    yield from (f"Demo: {version} is not valid: {version.validation_reason or 'not decided'}" for version in invalid)


def _queue(tasks: list[Any], sandbox: str) -> int:
    """Queue the attempts that are missing, first attempts first, and return how many."""
    from runs import actions, agents
    from runs.models import AgentConfig, Run
    from tasks.models import TaskVersion

    configs = [AgentConfig.obtain(kind="oracle"), AgentConfig.obtain(kind="nop")]
    configs += [agents.from_file(path) for path in sorted((HERE / "agents").glob("*.toml"))]
    versions = TaskVersion.objects.filter(
        pk__in=[task.current_version_id for task in tasks], validation=TaskVersion.Validation.VALID
    )
    made = []
    for attempt in range(1, ATTEMPTS + 1):
        for version in versions.select_related("task"):
            for config in configs:
                there = Run.objects.filter(
                    task_version=version, agent=config, purpose=Run.Purpose.TRIAL, attempt=attempt
                ).exists()
                if not there:
                    made.append(actions.create_run(version=version, agent=config, sandbox=sandbox))
    actions.submit(made)
    return len(made)
