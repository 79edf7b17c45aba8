"""What passes between a client and a model service: answers, tokens, failures. Pure reading; nothing opens a socket.

Reads OpenAI's Responses and Chat Completions APIs and Anthropic's Messages API, whole answers and streams. The agent
cannot reach this record, so it is what a run's tokens and the fault of its service are read from.
"""

from __future__ import annotations

import json
import re
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Any

# One event of a stream, or one whole JSON answer, that is longer than this is passed on but not read.
READ_LIMIT = 8 * 1024 * 1024
# Events worth parsing; the text deltas between them are most of a stream.
_TELLING = (
    b'"response.completed"',
    b'"response.failed"',
    b'"response.incomplete"',
    b'"refusal"',
    b'"content_filter"',
    b'"usage"',
    b'"error"',
    b'"message_stop"',
)
_COUNT_LIMIT = 10**12


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """Tokens of one answer, counted alike for every service. None is unknown.

    `input` includes those read from the service's cache (`cached`) and those written to it (`cache_write`);
    `output` includes those of reasoning.
    """

    input: int | None
    cached: int | None
    output: int | None
    cache_write: int | None = None
    reasoning: int | None = None


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A request that the service did not answer properly. `status` is 0 when there was no HTTP answer at all."""

    status: int
    code: str
    message: str

    @property
    def kind(self) -> str:
        """Return "budget", "refused", "outage" (may pass by itself), "set-up" (key, model, option) or "request".

        Refused is said conservatively: only where the service itself says that its policy stopped the request.
        """
        if self.code in (BUDGET_CODE, COST_CODE):
            return "budget"
        if self.code in _POLICY_CODES or (self.code == "invalid_prompt" and _POLICY_WORDS.search(self.message)):
            return "refused"
        if self.code in _OWN_CODES or (self.status == 400 and _TOO_LONG_WORDS.search(self.message)):
            return "request"
        if self.code == "insufficient_quota" or self.status in (401, 402, 403, 404, 405, 422):
            return "set-up"
        if self.status in (0, 408, 409, 429) or self.status >= 500 or self.code in _PASSING_CODES:
            return "outage"
        return "set-up" if self.status == 400 else "request"

    def __str__(self) -> str:
        status = f"status {self.status}" if self.status else "no answer"
        return ": ".join(part for part in (f"{status} {self.code}".strip(), self.message) if part)


BUDGET_CODE = "oneshot_token_limit"
COST_CODE = "oneshot_cost_limit"
HUNG_UP_CODE = "agent_hung_up"
_POLICY_CODES = {"content_filter", "content_policy_violation", "cyber_policy", "policy_violation"}
_POLICY_WORDS = re.compile(r"usage polic|safety|flagged|violat", re.IGNORECASE)
_PASSING_CODES = {
    *("server_error", "rate_limit_exceeded", "server_is_overloaded", "slow_down", "stream_broken"),
    # Anthropic's
    *("overloaded_error", "api_error", "rate_limit_error", "timeout_error"),
}
# A 400 that says something about this one request, not about the configuration.
_OWN_CODES = {
    *(HUNG_UP_CODE, "context_length_exceeded", "max_output_tokens", "string_above_max_length", "too_large"),
    "request_too_large",
}
# Anthropic has no code of its own for a conversation that has outgrown the model.
_TOO_LONG_WORDS = re.compile(r"prompt is too long|exceed(?:s|ed)? (?:the )?context", re.IGNORECASE)


class ModelUse:
    """What one run asked of its model service so far. May be read and written from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.requests = 0
        # Those that arrived whole and are no failure.
        self.answers = 0
        # Answers whose usage was not said; then the sums below are too small.
        self.uncounted = 0
        self.input: int | None = None
        self.cached: int | None = None
        self.cache_write: int | None = None
        self.output: int | None = None
        self.reasoning: int | None = None
        # The newest last. `last_failure` is None when the last request was answered well.
        self.failures: deque[Failure] = deque(maxlen=50)
        self.last_failure: Failure | None = None
        # Whether the last answer was a refusal by the model, said as such in the protocol.
        self.last_refused = False

    def __repr__(self) -> str:
        return f"<{self.requests} requests, {self.answers} answers, {self.input} in, {self.output} out>"

    @property
    def complete(self) -> bool:
        """Whether every answer said its usage, so that the sums are the truth."""
        return self.input is not None and not self.uncounted

    @property
    def spent(self) -> int:
        """Tokens that count against a budget: input that was not cached, and output."""
        with self._lock:
            return (self.input or 0) - (self.cached or 0) + (self.output or 0)

    def asked(self) -> None:
        """Note that a request has arrived."""
        with self._lock:
            self.requests += 1

    def failed(self, failure: Failure) -> None:
        """Note that a request came to nothing."""
        with self._lock:
            self.failures.append(failure)
            self.last_failure = failure

    def answered(self, answer: Answer) -> None:
        """Note an answer that arrived whole, or as much of it as arrived."""
        with self._lock:
            self.answers += not answer.failure
            self.last_refused = answer.refused
            self.last_failure = answer.failure
            if answer.failure:
                self.failures.append(answer.failure)
            if answer.tokens is None:
                self.uncounted += 1
                return
            self.input = _sum(self.input, answer.tokens.input)
            self.cached = _sum(self.cached, answer.tokens.cached)
            self.cache_write = _sum(self.cache_write, answer.tokens.cache_write)
            self.output = _sum(self.output, answer.tokens.output)
            self.reasoning = _sum(self.reasoning, answer.tokens.reasoning)


