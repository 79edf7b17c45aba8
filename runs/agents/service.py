"""What an agent has to do with its model service: the need it states, and what the relay saw of it."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from runs.agents.base import Ending, ModelNeed
from runs.agents.settings import OPENAI, Home
from runs.errors import AgentError, InfraError
from runs.models import Outcome
from traces.proxy.wire.usage import Failure, ModelUse

MENDS = {
    401: "The service does not accept the key: check the value of {key_env}.",
    402: "The account behind {key_env} has no credit.",
    403: "The key in {key_env} may not use this model or service.",
    404: "The service knows no such model or path: check the model's name and base_url.",
}


def need_of(service: Mapping[str, Any], home: Home = OPENAI) -> ModelNeed:
    """Return the need that a [service] table states; a service elsewhere than at home has no key unless named."""
    url = service.get("base_url", home.url)
    cost = service.get("cost_budget_usd")
    return ModelNeed(
        base_url=_with_version(url) if home.provider == "anthropic" else url,
        key_env=service.get("key_env", home.key_env if url == home.url else ""),
        header=service.get("header", home.header),
        extra_headers=service.get("extra_headers", {}),
        token_budget=service.get("token_budget"),
        cost_budget_usd=None if cost is None else Decimal(cost),
        provider=home.provider,
    )


def _with_version(url: str) -> str:
    """Return an Anthropic base URL as far as /v1, which its own clients leave out."""
    path, mark, query = url.partition("?")
    return (path if path.endswith("/v1") else f"{path}/v1") + mark + query


def count(ending: Ending, use: ModelUse) -> None:
    """Fill an ending's tokens from the relay, which no agent can talk into something else."""
    ending.detail["model_requests"] = use.requests
    if use.input is None and use.output is None:
        return
    ending.tokens_input, ending.tokens_cached, ending.tokens_output = use.input, use.cached, use.output
    ending.detail["tokens_from"] = "relay"
    if not use.complete:
        ending.detail["answers_without_usage"] = use.uncounted


def outcome_of(failure: Failure | None) -> str:
    """Return the outcome that a failed request to the model makes of a run, or "" when diff and tests decide."""
    kinds = {"budget": Outcome.BUDGET_EXHAUSTED, "refused": Outcome.REFUSED}
    return kinds.get(failure.kind, "") if failure else ""


def raise_if_nothing_was_tried(failure: Failure | None, need: ModelNeed | None) -> None:
    """Say whose fault it is that an agent got no answer at all, so that it did nothing.

    Raises InfraError when the service is out for now, AgentError when the configuration does not suit it.
    """
    if failure is None or need is None:
        return
    if failure.kind == "outage":
        raise InfraError(f"The model service {need.base_url} did not answer ({failure}).")
    if failure.kind == "set-up":
        mend = MENDS.get(failure.status, "Check the agent's model and settings.")
        if failure.code == "insufficient_quota":
            mend = MENDS[402]
        mend = mend.format(key_env=need.key_env or "key_env")
        raise AgentError(f"The model service {need.base_url} refused every request ({failure}). {mend}")
