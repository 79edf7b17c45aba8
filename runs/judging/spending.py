"""Keeps a judge within its budgets: of one piece of work, and of 24 hours over all that it was asked."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from django.db.models import Sum
from django.utils import timezone

from runs.judging import pricing
from runs.judging.client import Misconfigured
from runs.judging.models import JudgeConfig, Suggestion, Verdict


class OverBudget(Exception):
    """What was set as the most that judging may cost is spent."""


def check(config: JudgeConfig, *, planned: Decimal, spent: Decimal, what: str) -> None:
    """Raise OverBudget when `planned` USD more would pass what may be spent.

    `spent` is what this piece of work, called `what`, has cost so far. A budget needs a known price: without one it
    could not hold, which raises Misconfigured.
    """
    limits = (config.run_budget_usd, config.daily_budget_usd)
    if all(limit is None for limit in limits):
        return
    if not pricing.knows_price(config):
        raise Misconfigured(
            f"The judge {config.name} has a budget, and the price of {config.model} is not known. "
            "Give the judge prices, add the model to the table of prices, or remove the budget."
        )
    for name, limit, paid in ((what, limits[0], spent), ("24 hours", limits[1], spent_in_a_day(config))):
        if limit is not None and paid + planned > limit:
            raise OverBudget(
                f"The budget of the judge {config.name} for {name}, ${limit:.4f}, does not reach for the next "
                f"question: ${paid:.4f} are spent."
            )


def spent_in_a_day(config: JudgeConfig) -> Decimal:
    """Return the USD that this judge has cost in the last 24 hours, as far as costs are known."""
    since = timezone.now() - timedelta(days=1)
    verdicts = Verdict.objects.filter(judgement__judge=config, created_at__gte=since)
    suggestions = Suggestion.objects.filter(judge=config, created_at__gte=since)
    costs = [rows.aggregate(spent=Sum("cost_usd"))["spent"] for rows in (verdicts, suggestions)]
    return sum((cost for cost in costs if cost is not None), Decimal(0))
