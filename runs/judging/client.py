"""Asks a judge's model, through any endpoint that speaks OpenAI's chat completions, and says what went wrong.

The key comes from the environment at the moment of asking; it goes into no row, no log and no message.
"""

from __future__ import annotations

import logging
import random
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings

from oneshot.env import SettingError, env_secret
from runs.judging import prompts
from runs.judging.models import JudgeConfig
from runs.relay.upstream import problem_with_key_name, trust, upstream_of
from traces.redaction import redact

logger = logging.getLogger(__name__)

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0
MOST_TEXT = 400
# From strict to loose: endpoints that refuse one form get the next, and it is remembered for the process.
FORMS = ("json_schema", "json_object", "text")
_KEY = re.compile(r"[\x21-\x7e]+")


class Outage(Exception):
    """The service did not answer, or had no room: nothing is known, and another try may help."""


class Misconfigured(Exception):
    """The judge cannot work as it is set up: no key, a refused key, an unknown model, a parameter it does not take."""


class Refused(Exception):
    """The model declined to answer, or a content filter stopped it."""

    def __init__(self, message: str, usage: Usage) -> None:
        super().__init__(message)
        self.usage = usage


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Tokens of one answer; None is unknown. `input` includes the cached ones."""

    input: int | None = None
    cached: int | None = None
    output: int | None = None

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            input=_sum(self.input, other.input),
            cached=_sum(self.cached, other.cached),
            output=_sum(self.output, other.output),
        )


def _sum(a: int | None, b: int | None) -> int | None:
    return None if a is None or b is None else a + b


NOTHING_USED = Usage(input=0, cached=0, output=0)


@dataclass(frozen=True, kw_only=True)
class Said:
    """One answer as it came."""

    text: str
    usage: Usage
    seconds: float


@dataclass
class Client:
    """Asks one judge's model. Made once per judgement and used from several threads.

    `alive` is called before each request and while waiting; it raises to stop. `schema` is the form of the answer.
    """

    config: JudgeConfig
    alive: Callable[[], None] = lambda: None
    schema: dict[str, Any] = field(
        default_factory=lambda: {"name": "verdict", "strict": True, "schema": prompts.SCHEMA}
    )
    requests: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _form: int = 0
    _limit_name: str = ""

    def __post_init__(self) -> None:
        # Imported when it is needed: it takes most of a second.
        import httpx2
        import openai

        self._openai = openai
        problem = endpoint_problem(self.config)
        if problem:
            raise Misconfigured(problem)
        timeout = float(self.config.parameter("timeout_s"))
        self._http = httpx2.Client(
            # A redirect would carry the key to another host.
            follow_redirects=False,
            verify=trust(settings.EXTRA_CA),
            timeout=httpx2.Timeout(timeout, connect=min(timeout, 15.0)),
        )
        self._api = openai.OpenAI(
            api_key=key_of(self.config) or "none",
            base_url=self.config.base_url,
            max_retries=0,
            http_client=self._http,
        )
        official = upstream_of(self.config.base_url).host == "api.openai.com"
        self._limit_name = "max_completion_tokens" if official else "max_tokens"

    def close(self) -> None:
        self._http.close()

    def ask(self, messages: list[dict[str, str]]) -> Said:
        """Return the model's answer. Raises Outage, Misconfigured or Refused."""
        tries = 1 + int(self.config.parameter("retries"))
        for attempt in range(tries):
            self.alive()
            with self._lock:
                self.requests += 1
            try:
                return self._ask_once(messages)
            except _Again as error:
                if attempt + 1 == tries:
                    raise Outage(f"{error} ({tries} tries)") from None
                self._wait(error.after_s if error.after_s is not None else _backoff(attempt))
        raise AssertionError("unreachable")

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + min(seconds, LONGEST_WAIT_S)
        while (left := until - time.monotonic()) > 0:
            self.alive()
            time.sleep(min(left, 0.5))

    def _ask_once(self, messages: list[dict[str, str]]) -> Said:
        openai = self._openai
        while True:
            form, limit = self._form, self._limit_name
            started = time.monotonic()
            try:
                answer = self._api.chat.completions.create(**self._request(messages, FORMS[form], limit))
            except openai.BadRequestError as error:
                if self._loosen(error, form, limit):
                    continue
                raise Misconfigured(f"{self._who()} refuses the request: {_words(error)}") from None
            except openai.APITimeoutError:
                raise _Again(f"{self._who()} did not answer within {self.config.parameter('timeout_s'):g} s.") from None
            except openai.APIConnectionError as error:
                reason = type(error.__cause__ or error).__name__
                raise _Again(f"{self._who()} cannot be reached ({reason}).") from None
            except openai.APIStatusError as error:
                raise self._status(error) from None
            except openai.APIResponseValidationError:
                raise _Again(f"{self._who()} sent what is no answer of its API.") from None
            return self._read(answer, time.monotonic() - started)

    def _request(self, messages: list[dict[str, str]], form: str, limit: str) -> dict[str, Any]:
        request: dict[str, Any] = {"model": self.config.model, "messages": messages}
        for name in ("temperature", "seed", "reasoning_effort"):
            if (value := self.config.parameter(name)) is not None:
                request[name] = value
        if (most := self.config.parameter("max_tokens")) is not None:
            request[limit] = most
        if form == "json_schema":
            request["response_format"] = {"type": "json_schema", "json_schema": self.schema}
        elif form == "json_object":
            request["response_format"] = {"type": "json_object"}
        return request

    def _loosen(self, error: Any, form: int, limit: str) -> bool:
        """Choose another form of request when the refusal is about the form; False when it is about something else."""
        words = str(error).lower()
        with self._lock:
            if "max_completion_tokens" in words or "max_tokens" in words:
                if self._limit_name != limit:
                    return True
                other = "max_tokens" if limit == "max_completion_tokens" else "max_completion_tokens"
                if limit in words and not getattr(self, "_limit_changed", False):
                    self._limit_name, self._limit_changed = other, True
                    return True
            if any(word in words for word in ("response_format", "json_schema", "json_object", "structured")):
                if self._form != form:
                    return True
                if form + 1 < len(FORMS):
                    self._form = form + 1
                    logger.info("%s does not take %s, asking for %s", self.config, FORMS[form], FORMS[form + 1])
                    return True
        return False

    def _status(self, error: Any) -> Exception:
        status = error.status_code
        if status in (401, 403):
            return Misconfigured(
                f"{self._who()} refuses the key ({status}). Check the variable {self.config.key_env or 'key_env'}."
            )
        if status == 404:
            return Misconfigured(f"{self._who()} has no model {self.config.model!r}, or no chat completions: 404.")
        if status in (408, 409, 425, 429) or status >= 500:
            words = _words(error)
            if "insufficient_quota" in words:
                return Misconfigured(f"{self._who()} says that the account's quota is used up.")
            return _Again(f"{self._who()} answered {status}: {words}", after_s=_retry_after(error.response.headers))
        if 300 <= status < 400:
            return Misconfigured(f"{self._who()} redirects elsewhere; give the address that it really has.")
        return Misconfigured(f"{self._who()} answered {status}: {_words(error)}")

    def _read(self, answer: Any, seconds: float) -> Said:
        usage = _usage(getattr(answer, "usage", None))
        choices = getattr(answer, "choices", None)
        if not choices or getattr(choices[0], "message", None) is None:
            raise _Again(f"{self._who()} sent an answer without a message.")
        message, reason = choices[0].message, choices[0].finish_reason
        if refusal := getattr(message, "refusal", None):
            raise Refused(redact(str(refusal))[:MOST_TEXT], usage)
        if reason == "content_filter":
            raise Refused("A content filter of the service stopped the answer.", usage)
        return Said(text=message.content or "", usage=usage, seconds=seconds)

    def _who(self) -> str:
        return f"The judge's service {upstream_of(self.config.base_url).host}"


