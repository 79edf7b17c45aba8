"""Who may read a task. Its runs and their traces repeat team and visibility, so these change together."""

from django.db import transaction
from django.db.models import QuerySet

from oneshot.accounts.models import Team, Visibility
from tasks.models import Task
from traces.models import Session


@transaction.atomic
def set_visibility(task: Task, visibility: str) -> None:
    """Make a task, its runs and their traces readable by everyone, or by the team only."""
    Task.objects.filter(pk=task.pk).update(visibility=visibility)
    task.runs.update(public=visibility == Visibility.PUBLIC)
    _traces(task).update(public=visibility == Visibility.PUBLIC)
    task.visibility = visibility


@transaction.atomic
def set_team(task: Task, team: Team) -> None:
    """Give a task, its runs and their traces to another team."""
    Task.objects.filter(pk=task.pk).update(team=team)
    task.runs.update(team=team)
    _traces(task).update(team=team)
    task.team = team


def _traces(task: Task) -> QuerySet[Session]:
    return Session.objects.filter(origin=Session.Origin.RUN, runs__task=task)