def _sum(total: int | None, more: int | None) -> int | None:
    return total if more is None else (total or 0) + more


@dataclass(kw_only=True)
class Answer:
    """What one answer of a model said about itself. "" and None are unknown."""

    tokens: Tokens | None = None
    refused: bool = False
    failure: Failure | None = None
    response_id: str = ""
    model: str = ""
    # How the service calls the end: completed, incomplete, end_turn, tool_use, stop …
    stop_reason: str = ""
    # The service's own words on usage, as far as they have come.
    usage: dict[str, Any] | None = None


@dataclass
class AnswerReader:
    """Reads an answer as its bytes pass by, one JSON document or a stream of events, holding one line at most."""

    media_type: str
    # Whether the path is one where a model answers; the list of models, for one, has no usage.
    is_generation: bool = True
    answer: Answer = field(default_factory=Answer)
    _line: bytearray = field(default_factory=bytearray)
    # How many events of a stream have come.
    events: int = 0
    _too_long: bool = False
    _ended: bool = False

    @property
    def is_stream(self) -> bool:
        return self.media_type.startswith("text/event-stream")

    @property
    def has_ended(self) -> bool:
        """Whether a stream's last event has been read."""
        return self.is_stream and self._ended

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        if not self.is_stream:
            self._keep(data)
            return
        first, *rest = data.split(b"\n")
        self._keep(first)
        for part in rest:
            self._read_line()
            self._keep(part)

    def finish(self, *, broken: Failure | None = None) -> Answer | None:
        """Return what was learnt; None for a path where no model answers. `broken` says why bytes are missing."""
        if not self.is_generation:
            return None
        if self.is_stream:
            self._read_line()
        elif not self._too_long and (document := _parsed(bytes(self._line))):
            self._ended = True
            self._read_response(document)
        if broken is None and self.is_stream and not self._ended:
            broken = Failure(status=0, code="stream_broken", message="the stream ended before the answer was complete")
        if not self._ended or not self.is_stream:
            self.answer.failure = self.answer.failure or broken
        return self.answer

    def _keep(self, data: bytes) -> None:
        if self._too_long or len(self._line) + len(data) > READ_LIMIT:
            self._too_long = True
            self._line.clear()
        else:
            self._line += data

    def _read_line(self) -> None:
        line, too_long = bytes(self._line), self._too_long
        self._line.clear()
        self._too_long = False
        if too_long:
            # Only the last event is ever that long: it repeats the whole answer.
            self._ended = True
        elif line.startswith(b"data:"):
            self.events += 1
            data = line[5:].strip()
            if data == b"[DONE]":
                self._ended = True
            elif any(mark in data for mark in _TELLING) and (event := _parsed(data)):
                self._read_event(event)

    def read_event(self, event: dict[str, Any]) -> None:
        """Take an event that came by another way than a stream of lines, such as a WebSocket."""
        self.events += 1
        self._read_event(event)

    def _read_event(self, event: dict[str, Any]) -> None:
        kind = event.get("type")
        response = event.get("response")
        if kind in ("response.completed", "response.failed", "response.incomplete") and isinstance(response, dict):
            self._ended = True
            self._read_response(response)
        elif kind == "response.output_item.done":
            self.answer.refused |= _refuses(event.get("item"))
        elif kind == "error" or (kind is None and isinstance(event.get("error"), dict)):
            self._ended = True
            self.answer.failure = failure_of(event.get("error") or event, status=200)
        elif kind == "message_start" and isinstance(event.get("message"), dict):
            self._read_response(event["message"])
        elif kind == "message_delta":
            self._read_delta(event)
        elif kind == "message_stop":
            self._ended = True
        elif kind is None:
            self._read_response(event)

    def _read_delta(self, event: dict[str, Any]) -> None:
        """Read how a message of Anthropic's ends; its counts are sums so far and complete those of the start."""
        delta = event.get("delta")
        self._read_response(
            {
                **(delta if isinstance(delta, dict) else {}),
                "usage": {**(self.answer.usage or {}), **_known(event.get("usage"))},
            }
        )

    def _read_response(self, response: dict[str, Any]) -> None:
        answer = self.answer
        if tokens := tokens_of(response.get("usage")):
            answer.tokens = tokens
            answer.usage = response["usage"]
        answer.response_id = _short(response.get("id")) or answer.response_id
        answer.model = _short(response.get("model")) or answer.model
        answer.stop_reason = _short(response.get("stop_reason") or response.get("status")) or answer.stop_reason
        answer.refused |= response.get("stop_reason") == "refusal"
        outputs = response.get("output")
        if isinstance(outputs, list):
            self.answer.refused |= any(_refuses(item) for item in outputs)
        choices = response.get("choices")
        if isinstance(choices, list):
            self.answer.refused |= any(_choice_refuses(choice) for choice in choices)
            for choice in choices:
                reason = _short(choice.get("finish_reason")) if isinstance(choice, dict) else ""
                answer.stop_reason = reason or answer.stop_reason
        if isinstance(response.get("error"), dict):
            self.answer.failure = failure_of(response["error"], status=200)
        elif response.get("status") == "incomplete":
            details = response.get("incomplete_details")
            reason = str(details.get("reason", "")) if isinstance(details, dict) else ""
            self.answer.failure = Failure(status=200, code=reason[:100], message="the answer is incomplete")


