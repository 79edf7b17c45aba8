"""Reads an agent's settings: which there are, what each may be, and what stands for one that is not given.

A setting that equals its default is left out, so that saying it and not saying it is the same configuration.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from pathlib import PurePosixPath
from typing import Any

from runs.errors import AgentError
from runs.relay.upstream import problem_with_key_name, upstream_of
from tasks.problems import shown
from traces.redaction import SECRET_NAME, redact

MAX_FILE_BYTES = 1_000_000
MAX_FILES_BYTES = 8_000_000
MAX_USD = 1_000_000
FROM_HOST = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)\Z")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_HEADER = re.compile(r"[A-Za-z0-9-]+\Z")


@dataclass(frozen=True)
class Home:
    """The service that an agent talks to when its configuration names none."""

    provider: str
    url: str
    key_env: str
    header: str


OPENAI = Home("openai", "https://api.openai.com/v1", "OPENAI_API_KEY", "Authorization")
ANTHROPIC = Home("anthropic", "https://api.anthropic.com", "ANTHROPIC_API_KEY", "x-api-key")


class BadConfiguration(AgentError):
    """An agent's configuration cannot be used; the message names the place, the value and the mend."""

    def __init__(self, where: str, field: str, message: str) -> None:
        place = ", ".join(part for part in (where, field) if part)
        super().__init__(f"{place}: {message}" if place else message)


Read = Callable[[Any], Any]
"""Takes a value as written and returns it as kept. Raises ValueError with what it must be."""


@dataclass(frozen=True)
class Setting:
    """One setting of an agent."""

    read: Read
    default: Any
    meaning: str
    required: bool = False


