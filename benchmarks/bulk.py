"""Writes very many rows fast: COPY on PostgreSQL, one prepared statement on SQLite. For generated data only."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from django.db import connection, models

CHUNK = 5000


def insert_rows(model: type[models.Model], names: list[str], rows: Iterable[tuple[Any, ...]]) -> None:
    """Insert `rows`, whose values are those of the fields `names` (foreign keys as `agent_id`), in one go.

    Fields that are not named get their default. Nothing is validated and no signal is sent.
    """
    fields = {field.attname: field for field in model._meta.concrete_fields}
    rest = [name for name, field in fields.items() if name not in names and not field.primary_key]
    constants = tuple(_for_database(fields[name])(fields[name].get_default()) for name in rest)
    adapt = [_for_database(fields[name]) for name in names]
    columns = ", ".join(connection.ops.quote_name(str(fields[name].column)) for name in (*names, *rest))
    table = connection.ops.quote_name(model._meta.db_table)
    values = (tuple(change(value) for change, value in zip(adapt, row, strict=True)) + constants for row in rows)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            with cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
                for row in values:
                    copy.write_row(row)
        else:
            marks = ", ".join(["%s"] * (len(names) + len(rest)))
            for chunk in _chunks(values):
                cursor.executemany(f"INSERT INTO {table} ({columns}) VALUES ({marks})", chunk)  # noqa: S608


def _for_database(field: models.Field) -> Callable[[Any], Any]:
    """Return what turns a Python value of `field` into one that the driver takes."""
    if isinstance(field, models.JSONField):
        return json.dumps
    if connection.vendor == "postgresql" or not isinstance(
        field, (models.UUIDField, models.ForeignKey, models.DateTimeField, models.DecimalField)
    ):
        return lambda value: value
    return lambda value: field.get_db_prep_save(value, connection)


def _chunks(rows: Iterator[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    while chunk := list(itertools.islice(rows, CHUNK)):
        yield chunk
