"""App of what was said: sessions, the gateway that records them, readers, prices, redaction."""

from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class TracesConfig(AppConfig):
    name = "traces"

    def ready(self) -> None:
        post_migrate.connect(_load_prices, sender=self, dispatch_uid="traces.load_prices")


def _load_prices(*, using: str, **kwargs: Any) -> None:
    from django.db import connections

    from traces import prices
    from traces.models import ModelPrice

    # A migration back to before the table was there leaves nothing to fill.
    if ModelPrice._meta.db_table in connections[using].introspection.table_names():
        prices.load_shipped()
