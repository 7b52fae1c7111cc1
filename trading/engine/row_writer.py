"""Model rows into statements: what the ORM would write, value for value, without building its queries anew each time.

Each field still turns its own value into the database's (``pre_save``, ``get_db_prep_save``), so a row reads back
through the ORM as it was. Constraints are the database's.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from django.db import DEFAULT_DB_ALIAS, DatabaseError, connection, connections, models
from django.db.backends.base.base import BaseDatabaseWrapper

from accounts.tenancy import require_in_scope
from trading.engine.statements import Statements

_Fields = Sequence["models.Field[Any, Any]"]


# To be called when everything was given: it looks at the answers.
Confirm = Callable[[], None]


def insert(statements: Statements, model: type[models.Model], rows: Sequence[models.Model]) -> Confirm:
    """Creates rows of tenants in scope; those whose key the database counts get it when confirmed."""
    require_in_scope(row.user_id for row in rows)  # type: ignore[attr-defined]  # every one of them has an owner
    sql, fields = _insertion(model)
    values = _values(rows, fields, add=True)
    numbers: list[Callable[[], list[Any]]] = []
    if isinstance(model._meta.pk, models.AutoField):
        numbers = [statements.read(sql, each) for each in values]
    else:
        statements.write(sql, values)

    def confirm() -> None:
        for row, number in zip(rows, numbers, strict=False):
            ((row.pk,),) = number()
        for row in rows:
            row._state.adding, row._state.db = False, connection.alias

    return confirm


def update(
    statements: Statements, model: type[models.Model], names: Sequence[str], rows: Sequence[models.Model]
) -> Confirm:
    """Stores these fields of rows of tenants in scope, each row once. Confirming raises DatabaseError when one of them
    isn't there."""
    require_in_scope(row.user_id for row in rows)  # type: ignore[attr-defined]  # see above
    sql, fields = _change(model, tuple(names))
    changed = statements.write(sql, _values(rows, fields, add=False))

    def confirm() -> None:
        if changed() != len(rows):
            raise DatabaseError(f"{model.__name__} row vanished")

    return confirm


def _values(rows: Sequence[models.Model], fields: _Fields, *, add: bool) -> list[list[Any]]:
    own = connections[DEFAULT_DB_ALIAS]  # `connection` finds this thread's anew each time that it is touched
    return [[_value(row, field, add, own) for field in fields] for row in rows]


def _value(row: models.Model, field: "models.Field[Any, Any]", add: bool, own: BaseDatabaseWrapper) -> Any:
    value = field.pre_save(row, add)
    # The database's form of a text is the text, of nothing is nothing.
    if value is None or (type(value) is str and isinstance(field, models.CharField)):
        return value
    return field.get_db_prep_save(value, own)


@cache
def _insertion(model: type[models.Model]) -> tuple[str, _Fields]:
    fields = [field for field in model._meta.concrete_fields if not isinstance(field, models.AutoField)]
    columns, places = ", ".join(map(_quoted, fields)), ", ".join(["%s"] * len(fields))
    sql = f"INSERT INTO {_table(model)} ({columns}) VALUES ({places})"  # noqa: S608  # names of our models
    pk = model._meta.pk
    return (f"{sql} RETURNING {_quoted(pk)}" if isinstance(pk, models.AutoField) else sql), fields


@cache
def _change(model: type[models.Model], names: tuple[str, ...]) -> tuple[str, _Fields]:
    meta = model._meta
    fields = [meta.get_field(name) for name in names]
    settings = ", ".join(f"{_quoted(field)} = %s" for field in fields)
    found_by = [meta.pk, meta.get_field("user")]
    conditions = " AND ".join(f"{_quoted(field)} = %s" for field in found_by)
    sql = f"UPDATE {_table(model)} SET {settings} WHERE {conditions}"  # noqa: S608  # see above
    return sql, [*fields, *found_by]  # type: ignore[list-item]


def _table(model: type[models.Model]) -> str:
    return connection.ops.quote_name(model._meta.db_table)


def _quoted(field: Any) -> str:
    return connection.ops.quote_name(field.column)
