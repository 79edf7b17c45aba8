"""The API as a whole: its routes, who gets in, how it answers."""

from __future__ import annotations

from functools import cache
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.urls import Resolver404, URLResolver
from django.urls.resolvers import RegexPattern
from ninja import NinjaAPI

from oneshot.api import errors, rescoring, runs, sessions, tasks
from oneshot.api.bodies import StrictParser
from oneshot.api.documents import Refused
from oneshot.api.tokens import Bearer

ABOUT = """What the pages do, for programs: the same rules, the same words when something is refused.

Send a token of your account page as `Authorization: Bearer oneshot_…`. One that only reads is refused by everything
but GET. What you may not see is 404, as what is not there. A field that is not known is refused.

Everything that is refused has one shape: `{"error": {"code", "message", "field"}}`; `field` where one is at fault.
"""


@cache
def build() -> NinjaAPI:
    """Return the API, put together once."""
    api = NinjaAPI(
        title="OneShot",
        version="1",
        description=ABOUT,
        auth=Bearer(),
        docs_url=None,
        openapi_url=None,
        urls_namespace="api-v1",
        parser=StrictParser(),
    )
    errors.register(api)
    for part in (tasks, runs, rescoring, sessions):
        api.add_router("", part.router)
    return api


@cache
def _resolver() -> URLResolver:
    return URLResolver(RegexPattern(r"^/"), build().urls[0])


@cache
def description(prefix: str) -> dict[str, Any]:
    """Return the OpenAPI document, with addresses below `prefix`."""
    document = build().get_openapi_schema(path_prefix=prefix)
    reference = "#/components/schemas/{model}"
    shapes = Refused.model_json_schema(ref_template=reference)
    document["components"]["schemas"] |= shapes.pop("$defs") | {"Refused": shapes}
    content = {"application/json": {"schema": {"$ref": reference.format(model="Refused")}}}
    for methods in document["paths"].values():
        for operation in methods.values():
            operation["responses"]["default"] = {"description": "Refused", "content": content}
    return document


def answer(request: HttpRequest, path: str) -> HttpResponse:
    """Answer one request; `path` is what follows /api/v1."""
    try:
        match = _resolver().resolve(path)
    except (Resolver404, ValueError):
        return errors.plain(404)
    try:
        response = match.func(request, *match.args, **match.kwargs)
    except Http404:
        return errors.plain(404)
    if response.status_code == 405:
        refused = errors.plain(405)
        refused.headers["Allow"] = response.headers.get("Allow", "")
        return refused
    return response
