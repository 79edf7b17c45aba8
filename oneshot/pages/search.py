"""Jump to a task, a run or a board by what one remembers of it."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def search(request: HttpRequest) -> HttpResponse:
    """List what matches."""
    return render(request, "search.html", {})
