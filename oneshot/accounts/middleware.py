"""A password that someone else chose, such as the one `up` prints, is good for one log-in."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse


def first_password_must_change(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Send a user whose password must change to the page that changes it."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.user.is_authenticated and request.user.must_change_password:
            allowed = (reverse("password-change"), reverse("logout"), "/static/", "/health/")
            if not request.path.startswith(allowed):
                return redirect("password-change")
        return get_response(request)

    return middleware
