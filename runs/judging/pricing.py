"""What judging costs: before, from what will be asked, and after, from what the service counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from django.utils import timezone

from runs.judging import prompts
from runs.judging.client import Usage
from runs.judging.evidence import Section
from runs.judging.models import JudgeConfig
from traces.prices import Counts, cost_of

MILLION = Decimal(1_000_000)
# English prose and code have about four characters to a token; an estimate need not be better than that.
CHARS_PER_TOKEN = 4
# A verdict with its quotations, as seen; a model that reasons at length costs more than estimated.
ANSWER_TOKENS = 250
# The same for a list of suggested criteria.
SUGGESTION_TOKENS = 800


def cost(config: JudgeConfig, usage: Usage) -> Decimal | None:
    """Return USD by the judge's own prices, else by the table of prices. None when tokens or prices are unknown."""
    if usage.input is None or usage.output is None:
        return None
    if not any((usage.input, usage.output)):
        return Decimal(0)
    if config.prices:
        return _by(config.prices, usage)
    counts = Counts(input=usage.input, cached=usage.cached or 0, cache_write=0, output=usage.output)
    return cost_of(config.model, counts, timezone.now())


def _by(given: Mapping[str, Any], usage: Usage) -> Decimal | None:
    try:
        price = {name: Decimal(str(value)) for name, value in given.items() if value is not None}
    except InvalidOperation:
        return None
    if "input" not in price or "output" not in price or usage.input is None or usage.output is None:
        return None
    cached = min(usage.cached or 0, usage.input)
    fresh = usage.input - cached
    spent = fresh * price["input"] + cached * price.get("cached_input", price["input"]) + usage.output * price["output"]
    return spent / MILLION


def knows_price(config: JudgeConfig) -> bool:
    """Return whether the cost of this judge can be told at all."""
    return cost(config, Usage(input=1_000_000, cached=0, output=1_000_000)) is not None


def estimate(
    config: JudgeConfig, questions: Sequence[tuple[prompts.Question, Sequence[Section], int]]
) -> tuple[int, Decimal | None]:
    """Return (requests, USD) for questions with the samples that each still needs; USD None when no price is known.

    It counts every sample, so what stops early costs less than estimated.
    """
    requests, tokens_in = 0, 0
    for question, sections, samples in questions:
        chars = sum(len(message["content"]) for message in prompts.messages(question, sections, prompts.NO_NONCE))
        requests += samples
        tokens_in += samples * (chars // CHARS_PER_TOKEN + 1)
    return requests, cost(config, Usage(input=tokens_in, cached=0, output=requests * ANSWER_TOKENS))


def estimate_of(
    config: JudgeConfig, conversation: Sequence[Mapping[str, str]], *, answer_tokens: int
) -> Decimal | None:
    """Return the USD that one answer in this conversation costs, about; None when no price is known."""
    chars = sum(len(message["content"]) for message in conversation)
    return cost(config, Usage(input=chars // CHARS_PER_TOKEN + 1, cached=0, output=answer_tokens))
