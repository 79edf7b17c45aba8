"""What a run may spend on its model, in tokens and in dollars: asked for with the run, or set by its agent."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from django.utils import timezone

from runs import agents
from runs.agents.base import ModelNeed
from runs.errors import AgentError
from runs.models import AgentConfig
from traces import prices

MAX_TOKENS = 10**12
MAX_USD = 1_000_000


def read(limits: Mapping[str, Any]) -> dict[str, Any]:
    """Return the budgets among limits as a run keeps them: max_tokens a number, max_cost_usd a text.

    What is not given is left out. Raises ValueError that names the limit, its value and the mend.
    """
    kept: dict[str, Any] = {}
    tokens, cost = limits.get("max_tokens"), limits.get("max_cost_usd")
    if tokens is not None:
        if isinstance(tokens, bool) or not isinstance(tokens, int) or not 0 < tokens <= MAX_TOKENS:
            raise ValueError(f"max_tokens {tokens!r}: give a whole number of tokens above 0.")
        kept["max_tokens"] = tokens
    if cost is not None:
        try:
            amount = Decimal(str(cost))
        except InvalidOperation:
            amount = Decimal(0)
        if isinstance(cost, bool) or not amount.is_finite() or not 0 < amount <= MAX_USD:
            raise ValueError(f"max_cost_usd {cost!r}: give an amount of US dollars above 0.")
        kept["max_cost_usd"] = format(amount.normalize(), "f")
    return kept


def within(need: ModelNeed, limits: Mapping[str, Any]) -> ModelNeed:
    """Return the need with the tighter of the agent's own budgets and those of the run."""
    cost = limits.get("max_cost_usd")
    return dataclasses.replace(
        need,
        token_budget=_least(need.token_budget, limits.get("max_tokens")),
        cost_budget_usd=_least(need.cost_budget_usd, None if cost is None else Decimal(str(cost))),
    )


def check(agent: AgentConfig, limits: Mapping[str, Any]) -> None:
    """Raise AgentError when a budget in dollars could not be kept, because the model's price is not known."""
    if limits.get("max_cost_usd") is None and "cost_budget_usd" not in str(agent.settings.get("service", "")):
        return
    need = agents.load(agent).model()
    if need is None or within(need, limits).cost_budget_usd is None:
        return
    if not agent.model:
        raise AgentError(
            f"A budget in dollars needs a price, and the agent {agent.name} names no model: say which with --model, "
            "or set a budget in tokens (max_tokens)."
        )
    if not is_priced(agent.model):
        raise AgentError(
            f"No price is known for model {agent.model}, so a budget in dollars cannot be kept: set one in the "
            "administration (Model prices), or set a budget in tokens (max_tokens)."
        )


def is_priced(model: str) -> bool:
    """Return whether the cost of an answer of this model can be told today."""
    return prices.cost_of(model, prices.Counts(input=1, output=1), timezone.now()) is not None


def price_table() -> dict[str, dict[str, str | None]]:
    """Return the prices of all models as a door takes them: which of them an agent asks is not known before."""
    return prices.table_for(["*"])


def _least(one: Any, other: Any) -> Any:
    known = [value for value in (one, other) if value is not None]
    return min(known) if known else None
