"""Sends a session as a file in another format, as it is made."""

from __future__ import annotations

from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.utils.http import content_disposition_header
from django.utils.text import slugify
from django.views.decorators.http import require_GET

from traces.exports import atif, jsonl, otlp
from traces.views.access import visible_session

FORMATS = {
    "atif.json": (atif.stream, "application/json"),
    "otlp.json": (otlp.stream, "application/json"),
    "steps.jsonl": (jsonl.stream, "application/jsonl"),
}


@require_GET
def session_export(request: HttpRequest, pk: UUID, name: str) -> HttpResponseBase:
    """Send a session as ATIF, as OTLP spans, or as JSON lines."""
    session = visible_session(request, pk)
    if name not in FORMATS:
        raise Http404
    stream, media_type = FORMATS[name]
    response = StreamingHttpResponse(stream(session), content_type=media_type)
    filename = f"{slugify(str(session))[:60] or 'session'}-{name}"
    response.headers["Content-Disposition"] = content_disposition_header(True, filename) or "attachment"
    response.headers["Content-Security-Policy"] = "sandbox; default-src 'none'"
    return response
