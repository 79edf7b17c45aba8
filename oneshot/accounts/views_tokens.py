"""The page of one's own API tokens."""

from __future__ import annotations

from datetime import timedelta

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from oneshot.accounts import tokens
from oneshot.accounts.forms import TokenForm
from oneshot.accounts.models import ApiToken
from oneshot.accounts.views import SignedIn

MOST_ENDED = 20


@login_required
@never_cache
def token_list(request: SignedIn) -> HttpResponse:
    """List one's tokens, and make a new one. The token itself is in this one response and nowhere else."""
    form = TokenForm(request.POST or None)
    made: ApiToken | None = None
    token = ""
    if request.method == "POST" and form.is_valid():
        days = form.cleaned_data["days"]
        expires_at = timezone.now() + timedelta(days=int(days)) if days else None
        name, scope = form.cleaned_data["name"], form.cleaned_data["scope"]
        try:
            made, token = tokens.issue(user=request.user, name=name, scope=scope, expires_at=expires_at)
        except ValueError as error:
            form.add_error(None, str(error))
        else:
            form = TokenForm()
    rows = list(request.user.api_tokens.all())
    context = {
        "form": form,
        "live": [row for row in rows if row.is_live],
        "ended": [row for row in rows if not row.is_live][:MOST_ENDED],
        "made": made,
        "token": token,
        "nav": "account",
    }
    return render(request, "accounts/tokens.html", context, status=400 if form.is_bound and form.errors else 200)


@login_required
@require_POST
def token_revoke(request: SignedIn, pk: int) -> HttpResponse:
    """Shut out whatever uses one of one's own tokens."""
    token = get_object_or_404(request.user.api_tokens, pk=pk)
    tokens.revoke(token)
    messages.success(request, f"Revoked: {token.name}")
    return redirect("token-list")