def read_settings(known: Mapping[str, Setting], given: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """Return the settings as they are kept, without defaults. Raises BadConfiguration for the first bad one."""
    kept = {}
    for name, value in given.items():
        if name not in known:
            raise BadConfiguration(where, name, unknown(name, known))
        try:
            read = known[name].read(value)
        except _Nested as error:
            raise BadConfiguration(where, f"{name}.{error.field}", str(error)) from None
        except ValueError as error:
            raise BadConfiguration(where, name, f"{error} It is {shown(value)!r}.") from None
        if read != known[name].default:
            kept[name] = read
    return dict(sorted(kept.items()))


def unknown(name: str, known: Iterable[str], what: str = "setting") -> str:
    """Return what is said of a name that is not known: the nearest, or all of them."""
    known = sorted(known)
    near = get_close_matches(name, known, n=1)
    hint = f"Did you mean {near[0]}?" if near else f"There are {', '.join(known) or 'none'}."
    return f"There is no {what} {shown(name)!r}. {hint}"


class _Nested(ValueError):
    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def text(value: Any) -> str:
    """A text without NUL."""
    if not isinstance(value, str) or "\0" in value:
        raise ValueError("It must be a text.")
    return value


def word(value: Any) -> str:
    """A short text on one line."""
    if len(text(value)) > 100 or not value.isprintable():
        raise ValueError("It must be a short text on one line.")
    return value.strip()


def flag(value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise ValueError("It must be true or false.")
    return value


def count(value: Any) -> int:
    """A whole number from 0 on."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError("It must be a whole number.")
    return value


def budget(value: Any) -> int:
    """A whole number above 0."""
    if count(value) < 1:
        raise ValueError("It must be a whole number above 0.")
    return value


def seconds(value: Any) -> float:
    """Seconds above 0, at most a week."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 7 * 86400:
        raise ValueError("It must be a number of seconds above 0.")
    return float(value)


def command(value: Any) -> str | list[str]:
    """A line for the shell, or a list of a program and its arguments."""
    if isinstance(value, list):
        parts = [text(part) for part in value]
        if parts and parts[0]:
            return parts
    elif text(value).strip():
        return value
    raise ValueError("It must be a line for the shell, or a list of a program and its arguments.")


def table(value: Any) -> dict[str, Any]:
    """A table with text for keys."""
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ValueError("It must be a table.")
    return value


def environment(value: Any) -> dict[str, str]:
    """Variables for the agent. A value `$NAME` is taken from the worker when the run starts; secrets never are."""
    kept = {}
    for name, given in table(value).items():
        if not _VARIABLE.match(name):
            raise _Nested(name, "This is no name of a variable.")
        try:
            kept[name] = text(given if not isinstance(given, int | float) else str(given))
        except ValueError as error:
            raise _Nested(name, str(error)) from None
        if problem := problem_with_value(kept[name]):
            raise _Nested(name, problem)
    return kept


def problem_with_value(value: str) -> str:
    """Return why a variable's value must not enter a sandbox, or ""."""
    source = FROM_HOST.match(value)
    if source and SECRET_NAME.search(source[1]):
        return (
            f"{value} looks like a secret of this machine, and secrets never enter a sandbox. "
            "For a model's key, name the variable in key_env of [service]; the relay adds it outside."
        )
    if redact(value) != value:
        return "This holds a secret or its shape, and secrets never enter a sandbox or a configuration."
    return ""


def host_values(variables: Mapping[str, str]) -> dict[str, str]:
    """Return variables as they enter the sandbox, with `$NAME` taken from this process. Raises AgentError."""
    values = {}
    for name, value in variables.items():
        if source := FROM_HOST.match(value):
            if source[1] not in os.environ:
                raise AgentError(f"The agent's env.{name} asks for {value}, which the worker's environment has not.")
            value = os.environ[source[1]]
            if problem_with_value(value):
                raise AgentError(f"The agent's env.{name} asks for ${source[1]}, which holds a secret here.")
        values[name] = value
    return values


def files(value: Any) -> dict[str, str]:
    """Files for the agent: path below its home directory → text."""
    kept = {}
    for path, given in table(value).items():
        parts = PurePosixPath(path).parts
        if not parts or path.startswith("/") or ".." in parts or not path.isprintable():
            raise _Nested(path, "The path must lead below the agent's home directory.")
        try:
            kept[path] = text(given)
        except ValueError as error:
            raise _Nested(path, str(error)) from None
        if len(given.encode()) > MAX_FILE_BYTES:
            raise _Nested(path, f"A file may have {MAX_FILE_BYTES} bytes.")
    if sum(len(given) for given in kept.values()) > MAX_FILES_BYTES:
        raise ValueError(f"The files may have {MAX_FILES_BYTES} bytes together.")
    return kept


def service(value: Any) -> dict[str, Any]:
    """The model service: base_url, key_env, header, extra_headers, token_budget, cost_budget_usd."""
    return _service(value, OPENAI)


def anthropic_service(value: Any) -> dict[str, Any]:
    """The model service of an agent that speaks Anthropic's protocol."""
    return _service(value, ANTHROPIC)


def _service(value: Any, home: Home) -> dict[str, Any]:
    try:
        return read_settings(_service_settings(home), table(value))
    except BadConfiguration as error:
        field, _, message = str(error).partition(": ")
        raise _Nested(field, message) from None


def base_url(value: Any) -> str:
    """The URL of a model service's API."""
    upstream_of(text(value).strip())
    return value.strip().rstrip("/")


def key_name(value: Any) -> str:
    """The name of a variable that holds a key; "" for a service that needs none."""
    if text(value) and (problem := problem_with_key_name(value)):
        raise ValueError(problem)
    return value


def header(value: Any) -> str:
    """The name of a header."""
    if not _HEADER.match(text(value)):
        raise ValueError("It must be the name of a header.")
    return value


def headers(value: Any) -> dict[str, str]:
    """Headers that are no secrets."""
    kept = {}
    for name, given in table(value).items():
        if not _HEADER.match(name) or not text(given).isprintable() or not given.isascii():
            raise _Nested(name, "This is no header.")
        if name.lower() == "authorization" or SECRET_NAME.search(name) or redact(given) != given:
            raise _Nested(name, "This looks like a secret; name the variable that holds it in key_env.")
        kept[name] = given
    return kept


def dollars(value: Any) -> str:
    """An amount of US dollars above 0, kept as a text."""
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        amount = Decimal(0)
    if isinstance(value, bool) or not amount.is_finite() or not 0 < amount <= MAX_USD:
        raise ValueError("It must be an amount of US dollars above 0.")
    return format(amount.normalize(), "f")


def _service_settings(home: Home) -> Mapping[str, Setting]:
    return {
        "base_url": Setting(base_url, home.url, "URL of the API"),
        # No default here: an agent at home has one, an agent with a base URL of its own has none.
        "key_env": Setting(key_name, None, "variable of the worker that holds the key; empty for none"),
        "header": Setting(header, home.header, "header that carries the key"),
        "extra_headers": Setting(headers, {}, "further headers, never secrets"),
        "token_budget": Setting(budget, None, "uncached input and output tokens after which the relay refuses"),
        "cost_budget_usd": Setting(dollars, None, "US dollars after which the relay refuses"),
    }
