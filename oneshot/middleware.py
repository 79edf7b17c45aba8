"""What holds for every answer: the headers that keep a page to this host, and log-in inside of fragments."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.urls import reverse

POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ]
)

Handler = Callable[[HttpRequest], HttpResponse]


def security_headers(get_response: Handler) -> Handler:
    """Set the policy on every response that does not bring its own."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response.headers.setdefault("Content-Security-Policy", POLICY)
        response.headers.setdefault("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
        return response

    return middleware


def log_in_as_a_page(get_response: Handler) -> Handler:
    """Make a fragment that meets the log-in reload its page, instead of showing the log-in form inside of it."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if request.headers.get("HX-Request") and 300 <= response.status_code < 400:
            doors = (reverse("login"), reverse("password-change"))
            if response.headers.get("Location", "").startswith(doors):
                return HttpResponse(headers={"HX-Refresh": "true"})
        return response

    return middleware
