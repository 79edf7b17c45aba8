"""Writes that concern people and teams, used by pages and commands alike."""

from django.db import transaction
from django.utils.text import slugify

from oneshot.accounts.models import Membership, Role, Team, User


def default_team() -> Team:
    """Return the team that commands work for when none is named: the oldest real one, made if there is none."""
    team = Team.objects.filter(is_demo=False).order_by("created_at", "id").first()
    return team or Team.objects.get_or_create(slug="main", defaults={"name": "Main"})[0]


@transaction.atomic
def create_team(*, name: str, owner: User) -> Team:
    """Make a team with a slug of its own, owned by `owner`."""
    base = slugify(name)[:40] or "team"
    slug, number = base, 2
    while Team.objects.filter(slug=slug).exists():
        slug, number = f"{base}-{number}", number + 1
    team = Team.objects.create(slug=slug, name=name)
    Membership.objects.create(team=team, user=owner, role=Role.OWNER)
    return team
