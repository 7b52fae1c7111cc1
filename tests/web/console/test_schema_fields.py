"""Fields drawn from JSON Schema, and the values that posted texts become again."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from trading.console.forms import ABSENT
from trading.console.forms import Field as Drawn
from trading.console.schema_fields import fields_of, variants
from trading.sizing import sizing_schema


class Everything(BaseModel):
    count: int = Field(default=3, ge=1, lt=10, description="How many.")
    share: float = Field(default=0.00001, gt=0, le=1)
    label: str = Field(default="", max_length=8)
    kind: Literal["a", "b"] = "b"
    level: Literal[1, 2] = 2
    only: Literal["one"] = "one"
    strict: bool = True
    limit: int | None = 5
    pace: Literal["slow", "fast"] | None = None
    steps: list[int] = Field(default_factory=list)
    either: int | str = 1
    must: int


def drawn() -> dict[str, Drawn]:
    return {each.name: each for each in fields_of(Everything.model_json_schema(), "params")}


def posted(name: str, text: str) -> Any:
    return drawn()[f"params.{name}"].posted({f"params.{name}": text})


def test_each_property_is_one_field_in_the_schemas_order() -> None:
    assert list(drawn()) == [f"params.{name}" for name in Everything.model_fields]


@pytest.mark.parametrize(
    ("name", "kind", "value"),
    [
        ("count", "number", "3"), ("share", "text", "0.00001"), ("label", "text", ""), ("kind", "select", "b"),
        ("level", "select", "2"), ("only", "select", "one"), ("strict", "checkbox", "on"), ("limit", "number", "5"),
        ("pace", "select", ""), ("either", "textarea", "1"), ("must", "number", ""),
    ],
)  # fmt: skip
def test_how_a_property_is_shown(name: str, kind: str, value: str) -> None:
    field = drawn()[f"params.{name}"]
    assert (field.kind, field.value) == (kind, value)


def test_bounds_are_said_and_set() -> None:
    count = drawn()["params.count"]
    assert count.help == "How many. At least 1, less than 10."
    assert (count.attributes["min"], count.attributes["max"]) == ("1", "9")
    assert drawn()["params.label"].attributes["maxlength"] == "8"


def test_choices_are_the_schemas_and_nothing_where_null_is_allowed() -> None:
    assert [choice.value for choice in drawn()["params.kind"].choices] == ["a", "b"]
    assert [choice.value for choice in drawn()["params.pace"].choices] == ["", "slow", "fast"]


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("count", "7", 7), ("count", "-7", -7), ("count", "7.5", "7.5"), ("count", "", ""), ("count", "1e3", "1e3"),
        ("count", "9" * 30, "9" * 30), ("share", "0.5", 0.5), ("share", "nan", "nan"), ("share", "1_0", "1_0"),
        ("label", "", ""), ("label", "<b>", "<b>"), ("kind", "a", "a"), ("kind", "z", "z"), ("level", "1", 1),
        ("limit", "", None), ("limit", "4", 4), ("pace", "", None), ("pace", "slow", "slow"),
        ("steps", "[1, 2]", [1, 2]), ("steps", "[1,", "[1,"), ("either", '"x"', "x"),
    ],
)  # fmt: skip
def test_posted_texts_get_their_type_or_stay_for_the_service_to_refuse(name: str, text: str, value: Any) -> None:
    found = posted(name, text)
    assert found == value
    assert type(found) is type(value)


def test_a_box_that_isnt_ticked_is_false() -> None:
    strict = drawn()["params.strict"]
    assert strict.posted({"params.strict": "on"}) is True
    assert strict.posted({}) is False


def test_what_isnt_sent_gets_its_default() -> None:
    assert drawn()["params.count"].posted({}) is ABSENT


def test_stored_values_win_over_defaults() -> None:
    fields = {each.name: each for each in fields_of(Everything.model_json_schema(), "params", {"count": 8})}
    assert fields["params.count"].value == "8"


class Inner(BaseModel):
    depth: Annotated[int, Field(ge=0)] = 0


class Outer(BaseModel):
    inner: Inner = Inner()


def test_an_object_inside_is_given_as_json() -> None:
    (inner,) = fields_of(Outer.model_json_schema(), "params")
    assert inner.kind == "textarea"
    assert inner.posted({"params.inner": '{"depth": 2}'}) == {"depth": 2}


def test_a_union_has_its_variants_without_the_name_that_tells_them_apart() -> None:
    known = variants(sizing_schema())
    assert set(known) == {"quote_amount", "base_amount", "equity_share", "risk_per_trade"}
    (amount,) = fields_of(known["quote_amount"], "sizing")
    assert (amount.name, amount.attributes["inputmode"]) == ("sizing.amount", "decimal")
