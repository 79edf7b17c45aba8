"""The overview: what goes on, what came of it, and what needs a person."""

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST


def overview(request: HttpRequest) -> HttpResponse:
    """Show the state of things."""
    return render(request, "overview/overview.html", {"nav": "overview"})


@login_required
def now(request: HttpRequest) -> HttpResponse:
    """Renew the live part of the overview."""
    return render(request, "overview/_now.html")


@login_required
@require_POST
def remove_demo(request: HttpRequest) -> HttpResponse:
    """Remove the samples."""
    return redirect("overview")
