"""Inserts many rows of one model at once: what `bulk_create` does, without its cost per field of every row.

An import makes several rows of each exchange, so that this cost would be most of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from django.db import connection, models

Convert = Callable[[Any], Any] | None


def insert(rows: Sequence[models.Model], *, skip_known: bool = False) -> None:
    """Insert new rows, all of one model; their primary keys stay unknown.

    `skip_known` leaves out rows that a constraint forbids because the same is there already.
    """
    if not rows:
        return
    model = type(rows[0])
    columns = _columns(model, connection.vendor)
    names = ", ".join(connection.ops.quote_name(column) for _, column, _ in columns)
    marks = ", ".join(["%s"] * len(columns))
    table = connection.ops.quote_name(model._meta.db_table)
    # Names come from the model alone; every value is a parameter.
    query = f"INSERT INTO {table} ({names}) VALUES ({marks})"  # noqa: S608
    if skip_known:
        query += " ON CONFLICT DO NOTHING"
    values = [
        [
            value if convert is None or value is None else convert(value)
            for value, convert in ((getattr(row, name), convert) for name, _, convert in columns)
        ]
        for row in rows
    ]
    with connection.cursor() as cursor:
        cursor.executemany(query, values)


@lru_cache(maxsize=32)
def _columns(model: type[models.Model], vendor: str) -> list[tuple[str, str, Convert]]:
    """Return attribute, column and what makes a value fit the database, for all columns that are not given by it."""
    return [
        (field.attname, str(field.column), _converter(field))
        for field in model._meta.concrete_fields
        if not isinstance(field, models.AutoField)
    ]


def _converter(field: models.Field[Any, Any]) -> Convert:
    if isinstance(field, models.ForeignKey):
        target = field.target_field
        return None if isinstance(target, models.AutoField) else lru_cache(maxsize=64)(_prepared(target))
    # Integers, texts and truth values are what the databases' drivers take as they are.
    plain = (models.CharField, models.TextField, models.IntegerField, models.FloatField, models.BooleanField)
    return None if isinstance(field, plain) else _prepared(field)


def _prepared(field: models.Field[Any, Any]) -> Callable[[Any], Any]:
    def convert(value: Any) -> Any:
        return field.get_db_prep_save(value, connection)

    return convert
