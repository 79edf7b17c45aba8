"""The way in: hands a request to the API, whose code is imported by the first one; and its reference."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET

PREFIX = "/api/v1/"


# No cookie opens the API, so there is nothing that another site could make a browser do.
@csrf_exempt
@never_cache
def api(request: HttpRequest, rest: str) -> HttpResponse:
    """Answer a request to the API."""
    from oneshot.api.root import answer

    return answer(request, f"/{rest}")


@require_GET
def openapi(request: HttpRequest) -> HttpResponse:
    """Send the description of the API. It holds no data, so it is for everyone."""
    from oneshot.api.root import description

    return JsonResponse(description(PREFIX))


@require_GET
def docs(request: HttpRequest) -> HttpResponse:
    """Show that description as a page on which every request can be tried."""
    return render(request, "api_docs.html", {"nav": "account"})