class _Again(Exception):
    """Worth another try; `after_s` is what the service asked for."""

    def __init__(self, message: str, after_s: float | None = None) -> None:
        super().__init__(message)
        self.after_s = after_s


def _backoff(attempt: int) -> float:
    return FIRST_WAIT_S * 2**attempt * random.uniform(0.5, 1.5)  # noqa: S311 - jitter


def _retry_after(headers: Any) -> float | None:
    """Return the seconds that the service asks to wait, with a little jitter; None when it does not say."""
    try:
        if value := headers.get("retry-after-ms"):
            seconds = float(value) / 1000
        else:
            seconds = float(headers.get("retry-after") or "")
    except ValueError:
        return None
    return max(0.0, seconds) * random.uniform(1.0, 1.2)  # noqa: S311 - jitter


def _words(error: Any) -> str:
    """Return what the service said, without secrets and bounded."""
    body = getattr(error, "body", None)
    if isinstance(body, dict):
        said = " ".join(str(body[name]) for name in ("code", "message") if body.get(name))
    else:
        said = str(getattr(error, "message", "") or error)
    return redact(said).replace("\n", " ")[:MOST_TEXT]


def _usage(usage: Any) -> Usage:
    details = getattr(usage, "prompt_tokens_details", None)
    return Usage(
        input=_count(getattr(usage, "prompt_tokens", None)),
        cached=_count(getattr(details, "cached_tokens", None)) if details is not None else 0 if usage else None,
        output=_count(getattr(usage, "completion_tokens", None)),
    )


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else None


def endpoint_problem(config: JudgeConfig) -> str:
    """Return a sentence that says why this endpoint or key name cannot be used, or ""."""
    try:
        upstream_of(config.base_url)
    except ValueError as error:
        return str(error)
    return problem_with_key_name(config.key_env) if config.key_env else ""


def key_of(config: JudgeConfig) -> str:
    """Return the key, "" when none is needed. Raises Misconfigured when it is not set or cannot be a key."""
    if not config.key_env:
        return ""
    try:
        key = env_secret(config.key_env)
    except SettingError as error:
        raise Misconfigured(str(error)) from None
    if not key:
        raise Misconfigured(
            f"The judge {config.name} needs its key in {config.key_env}, which is not set here. "
            f"Set {config.key_env} (or {config.key_env}_FILE) in the worker's environment or its .env file."
        )
    if not _KEY.fullmatch(key):
        raise Misconfigured(f"{config.key_env} holds spaces or unprintable characters, so it is no key.")
    return key
