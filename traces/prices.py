"""What models cost: the table that comes with OneShot (prices.toml), what was edited over it, and sums of money."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Protocol

from traces.models import Exchange, ModelPrice, Session

SHIPPED = Path(__file__).with_name("prices.toml")
FIGURES = ("input", "cached_input", "cache_write", "output")
_MILLION = Decimal(1_000_000)
_WILD = frozenset("*?[")


class TokenCounts(Protocol):
    """Tokens of one answer; None is unknown. Input includes cached and cache-written ones, output reasoning."""

    @property
    def input(self) -> int | None: ...
    @property
    def cached(self) -> int | None: ...
    @property
    def cache_write(self) -> int | None: ...
    @property
    def output(self) -> int | None: ...


@dataclass(frozen=True, kw_only=True)
class Counts:
    """TokenCounts of a row."""

    input: int | None
    cached: int | None = None
    cache_write: int | None = None
    output: int | None = None


class PriceList:
    """All prices as they are now, read once; for sums over many answers."""

    def __init__(self) -> None:
        self._prices = list(ModelPrice.objects.order_by("valid_from"))
        self._found: dict[tuple[str, date], ModelPrice | None] = {}

    def price(self, model: str, day: date) -> ModelPrice | None:
        """Return the price of a model on a day: by its name, else by the longest pattern; the latest that is valid."""
        if (model, day) not in self._found:
            self._found[model, day] = self._look_up(model, day)
        return self._found[model, day]

    def _look_up(self, model: str, day: date) -> ModelPrice | None:
        fitting = [p for p in self._prices if p.valid_from <= day and _fits(p.pattern, model)]
        return max(fitting, key=lambda p: (p.pattern == model, len(p.pattern), p.valid_from), default=None)

    def cost(self, model: str, tokens: TokenCounts, at: datetime) -> Decimal | None:
        """Return what an answer cost in USD; None when a count or a price that matters is unknown."""
        price = self.price(model, at.date())
        if price is None or tokens.input is None or tokens.output is None:
            return None
        cached, written = tokens.cached or 0, tokens.cache_write or 0
        parts = (
            (max(tokens.input - cached - written, 0), price.input),
            (cached, price.cached_input),
            (written, price.cache_write),
            (tokens.output, price.output),
        )
        total = Decimal(0)
        for count, figure in parts:
            if count and figure is None:
                return None
            total += count * (figure or Decimal(0))
        return total / _MILLION


def _fits(pattern: str, model: str) -> bool:
    return pattern == model or (bool(_WILD & set(pattern)) and fnmatchcase(model, pattern))


def cost_of(model: str, tokens: TokenCounts, at: datetime) -> Decimal | None:
    """Return what one answer cost in USD at that time; None when a count or a price that matters is unknown."""
    return PriceList().cost(model, tokens, at)


def table_for(model_patterns: Iterable[str], *, at: date | None = None) -> dict[str, dict[str, str | None]]:
    """Return the prices on a day (None: today) of some models, as a gateway's door takes them.

    {pattern: {input, cached_input, cache_write, output}}, figures as text, None for unknown. A model's name finds its
    price under its own name, whatever pattern it came from; "*" asks for the whole table.
    """
    from django.utils import timezone

    prices, day = PriceList(), at or timezone.now().date()
    table: dict[str, dict[str, str | None]] = {}
    for wanted in model_patterns:
        if _WILD & set(wanted):
            names = {p.pattern for p in ModelPrice.objects.all() if fnmatchcase(p.pattern, wanted)}
            table |= {name: found for name in sorted(names) if (found := _figures(prices.price(name, day)))}
        elif found := _figures(prices.price(wanted, day)):
            table[wanted] = found
    return table


def _figures(price: ModelPrice | None) -> dict[str, str | None] | None:
    if price is None:
        return None
    return {name: None if (value := getattr(price, name)) is None else str(value) for name in FIGURES}


def load_shipped(path: Path = SHIPPED) -> int:
    """Bring the prices that come with OneShot into the database; return how many were new or have changed.

    What was edited there stays, and so does a price for the same model and day that somebody made.
    """
    known = {(p.pattern, p.valid_from): p for p in ModelPrice.objects.all()}
    changed = 0
    for entry in tomllib.loads(path.read_text(encoding="utf-8"))["price"]:
        fields = _fields(entry)
        price = known.get((entry["pattern"], entry["valid_from"]))
        if price is None:
            ModelPrice.objects.create(
                pattern=entry["pattern"],
                valid_from=entry["valid_from"],
                origin=ModelPrice.Origin.SHIPPED,
                **fields,
            )
            changed += 1
        elif price.origin == ModelPrice.Origin.SHIPPED and any(getattr(price, k) != v for k, v in fields.items()):
            ModelPrice.objects.filter(pk=price.pk, origin=ModelPrice.Origin.SHIPPED).update(**fields)
            changed += 1
    return changed


def _fields(entry: dict[str, Any]) -> dict[str, Any]:
    figures: dict[str, Any] = {name: Decimal(entry[name]) if name in entry else None for name in FIGURES}
    return figures | {"source": entry.get("source", "")}


def recost(sessions: Iterable[Session]) -> int:
    """Reckon the cost of sessions again with the prices of now; return how many have changed.

    What a source itself said stays where no price is known.
    """
    from traces.importing import totals

    prices, changed = PriceList(), 0
    for session in sessions:
        moved = []
        for exchange in session.exchanges.exclude(tokens_input=None).iterator(chunk_size=2000):
            cost = cost_of_exchange(exchange, prices)
            if cost is not None and cost != exchange.cost_usd:
                exchange.cost_usd = cost
                moved.append(exchange)
        Exchange.objects.bulk_update(moved, ["cost_usd"], batch_size=500)
        if moved:
            totals.refresh(session)
            changed += 1
    return changed


def cost_of_exchange(exchange: Exchange, prices: PriceList) -> Decimal | None:
    """Return what a stored exchange cost, to a millionth of a dollar; None when it is unknown."""
    at = exchange.started_at or exchange.ended_at
    if at is None or not exchange.model:
        return None
    counts = Counts(
        input=exchange.tokens_input,
        cached=exchange.tokens_cached,
        cache_write=exchange.tokens_cache_write,
        output=exchange.tokens_output,
    )
    cost = prices.cost(exchange.model, counts, at)
    return None if cost is None else cost.quantize(Decimal("0.000001"))
