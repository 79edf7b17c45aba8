"""Who may read a task. Its runs repeat team and visibility, so these change together."""

from django.db import transaction

from oneshot.accounts.models import Team, Visibility
from tasks.models import Task


@transaction.atomic
def set_visibility(task: Task, visibility: str) -> None:
    """Make a task and all its runs readable by everyone, or by the team only."""
    Task.objects.filter(pk=task.pk).update(visibility=visibility)
    task.runs.update(public=visibility == Visibility.PUBLIC)
    task.visibility = visibility


@transaction.atomic
def set_team(task: Task, team: Team) -> None:
    """Give a task and all its runs to another team."""
    Task.objects.filter(pk=task.pk).update(team=team)
    task.runs.update(team=team)
    task.team = team
