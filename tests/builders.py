"""Small builders of rows for tests: each makes what is left out, and takes any field as a keyword."""

import itertools
from datetime import timedelta
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.utils import timezone

from oneshot import store
from oneshot.accounts.models import Membership, Role, Team, User, Visibility
from runs.models import ENDED, WORKING, AgentConfig, Run, Status
from tasks.models import Criterion, Rubric, Task, TaskVersion

_numbers = itertools.count(1)

PASSWORD = "a-long-enough-password"
DIFF = b"""diff --git a/adder.py b/adder.py
--- a/adder.py
+++ b/adder.py
@@ -1,2 +1,2 @@
 def add(a, b):
-    return a - b
+    return a + b
"""


@lru_cache(maxsize=4)
def _hashed(hasher: str) -> str:
    # Hashing takes a third of a second by design; once for each hasher is enough.
    return make_password(PASSWORD)


def make_user(username: str = "", **fields: Any) -> User:
    """Return a user who can log in with PASSWORD."""
    return User.objects.create(
        **{"username": username or f"user{next(_numbers)}", "password": _hashed(settings.PASSWORD_HASHERS[0])} | fields
    )


def make_superuser(username: str = "root", **fields: Any) -> User:
    """Return an administrator who can log in with PASSWORD."""
    return make_user(username, is_staff=True, is_superuser=True, **fields)


def make_team(
    *,
    owner: User | None = None,
    member: User | None = None,
    curator: User | None = None,
    viewer: User | None = None,
    **fields: Any,
) -> Team:
    """Return a team with the people given, each in that role; `member` is a maintainer."""
    number = next(_numbers)
    team = Team.objects.create(**{"slug": f"team-{number}", "name": f"Team {number}"} | fields)
    people = ((owner, Role.OWNER), (member, Role.MAINTAINER), (curator, Role.CURATOR), (viewer, Role.VIEWER))
    for user, role in people:
        if user:
            Membership.objects.create(team=team, user=user, role=role)
    return team


def make_task(*, team: Team | None = None, version: bool | dict[str, Any] = True, **fields: Any) -> Task:
    """Return a task with a current version, made with the fields in `version`; False leaves it without any."""
    number = next(_numbers)
    task = Task.objects.create(
        **{"slug": f"task-{number}", "title": f"Task {number}", "team": team or make_team()} | fields
    )
    if version is not False:
        make_version(task, **(version if isinstance(version, dict) else {}))
    return task


def make_version(task: Task | None = None, *, current: bool = True, diff: bytes = DIFF, **fields: Any) -> TaskVersion:
    """Return a version of the task, numbered after its last; `diff` becomes the reference diff."""
    task = task or make_task(version=False)
    number = task.versions.count() + 1
    version = TaskVersion.objects.create(
        **{
            "task": task,
            "number": number,
            "digest": f"{next(_numbers):064x}",
            "title": task.title,
            "instructions": "Make `add` add.",
            "repo": {"git_url": "https://example.org/adder.git", "branch": "main", "start_commit_sha": "a" * 40},
            "reference_diff_digest": store.put(diff) if diff else "",
        }
        | fields
    )
    if current:
        task.current_version = version
        task.save(update_fields=["current_version"])
    return version


def make_public_task(**fields: Any) -> Task:
    """Return a task that everyone may read."""
    return make_task(visibility=Visibility.PUBLIC, **fields)


def make_rubric(task: Task, *texts: str) -> Rubric:
    """Return a rubric with one criterion for each text."""
    rubric = Rubric.objects.create(task=task, number=task.rubrics.count() + 1, digest=f"{next(_numbers):064x}")
    for position, text in enumerate(texts or ("It adds.",)):
        Criterion.objects.create(rubric=rubric, position=position, key=f"c{position}", text=text, weight="0.5")
    return rubric


def make_agent(kind: str = "command", **fields: Any) -> AgentConfig:
    """Return an agent configuration; equal fields give the same row."""
    return AgentConfig.obtain(kind=kind, **fields)


def make_run(*, version: TaskVersion | None = None, agent: AgentConfig | None = None, **fields: Any) -> Run:
    """Return a run with times that fit its status.

    `outcome` alone makes it finished; `task` picks that task's current version; everything else is a field.
    """
    task: Task = fields.pop("task", None) or (version.task if version else make_task())
    version = version or task.current_version or make_version(task)
    agent = agent or make_agent(name="tester")
    if fields.get("outcome"):
        fields.setdefault("status", Status.FINISHED)
    status = fields.setdefault("status", Status.QUEUED)
    if status == Status.FINISHED:
        fields.setdefault("outcome", "resolved")
    now = timezone.now()
    begun = now - timedelta(minutes=5)
    if status in WORKING or status in ENDED:
        fields.setdefault("tries", 1)
        for step, name in enumerate(WORKING):
            fields.setdefault(f"{name}_at", begun + timedelta(seconds=30 * step))
            if status == name:
                break
    if status in WORKING:
        fields.setdefault("heartbeat_at", now)
    if status in ENDED:
        fields.setdefault("finished_at", now)
        fields.setdefault("seconds", 300.0)
    defaults = {
        "task_version": version,
        "task": task,
        "team": task.team,
        "public": task.visibility == Visibility.PUBLIC,
        "agent": agent,
        "attempt": Run.objects.filter(task_version=version, agent=agent).count() + 1,
        "sandbox": "local",
        "limits": {"timeout_s": 1800, "test_timeout_s": 600, "memory_mb": 2048, "cpus": 2, "pids": 512},
        "queued_at": begun,
    }
    return Run.objects.create(**defaults | fields)
