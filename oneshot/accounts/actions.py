"""Writes that concern people and teams, used by pages and commands alike."""

import secrets

from django.db import transaction
from django.utils.text import slugify

from oneshot.accounts.models import Membership, Role, Team, User


class LastOwner(ValueError):
    """A team would be left without anyone who may invite or rename; the message says what to do first."""


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


@transaction.atomic
def invite(*, team: Team, username: str, role: str) -> tuple[Membership, str]:
    """Add a person to a team and return the membership and a first password.

    The password is empty for a person who has an account already; a new account gets one that must be changed
    at the first log-in, and that nobody can read again later. Raises ValueError for someone who is in the team.
    """
    password = ""
    user = User.objects.filter(username__iexact=username).first()
    if user is None:
        password = secrets.token_urlsafe(12)
        user = User.objects.create_user(username=username, password=password, must_change_password=True)
    membership, added = Membership.objects.get_or_create(team=team, user=user, defaults={"role": role})
    if not added:
        raise ValueError(f"{user.username} is in {team.name} already.")
    return membership, password


@transaction.atomic
def change_role(membership: Membership, role: str) -> None:
    """Give a member another role. Raises LastOwner when no owner would be left."""
    if role != Role.OWNER:
        _keep_an_owner(membership)
    membership.role = role
    membership.save(update_fields=["role"])


@transaction.atomic
def remove_member(membership: Membership) -> None:
    """Take a person out of a team; what they made stays. Raises LastOwner when no owner would be left."""
    _keep_an_owner(membership)
    membership.delete()


def _keep_an_owner(membership: Membership) -> None:
    # Locking the owners makes two who leave at once wait for each other.
    owners = Membership.objects.select_for_update().filter(team=membership.team_id, role=Role.OWNER)
    if {owner.pk for owner in owners} == {membership.pk}:
        raise LastOwner(f"{membership.user} is the last owner of {membership.team}. Make someone else an owner first.")
