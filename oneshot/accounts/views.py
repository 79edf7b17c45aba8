"""Pages of people and teams: logging in, the account, teams and their members."""

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import LoginView, LogoutView, PasswordChangeView
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse_lazy
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from oneshot.accounts import actions
from oneshot.accounts.forms import AccountForm, FirstPasswordForm, InviteForm, LogInForm, SignUpForm, TeamForm
from oneshot.accounts.models import Membership, Role, Team, User, Visibility

THEMES = ("auto", "light", "dark")
YEAR_S = 365 * 24 * 3600


class SignedIn(HttpRequest):
    """What a view behind `login_required` gets."""

    user: User


class LogIn(LoginView):
    template_name = "accounts/login.html"
    authentication_form = LogInForm
    redirect_authenticated_user = True

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        demo = Team.objects.filter(is_demo=True, boards__visibility=Visibility.PUBLIC)
        board = demo.values_list("boards__slug", flat=True).first()
        return super().get_context_data(**kwargs) | {"demo_board": f"/boards/{board}/" if board else ""}


class LogOut(LogoutView):
    """Ends the session; only by POST."""


class PasswordChange(PasswordChangeView):
    template_name = "accounts/password.html"
    form_class = FirstPasswordForm
    success_url = reverse_lazy("overview")

    def form_valid(self, form: Any) -> HttpResponse:
        messages.success(self.request, "Password changed")
        return super().form_valid(form)


def sign_up(request: HttpRequest) -> HttpResponse:
    """Make an account and a first team of its own, where the site allows it."""
    if not settings.SIGN_UP:
        raise Http404
    form = SignUpForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        user = form.save()
        actions.create_team(name=f"Team of {user.username}", owner=user)
        login(request, user)
        return redirect("overview")
    return render(request, "accounts/sign_up.html", {"form": form}, status=400 if form.is_bound else 200)


@login_required
def account(request: SignedIn) -> HttpResponse:
    """Show and change one's own name, shortcuts and theme; on phones this is also the way to everything else."""
    form = AccountForm(request.POST or None, instance=request.user)
    if request.method == "POST" and form.is_valid():
        form.save()
        messages.success(request, "Saved")
        return redirect("account")
    memberships = request.user.memberships.select_related("team").order_by("team__name")
    context = {"form": form, "memberships": memberships, "nav": "account"}
    return render(request, "accounts/account.html", context, status=400 if form.is_bound else 200)


@require_POST
def theme(request: HttpRequest) -> HttpResponse:
    """Keep the chosen theme in a cookie, for visitors too."""
    chosen = request.POST.get("theme", "auto")
    target = request.POST.get("next", "")
    if not url_has_allowed_host_and_scheme(target, allowed_hosts={request.get_host()}):
        target = "/"
    response = HttpResponseRedirect(target)
    response.set_cookie(
        "theme",
        chosen if chosen in THEMES else "auto",
        max_age=YEAR_S,
        httponly=True,
        samesite="Lax",
        secure=settings.SESSION_COOKIE_SECURE,
    )
    return response


def _teams(user: Any) -> QuerySet[Team]:
    role = Membership.objects.filter(team=OuterRef("pk"), user=user).values("role")[:1]
    own = Team.objects.filter(pk__in=Team.objects.of(user).values("pk"))
    return own.annotate(
        members=Count("memberships", distinct=True),
        owners=Count("memberships", filter=Q(memberships__role=Role.OWNER), distinct=True),
        own_role=Subquery(role),
    ).order_by("name", "id")


@login_required
def team_list(request: SignedIn) -> HttpResponse:
    """List the user's teams, and make a new one."""
    form = TeamForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        team = actions.create_team(name=form.cleaned_data["name"], owner=request.user)
        messages.success(request, f"Team {team.name} made")
        return redirect("team-detail", slug=team.slug)
    context = {"form": form, "teams": _teams(request.user), "nav": "teams"}
    return render(request, "accounts/team_list.html", context, status=400 if form.is_bound else 200)


