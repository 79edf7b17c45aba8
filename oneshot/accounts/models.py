"""Who may see what: users, teams, and the role of a user in a team."""

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.utils import timezone

from oneshot.ids import uuid7


class User(AbstractUser):
    """A person. A password that someone else chose must be changed at the first log-in."""

    must_change_password = models.BooleanField(default=False)
    keyboard_shortcuts = models.BooleanField(default=True)

    def initials(self) -> str:
        """Return one or two capitals for the account button."""
        name = self.get_full_name() or self.username
        return "".join(word[0] for word in name.split()[:2]).upper()


class Visibility(models.TextChoices):
    PRIVATE = "private", "members of the team"
    PUBLIC = "public", "everyone, without logging in"


class TeamQuerySet(models.QuerySet["Team"]):
    def of(self, user, least: "Role | None" = None) -> "TeamQuerySet":
        """Return the teams in which `user` has at least the role `least`; None means any role.

        All of them for a superuser, none for a stranger.
        """
        if not user.is_authenticated:
            return self.none()
        if user.is_superuser:
            return self
        roles = Role.from_(least) if least else Role.values
        return self.filter(memberships__user=user, memberships__role__in=roles)

    def owned_by(self, user) -> "TeamQuerySet":
        """Return the teams that `user` may invite to and rename."""
        return self.of(user, Role.OWNER)


class Team(models.Model):
    """Owner of tasks, runs and boards. What a team owns is private unless it says otherwise."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    slug = models.SlugField(unique=True)
    name = models.CharField(max_length=100)
    is_demo = models.BooleanField(default=False, help_text="Samples; one click on the overview removes them.")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = TeamQuerySet.as_manager()

    def __str__(self) -> str:
        return self.name


class Role(models.TextChoices):
    """What a member may do; each role may do what those before it may."""

    VIEWER = "viewer", "Viewer"
    CURATOR = "curator", "Curator"
    MAINTAINER = "maintainer", "Maintainer"
    OWNER = "owner", "Owner"

    @classmethod
    def from_(cls, least: str) -> list[str]:
        """Return the roles from `least` on."""
        return cls.values[cls.values.index(least) :]


ROLE_MEANINGS = {
    Role.VIEWER: "reads everything of the team",
    Role.CURATOR: "edits tasks and rubrics, validates, labels",
    Role.MAINTAINER: "publishes, waives, runs agents, judges, makes boards",
    Role.OWNER: "invites, changes roles, renames",
}


class Membership(models.Model):
    """A user's role in a team."""

    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role.choices, default=Role.VIEWER)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["team", "user"], name="one_membership_per_team_and_user")]

    def __str__(self) -> str:
        return f"{self.user} in {self.team} ({self.role})"


class FailedLogIn(models.Model):
    """A log-in that was refused. Some of these within a while make a pause; see oneshot/accounts/pauses.py."""

    username = models.CharField(max_length=150)
    address = models.CharField(max_length=64)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [
            models.Index(fields=["address", "username", "at"], name="failed_by_person"),
            models.Index(fields=["at"], name="failed_at"),
        ]

    def __str__(self) -> str:
        return f"{self.username} from {self.address}"


class ApiToken(models.Model):
    """A key with which a person's programs use the API. Only its digest is kept; see oneshot/accounts/tokens.py."""

    class Scope(models.TextChoices):
        READ = "read", "Read"
        WRITE = "write", "Read and write"

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=100, help_text="What uses it.")
    prefix = models.CharField(max_length=20, help_text="Its beginning, to tell it from others.")
    digest = models.CharField(max_length=64, unique=True, editable=False, help_text="sha256 of the whole token.")
    scope = models.CharField(max_length=5, choices=Scope.choices, default=Scope.READ)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True, help_text="Empty: it does not expire.")
    last_used_at = models.DateTimeField(null=True, blank=True, help_text="To about a minute.")
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at", "-pk"]

    def __str__(self) -> str:
        return f"{self.name} of {self.user}"

    @property
    def has_expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= timezone.now()

    @property
    def is_live(self) -> bool:
        """Whether it opens the API."""
        return self.revoked_at is None and not self.has_expired

    @property
    def writes(self) -> bool:
        return self.scope == self.Scope.WRITE
