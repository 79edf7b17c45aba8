"""Errors of a run: whose fault it is (oneshot/errors.py), that somebody cancelled it, that another worker took it."""

from oneshot.errors import AgentError, Fault, InfraError, TaskError

__all__ = ["AgentError", "Cancelled", "Fault", "InfraError", "LostClaim", "TaskError"]


class Cancelled(Exception):
    """Somebody cancelled the run; unwinds to the one place that records it."""


class LostClaim(Exception):
    """Another worker has taken the row over; whoever catches this must write nothing more."""
