"""Model rows into statements: what the ORM would write, value for value, without building its queries anew each time.

Each field still turns its own value into the database's (``pre_save``, ``get_db_prep_save``), so a row reads back
through the ORM as it was. Constraints are the database's.
"""

from collections.abc import Callable, Sequence
from datetime import date, datetime
from functools import cache
from typing import Any
from uuid import UUID

import msgspec
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connection, connections, models
from django.db.backends.base.base import BaseDatabaseWrapper

from accounts.tenancy import require_in_scope
from trading.engine.statements import Statements

_Fields = Sequence["models.Field[Any, Any]"]
_JSON = msgspec.json.Encoder(enc_hook=str)
# JSON tells them so that a column of their type reads them.
_AS_THEY_ARE = frozenset({type(None), bool, int, float, UUID, datetime, date})

# To be called when everything was given: it looks at the answers.
Confirm = Callable[[], None]


def insert(statements: Statements, model: type[models.Model], rows: Sequence[models.Model]) -> Confirm:
    """Creates rows of tenants in scope; those whose key the database counts get it when confirmed."""
    require_in_scope(row.user_id for row in rows)  # type: ignore[attr-defined]  # every one of them has an owner
    sql, fields = _insertion(model)
    values = _parameters(rows, fields, add=True)
    numbers: list[Callable[[], list[Any]]] = []
    if isinstance(model._meta.pk, models.AutoField):
        numbers = [statements.read(sql, each) for each in values]
    else:
        statements.write(sql, values)

    def confirm() -> None:
        for row, (number,) in zip(rows, (found for told in numbers for found in told()), strict=False):
            row.pk = number
        for row in rows:
            row._state.adding, row._state.db = False, connection.alias

    return confirm


def update(
    statements: Statements,
    model: type[models.Model],
    names: Sequence[str],
    rows: Sequence[models.Model],
    *,
    was: str = "",
) -> Confirm:
    """Stores these fields of rows of tenants in scope, each row once. Confirming raises DatabaseError when one of them
    isn't there, or its status isn't what it ``was`` to be (where that is given)."""
    require_in_scope(row.user_id for row in rows)  # type: ignore[attr-defined]  # see above
    sql, fields = _change(model, tuple(names), has_status=bool(was))
    own, last = connections[DEFAULT_DB_ALIAS], [was] if was else []
    changed = statements.write(sql, [[*(_value(row, field, False, own) for field in fields), *last] for row in rows])

    def confirm() -> None:
        if changed() != len(rows):
            raise DatabaseError(f"{model.__name__} row vanished")

    return confirm


def _parameters(rows: Sequence[models.Model], fields: _Fields, *, add: bool) -> list[list[Any]]:
    """What a statement is run with, once for each: on PostgreSQL all rows are one parameter, of one statement."""
    own = connections[DEFAULT_DB_ALIAS]  # `connection` finds this thread's anew each time that it is touched
    if own.vendor != "postgresql":
        return [[_value(row, field, add, own) for field in fields] for row in rows]
    records = [{field.column: _told(row, field, add, own) for field in fields} for row in rows]
    return [[_JSON.encode(records).decode()]]


def _told(row: models.Model, field: "models.Field[Any, Any]", add: bool, own: BaseDatabaseWrapper) -> Any:
    """A value as JSON tells it to the column's type. Documents stay documents."""
    value = field.pre_save(row, add)
    if type(value) in _AS_THEY_ARE or isinstance(field, models.JSONField):
        return value
    return _value_of(value, field, own)


def _value(row: models.Model, field: "models.Field[Any, Any]", add: bool, own: BaseDatabaseWrapper) -> Any:
    return _value_of(field.pre_save(row, add), field, own)


def _value_of(value: Any, field: "models.Field[Any, Any]", own: BaseDatabaseWrapper) -> Any:
    # The database's form of a text is the text, of nothing is nothing.
    if value is None or (type(value) is str and isinstance(field, models.CharField)):
        return value
    return field.get_db_prep_save(value, own)


@cache
def _insertion(model: type[models.Model]) -> tuple[str, _Fields]:
    fields = [field for field in model._meta.concrete_fields if not isinstance(field, models.AutoField)]
    columns = ", ".join(map(_quoted, fields))
    if connection.vendor == "postgresql":
        source = f"SELECT {columns} FROM {_recordset(fields)}"  # noqa: S608  # names of our models
    else:
        source = f"VALUES ({', '.join(['%s'] * len(fields))})"
    sql = f"INSERT INTO {_table(model)} ({columns}) {source}"  # see above
    pk = model._meta.pk
    return (f"{sql} RETURNING {_quoted(pk)}" if isinstance(pk, models.AutoField) else sql), fields


def _recordset(fields: _Fields) -> str:
    """Rows that are told as one JSON parameter."""
    columns = ", ".join(f"{_quoted(field)} {field.db_type(connection)}" for field in fields)
    return f"json_to_recordset(%s::json) AS told({columns})"


@cache
def _change(model: type[models.Model], names: tuple[str, ...], *, has_status: bool) -> tuple[str, _Fields]:
    meta = model._meta
    fields = [meta.get_field(name) for name in names]
    settings = ", ".join(f"{_quoted(field)} = %s" for field in fields)
    found_by = [meta.pk, meta.get_field("user")]
    compared = [*found_by, meta.get_field("status")] if has_status else found_by
    conditions = " AND ".join(f"{_quoted(field)} = %s" for field in compared)
    sql = f"UPDATE {_table(model)} SET {settings} WHERE {conditions}"  # noqa: S608  # see above
    return sql, [*fields, *found_by]  # type: ignore[list-item]


def _table(model: type[models.Model]) -> str:
    return connection.ops.quote_name(model._meta.db_table)


def _quoted(field: Any) -> str:
    return connection.ops.quote_name(field.column)