@login_required
def team_detail(request: SignedIn, slug: str) -> HttpResponse:
    """Show who is in a team; its owners can change that."""
    team = get_object_or_404(Team.objects.of(request.user), slug=slug)
    return _show_team(request, team)


def _show_team(
    request: SignedIn,
    team: Team,
    *,
    rename: TeamForm | None = None,
    invite: InviteForm | None = None,
    invited: Membership | None = None,
    password: str = "",
    status: int = 200,
) -> HttpResponse:
    context = {
        "team": team,
        "memberships": sorted(
            team.memberships.select_related("user"),
            key=lambda membership: (-Role.values.index(membership.role), membership.user.username),
        ),
        "is_owner": Team.objects.owned_by(request.user).filter(pk=team.pk).exists(),
        "own": team.memberships.filter(user=request.user).first(),
        "rename": rename or TeamForm(instance=team),
        "invite": invite or InviteForm(),
        "invited": invited,
        "password": password,
        "roles": Role.choices,
        "nav": "teams",
    }
    return render(request, "accounts/team_detail.html", context, status=status)


@login_required
@require_POST
def team_rename(request: SignedIn, slug: str) -> HttpResponse:
    team = get_object_or_404(Team.objects.owned_by(request.user), slug=slug)
    form = TeamForm(request.POST, instance=team)
    if not form.is_valid():
        team.refresh_from_db()
        return _show_team(request, team, rename=form, status=400)
    form.save()
    messages.success(request, f"The team is called {team.name} now")
    return redirect("team-detail", slug=team.slug)


@login_required
@require_POST
@never_cache
def team_invite(request: SignedIn, slug: str) -> HttpResponse:
    """Add a person. A new account's password is in this one response and nowhere else."""
    team = get_object_or_404(Team.objects.owned_by(request.user), slug=slug)
    form = InviteForm(request.POST)
    if form.is_valid():
        try:
            membership, password = actions.invite(team=team, **form.cleaned_data)
        except ValueError as error:
            form.add_error("username", str(error))
        else:
            if password:
                return _show_team(request, team, invited=membership, password=password)
            messages.success(request, f"{membership.user} is in the team now")
            return redirect("team-detail", slug=team.slug)
    return _show_team(request, team, invite=form, status=400)


@login_required
@require_POST
def member_role(request: SignedIn, slug: str, pk: int) -> HttpResponse:
    team = get_object_or_404(Team.objects.owned_by(request.user), slug=slug)
    membership = get_object_or_404(team.memberships.select_related("user", "team"), pk=pk)
    role = request.POST.get("role", "")
    if role not in Role.values:
        messages.error(request, f"{role or 'Nothing'} is no role. Choose owner or member.")
        return redirect("team-detail", slug=team.slug)
    try:
        actions.change_role(membership, role)
    except actions.LastOwner as error:
        messages.error(request, str(error))
    else:
        messages.success(request, f"{membership.user} is {membership.get_role_display().lower()} now")
    return redirect("team-detail", slug=team.slug)


@login_required
@require_POST
def member_remove(request: SignedIn, slug: str, pk: int) -> HttpResponse:
    """Take a person out of a team: owners anyone, members themselves."""
    team = get_object_or_404(Team.objects.of(request.user), slug=slug)
    membership = get_object_or_404(team.memberships.select_related("user", "team"), pk=pk)
    leaving = membership.user_id == request.user.pk
    if not leaving and not Team.objects.owned_by(request.user).filter(pk=team.pk).exists():
        raise Http404
    try:
        actions.remove_member(membership)
    except actions.LastOwner as error:
        messages.error(request, str(error))
        return redirect("team-detail", slug=team.slug)
    messages.success(request, f"You left {team}" if leaving else f"{membership.user} is no longer in the team")
    return redirect("team-list") if leaving else redirect("team-detail", slug=team.slug)
