"""Prices: the shipped table, what is edited over it, and that unknown never becomes nothing."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from tests.builders import make_team
from tests.traces.wire import FILES
from traces import prices
from traces.importing import import_paths
from traces.models import ModelPrice, Session
from traces.prices import Counts, cost_of, load_shipped, table_for

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def price(pattern, day=date(2025, 1, 1), **figures):
    return ModelPrice.objects.create(pattern=pattern, valid_from=day, **figures)


def test_the_shipped_table_is_there_after_a_migration_and_loads_once():
    assert ModelPrice.objects.filter(origin="shipped").count() > 15
    assert load_shipped() == 0


def test_cached_and_written_tokens_have_their_own_price():
    price("m", input=Decimal(10), cached_input=Decimal(1), cache_write=Decimal(20), output=Decimal(100))
    counts = Counts(input=1000, cached=600, cache_write=100, output=10)
    assert cost_of("m", counts, NOW) == Decimal("0.0066")


@pytest.mark.parametrize(
    ("model", "counts"),
    [
        ("nobody-knows", Counts(input=1, output=1)),
        ("m", Counts(input=None, output=1)),
        ("m", Counts(input=1, output=None)),
        ("m", Counts(input=5, cached=5, output=1)),
    ],
)
def test_what_is_unknown_makes_the_cost_unknown(model, counts):
    price("m", input=Decimal(10), output=Decimal(100))
    assert cost_of(model, counts, NOW) is None


def test_a_free_model_costs_nothing_and_an_unused_unknown_figure_does_no_harm():
    price("m", input=Decimal(0), output=Decimal(0))
    assert cost_of("m", Counts(input=5, cached=0, output=1), NOW) == 0


def test_the_name_wins_over_patterns_and_the_later_day_over_the_earlier():
    price("m-1", input=Decimal(1), output=Decimal(0))
    price("m-1", date(2025, 6, 1), input=Decimal(2), output=Decimal(0))
    price("m-1", date(2030, 1, 1), input=Decimal(9), output=Decimal(0))
    price("m-*", date(2025, 9, 1), input=Decimal(3), output=Decimal(0))
    price("m*", date(2025, 9, 1), input=Decimal(4), output=Decimal(0))
    one = Counts(input=1_000_000, output=0)
    assert cost_of("m-1", one, NOW) == 2
    assert cost_of("m-1", one, datetime(2025, 2, 1, tzinfo=UTC)) == 1
    assert cost_of("m-2", one, NOW) == 3
    assert cost_of("mm", one, NOW) == 4
    assert cost_of("m-1", one, datetime(2024, 1, 1, tzinfo=UTC)) is None


def test_what_was_edited_is_never_overwritten():
    row = ModelPrice.objects.get(pattern="gpt-5")
    row.input, row.origin = Decimal(7), ModelPrice.Origin.EDITED
    row.save()
    other = ModelPrice.objects.get(pattern="gpt-5-codex")
    ModelPrice.objects.filter(pk=other.pk).update(input=Decimal(9))
    assert load_shipped() == 1
    assert ModelPrice.objects.get(pattern="gpt-5").input == 7
    assert ModelPrice.objects.get(pattern="gpt-5-codex").input == Decimal("1.25")


def test_an_edit_in_the_administration_is_marked_and_sessions_are_reckoned_again_on_demand(admin_client):
    import_paths([FILES / "codex-old.jsonl"], team=make_team())
    session = Session.objects.get()
    row = ModelPrice.objects.get(pattern="gpt-5")
    fields = {"pattern": "gpt-5", "valid_from": "2025-08-07", "input": "2", "cached_input": "0", "output": "0"}
    assert admin_client.post(f"/admin/traces/modelprice/{row.pk}/change/", fields).status_code == 302
    row.refresh_from_db()
    assert (row.origin, row.input) == ("edited", 2)
    session.refresh_from_db()
    assert session.cost_usd == Decimal("0.003175")
    action = {"action": "reckon_cost_again", "_selected_action": [session.pk]}
    assert b"cost of 1 sessions" in admin_client.post("/admin/traces/session/", action, follow=True).content
    session.refresh_from_db()
    assert session.cost_usd == Decimal("0.0024")
    assert prices.recost([session]) == 0


def test_a_table_for_a_door_has_figures_as_text():
    table = table_for(["gpt-5-mini-2025-08-07", "nobody-knows"], at=date(2026, 1, 1))
    assert set(table) == {"gpt-5-mini-2025-08-07"}
    assert Decimal(table["gpt-5-mini-2025-08-07"]["output"]) == 2
    assert {"gpt-5", "o3", "claude-sonnet-4-5*"} <= set(table_for(["*"], at=date(2026, 1, 1)))
    assert Decimal(table_for(["o3"], at=date(2025, 5, 1))["o3"]["input"]) == 10
