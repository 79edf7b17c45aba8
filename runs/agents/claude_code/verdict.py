"""Decides how a Claude Code run ended, from its exit, its events, and what the relay saw of the model service."""

from __future__ import annotations

from runs.agents.base import ModelNeed
from runs.agents.claude_code.events import Events
from runs.agents.lines import last_line, tail
from runs.agents.service import outcome_of, raise_if_nothing_was_tried
from runs.errors import AgentError
from runs.models import Outcome
from runs.sandboxes.base import ExecResult
from traces.proxy.wire.usage import Failure, ModelUse


def conclude(
    result: ExecResult, events: Events, use: ModelUse | None, need: ModelNeed, timeout_s: float
) -> tuple[str, str]:
    """Return (outcome, error): outcome "" when diff and tests decide, error "" when Claude Code finished its turn.

    Raises AgentError or InfraError when nothing was tried, for then there is nothing to grade.
    """
    if result.timed_out or result.limit == "lifetime":
        return Outcome.TIMEOUT, f"Claude Code did not finish within {timeout_s:g} s."
    if result.exit_code is None:
        by = f" by the {result.limit} limit" if result.limit else ""
        return "", f"Claude Code was ended from outside{by}."
    refused = events.refused or bool(use and use.last_refused)
    if refused and (events.failure or not events.final_message):
        return Outcome.REFUSED, "The model refused."
    if result.exit_code == 0 and not events.failure and events.completed:
        return "", ""
    if events.out_of_turns:
        return Outcome.BUDGET_EXHAUSTED, f"Claude Code was stopped at its limit of turns (max_turns): {events.failure}"
    failure = _failure(events, use)
    if outcome := outcome_of(failure):
        return outcome, str(failure)
    if not events.tried:
        raise_if_nothing_was_tried(failure, need)
        _raise_if_not_started(result, events)
    said = events.failure or last_line(result.stderr) or "it ended without a result"
    error = f"Claude Code failed with exit status {result.exit_code}: {said}"
    return "", f"{error} ({failure})" if failure and failure.message not in error else error


def _failure(events: Events, use: ModelUse | None) -> Failure | None:
    """Return the failed request that ended the turn: as the relay saw it, or else as Claude Code words it."""
    if use is not None and use.requests:
        return use.last_failure
    # Without a relay, or when not one request reached it, its words are all there is.
    return Failure(status=events.status, code="", message=events.failure) if events.failure else None


def _raise_if_not_started(result: ExecResult, events: Events) -> None:
    """Tell a Claude Code that never began from one that failed at its work. Raises AgentError."""
    if events.session_id:
        return
    words = tail(result.stderr) or tail(result.stdout) or "nothing"
    if result.exit_code in (126, 127):
        raise AgentError(
            "Claude Code cannot be started in this task's sandbox; it needs an image with glibc, such as Debian's. "
            f"The shell says:\n{words}"
        )
    raise AgentError(f"Claude Code did not begin (exit status {result.exit_code}). It says:\n{words}")