def tokens_of(usage: object) -> Tokens | None:
    """Read a usage object of any of the three APIs. None when it is none of them."""
    if not isinstance(usage, dict):
        return None
    names = ("input_tokens", "input_tokens_details", "output_tokens", "output_tokens_details")
    if "prompt_tokens" in usage:
        names = ("prompt_tokens", "prompt_tokens_details", "completion_tokens", "completion_tokens_details")
    total, output = count_of(usage.get(names[0])), count_of(usage.get(names[2]))
    cached = _detail(usage, names[1], "cached_tokens")
    cache_write = _detail(usage, names[1], "cache_write_tokens")
    if "cache_read_input_tokens" in usage or "cache_creation_input_tokens" in usage:
        # Anthropic's input is what was neither read from the cache nor written to it.
        cached = count_of(usage.get("cache_read_input_tokens"))
        cache_write = count_of(usage.get("cache_creation_input_tokens"))
        total = None if total is None else total + (cached or 0) + (cache_write or 0)
    if total is None and output is None:
        return None
    reasoning = _detail(usage, names[3], "reasoning_tokens")
    return Tokens(input=total, cached=cached, output=output, cache_write=cache_write, reasoning=reasoning)


def _detail(usage: dict[str, Any], group: str, name: str) -> int | None:
    details = usage.get(group)
    return count_of(details.get(name)) if isinstance(details, dict) else None


def _known(usage: object) -> dict[str, Any]:
    return {k: v for k, v in usage.items() if v is not None} if isinstance(usage, dict) else {}


def _short(value: object) -> str:
    return value[:200] if isinstance(value, str) else ""


def count_of(value: object) -> int | None:
    """Return a believable number of tokens, or None."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _COUNT_LIMIT:
        return None
    return value


def failure_of(error: object, *, status: int) -> Failure:
    """Read the error object of an answer, whatever shape it has."""
    if isinstance(error, dict):
        code = error.get("code") or error.get("type") or ""
        return Failure(status=status, code=str(code)[:100], message=str(error.get("message") or "")[:1000])
    return Failure(status=status, code="", message=str(error or "")[:1000])


def failure_of_body(body: bytes, *, status: int) -> Failure:
    """Read the body of an HTTP error."""
    document = _parsed(body)
    if document is None:
        return Failure(status=status, code="", message=body[:300].decode("utf-8", "replace").strip())
    return failure_of(document.get("error", document), status=status)


def _parsed(data: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _refuses(item: object) -> bool:
    content = item.get("content") if isinstance(item, dict) else None
    return isinstance(content, list) and any(isinstance(p, dict) and p.get("type") == "refusal" for p in content)


def _choice_refuses(choice: object) -> bool:
    if not isinstance(choice, dict):
        return False
    said = choice.get("message") or choice.get("delta")
    return choice.get("finish_reason") == "content_filter" or (isinstance(said, dict) and bool(said.get("refusal")))
