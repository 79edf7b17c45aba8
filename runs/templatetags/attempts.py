"""Marks and numbers of runs that only their own pages need."""

from typing import Any

from django import template
from django.utils.safestring import SafeString

from oneshot.templatetags.figures import OUTCOME_MARKS, STATUS_MARKS, icon

register = template.Library()


@register.simple_tag
def attempt_icon(run: Any) -> SafeString:
    """Draw where an attempt stands as an icon alone; its number and title stand beside it."""
    tone, name, _ = OUTCOME_MARKS.get(run.outcome) or STATUS_MARKS[run.status]
    return icon(name, f"t-{tone}" if tone else "dim")


@register.filter
def all_tokens(run: Any) -> int | None:
    """Return the tokens of a run that are known, input and output together; None when none are."""
    known = [number for number in (run.tokens_input, run.tokens_output) if number is not None]
    return sum(known) if known else None
