"""Fields drawn from a JSON Schema, as pydantic writes it: a strategy's parameters, an instance's sizing."""

import json
import math
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from desproject.lib.money import plain
from trading.console.forms import Choice, Field, amount, whole
from trading.sizing import AMOUNT_PATTERN

Schema = Mapping[str, Any]
_NUMBER = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?")
_BOUNDS = (
    ("minimum", "at least {}"), ("exclusiveMinimum", "more than {}"), ("maximum", "at most {}"),
    ("exclusiveMaximum", "less than {}"),
)  # fmt: skip


def fields_of(schema: Schema, prefix: str, values: Mapping[str, Any] | None = None) -> list[Field]:
    """One field a property, in the schema's order, named ``<prefix>.<property>``; ``values`` win over defaults."""
    given = values or {}
    return [
        _field(f"{prefix}.{name}", _resolved(raw, schema), given.get(name, raw.get("default")))
        for name, raw in schema.get("properties", {}).items()
    ]


def variants(schema: Schema) -> dict[str, Schema]:
    """The members of a discriminated union by the discriminator's value, each without the discriminator itself."""
    tag = schema["discriminator"]["propertyName"]
    found: dict[str, Schema] = {}
    for value, reference in schema["discriminator"]["mapping"].items():
        member = _definition(reference, schema)
        properties = {name: each for name, each in member["properties"].items() if name != tag}
        found[value] = {**member, "properties": properties, "$defs": schema.get("$defs", {})}
    return found


def _definition(reference: str, schema: Schema) -> dict[str, Any]:
    found: dict[str, Any] = schema["$defs"][reference.rsplit("/", 1)[-1]]
    return found


def _resolved(raw: Schema, schema: Schema) -> dict[str, Any]:
    """The property with what it refers to and, where null is allowed, ``nullable``."""
    found = {**_definition(raw["$ref"], schema), **raw} if "$ref" in raw else dict(raw)
    kinds = found.pop("anyOf", None)
    if kinds is None:
        return found
    real = [kind for kind in kinds if kind.get("type") != "null"]
    nullable = len(real) < len(kinds)
    # Of several real kinds none can be drawn: the value is given as JSON then.
    merged = {**_resolved(real[0], schema), **found} if len(real) == 1 else found
    return {**merged, "nullable": nullable or merged.get("nullable", False)}


def _field(name: str, schema: Schema, value: Any) -> Field:
    # The schema's own titles Capitalise Every Word.
    label = str(schema.get("title") or name.rpartition(".")[2]).replace("_", " ").capitalize()
    nullable = bool(schema.get("nullable"))
    kind = schema.get("type")
    if "enum" in schema or "const" in schema:
        return _select(name, label, schema, value, nullable)
    if kind == "boolean" and not nullable:
        return Field(name, label, "checkbox", "on" if value else "", help=_help(schema), required=False)
    common: dict[str, Any] = {"help": _help(schema), "required": not nullable}
    if kind == "integer":
        bounds = {"min": _bound(schema, "minimum", 1), "max": _bound(schema, "maximum", -1)}
        attributes = {"inputmode": "numeric", "step": "1", **{key: bound for key, bound in bounds.items() if bound}}
        return Field(
            name, label, "number", _shown(value), attributes=attributes, read=_clearable(nullable, whole), **common
        )
    if kind == "number":
        value = value if value is None else plain(Decimal(str(value)))
        return amount(name, label, value=_shown(value), read=_clearable(nullable, _number), **common)
    if kind == "string":
        return _text(name, label, schema, value, nullable)
    text = "" if value is None else json.dumps(value)
    return Field(name, label, "textarea", text, read=_clearable(nullable, _json), **common)


def _text(name: str, label: str, schema: Schema, value: Any, nullable: bool) -> Field:
    if schema.get("pattern") == AMOUNT_PATTERN:
        read = _clearable(nullable, str)
        return amount(name, label, value=_shown(value), help=_help(schema), required=not nullable, read=read)
    longest = {"maxlength": str(schema["maxLength"])} if "maxLength" in schema else {}
    return Field(
        name, label, value=_shown(value), help=_help(schema), attributes=longest, read=_clearable(nullable, str),
        required=bool(schema.get("minLength")) and not nullable,
    )


def _select(name: str, label: str, schema: Schema, value: Any, nullable: bool) -> Field:
    """Choices are shown as text; the posted text becomes the schema's own value again."""
    known = {str(each): each for each in schema.get("enum", [schema.get("const")])}
    choices = [Choice("", "none")] if nullable else []
    choices += [Choice(text, text) for text in known]
    read = _clearable(nullable, lambda text: known.get(text, text))
    return Field(
        name, label, "select", _shown(value), help=_help(schema), choices=choices, read=read, required=not nullable
    )


def _clearable(nullable: bool, read: Callable[[str], Any]) -> Callable[[str], Any]:
    """Where the schema allows null an empty text is that; else it is left for the API to judge."""
    return (lambda text: None if text == "" else read(text)) if nullable else read


def _shown(value: Any) -> str:
    return "" if value is None else str(value)


def _help(schema: Schema) -> str:
    bounds = [words.format(schema[key]) for key, words in _BOUNDS if key in schema]
    described = str(schema.get("description", ""))
    return " ".join(filter(None, [described, (", ".join(bounds)).capitalize() + "." if bounds else ""]))


def _bound(schema: Schema, name: str, step: int) -> str:
    """A whole number's inclusive bound."""
    if name in schema:
        return str(schema[name])
    exclusive = "exclusive" + name.capitalize()
    return str(schema[exclusive] + step) if exclusive in schema else ""


def _number(text: str) -> Any:
    """A broken number, or the text itself for the API to refuse."""
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    return value if math.isfinite(value) else text


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
