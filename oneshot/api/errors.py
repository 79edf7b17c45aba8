"""One shape for everything that is refused: {"error": {"code", "message", "field"}}; "field" where one is at fault."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError

from oneshot.accounts import pauses
from oneshot.errors import Fault
from runs.judging.actions import CannotJudge
from tasks.curation.states import NotAllowed

CODES = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
}
MESSAGES = {
    404: "There is nothing here that this token may see or change.",
    405: "This address does not know that method.",
}
NO_TOKEN = "Send a token that is valid: `Authorization: Bearer oneshot_…`. Your account page makes one."  # noqa: S105


class ApiError(Exception):
    """What a route refuses, with what the error object holds besides code, message and field."""

    def __init__(self, status: int, code: str, message: str, field: str = "", **more: Any) -> None:
        super().__init__(message)
        self.status, self.code, self.field, self.more = status, code, field, more


def refusal(status: int, code: str, message: str, field: str = "", **more: Any) -> JsonResponse:
    """Return an answer of that shape."""
    error = {"code": code, "message": message} | ({"field": field} if field else {}) | more
    response = JsonResponse({"error": error}, status=status)
    if status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="OneShot"'
    if status == 429:
        response.headers["Retry-After"] = str(int(pauses.PAUSE.total_seconds()))
    return response


def invalid(message: str, field: str = "") -> ApiError:
    """Return the error for a value that a field cannot have."""
    return ApiError(422, "invalid", message, field)


def plain(status: int) -> JsonResponse:
    """Return the answer for a status that says all there is to say."""
    return refusal(status, CODES.get(status, "error"), MESSAGES.get(status, "This cannot be answered."))


def register(api: NinjaAPI) -> None:
    """Have the API answer every expected error in that shape; what is not expected stays an error of the server."""

    def told(request: HttpRequest, error: Any) -> HttpResponse:
        return refusal(error.status, error.code, str(error), error.field, **error.more)

    def http(request: HttpRequest, error: Any) -> HttpResponse:
        if isinstance(error.__cause__, ApiError):
            return told(request, error.__cause__)
        return refusal(error.status_code, CODES.get(error.status_code, "error"), str(error))

    api.add_exception_handler(ApiError, told)
    api.add_exception_handler(HttpError, http)
    api.add_exception_handler(AuthenticationError, lambda request, error: refusal(401, CODES[401], NO_TOKEN))
    api.add_exception_handler(Http404, lambda request, error: plain(404))
    api.add_exception_handler(ValidationError, lambda request, error: _first_of(error))
    api.add_exception_handler(NotAllowed, lambda request, error: refusal(409, "not_allowed", str(error)))
    api.add_exception_handler(CannotJudge, lambda request, error: refusal(422, "cannot_judge", str(error)))
    api.add_exception_handler(Fault, lambda request, error: refusal(422, f"{error.side}_error", str(error)))
    api.add_exception_handler(
        RequestDataTooBig, lambda request, error: refusal(413, CODES[413], "The body of the request is too large.")
    )


def _first_of(error: Any) -> HttpResponse:
    """Say what is wrong with the first field that has a value it cannot have."""
    first: dict[str, Any] = error.errors[0]
    # ("body", name of the parameter, field, …) or ("query", field, …)
    place = [str(part) for part in first["loc"]]
    name = ".".join(place[2:] if place[0] == "body" else place[1:])
    if first["type"] == "missing":
        message = f"{name} is missing." if name else "This takes a body in JSON."
    elif first["type"] == "extra_forbidden":
        message = f"There is no field {name!r}."
    else:
        message = str(first["msg"])
    return refusal(422, "invalid", message, name)
