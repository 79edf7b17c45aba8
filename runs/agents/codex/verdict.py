"""Decides how a Codex run ended, from its exit, its events, and what the relay saw of the model service."""

from __future__ import annotations

import re

from runs.agents.base import ModelNeed
from runs.agents.codex.events import Events
from runs.agents.lines import last_line, tail
from runs.agents.service import outcome_of, raise_if_nothing_was_tried
from runs.errors import AgentError
from runs.models import Outcome
from runs.sandboxes.base import ExecResult
from traces.proxy.wire.usage import Failure, ModelUse

# What Codex makes of an HTTP error; its own words hide the rest, which only the relay knows.
STATUS = re.compile(r"(?:unexpected|last) status:? (\d{3})")
UNREACHED = re.compile(r"stream disconnected|error sending request|high demand|connection|timed out", re.IGNORECASE)
QUOTA = re.compile(r"quota exceeded", re.IGNORECASE)
BUDGET = re.compile(r"oneshot_token_limit|\bbudget reached\b")


def conclude(
    result: ExecResult, events: Events, use: ModelUse | None, need: ModelNeed, timeout_s: float
) -> tuple[str, str]:
    """Return (outcome, error): outcome "" when diff and tests decide, error "" when Codex finished its turn.

    Raises AgentError or InfraError when nothing was tried, for then there is nothing to grade.
    """
    if result.timed_out or result.limit == "lifetime":
        return Outcome.TIMEOUT, f"Codex did not finish within {timeout_s:g} s."
    if result.exit_code is None:
        by = f" by the {result.limit} limit" if result.limit else ""
        return "", f"Codex was ended from outside{by}."
    if result.exit_code == 0 and not events.failure:
        if use and use.last_refused and not events.final_message:
            return Outcome.REFUSED, "The model refused."
        return "", ""
    failure = _failure(events, use)
    if outcome := outcome_of(failure):
        return outcome, events.failure or str(failure)
    if not events.tried:
        raise_if_nothing_was_tried(failure, need)
        _raise_if_not_started(result, events)
    said = events.failure or (events.errors[-1] if events.errors else "") or last_line(result.stderr)
    error = f"Codex failed with exit status {result.exit_code}" + (f": {said}" if said else ".")
    return "", f"{error} ({failure})" if failure and failure.message not in error else error


def _failure(events: Events, use: ModelUse | None) -> Failure | None:
    """Return the failed request that ended the turn: as the relay saw it, or else as Codex words it."""
    message = events.failure or (events.errors[-1] if events.errors else "")
    if BUDGET.search(message):
        return Failure(status=400, code="oneshot_token_limit", message=message)
    if use is not None and use.requests:
        return use.last_failure
    # Without a relay, or when not one request reached it, Codex's words are all there is.
    if status := STATUS.search(message):
        return Failure(status=int(status[1]), code="", message=message)
    if QUOTA.search(message):
        return Failure(status=429, code="insufficient_quota", message=message)
    if UNREACHED.search(message):
        return Failure(status=0, code="", message=message)
    return None


def _raise_if_not_started(result: ExecResult, events: Events) -> None:
    """Tell a Codex that never began from one that failed at its work. Raises AgentError."""
    if events.thread_id:
        return
    words = tail(result.stderr) or "nothing"
    if result.exit_code in (126, 127):
        raise AgentError(f"Codex cannot be started in this task's sandbox. The shell says:\n{words}")
    raise AgentError(f"Codex did not begin (exit status {result.exit_code}). It says:\n{words}")
