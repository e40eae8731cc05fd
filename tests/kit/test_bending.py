"""Changing one value of an answer: what must break breaks, what must hold holds, for any answer of a rich contract."""

from __future__ import annotations

import random
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from runs.agents import bending
from runs.canonical import canonical, plain


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Line(BaseModel):
    model_config = ConfigDict(extra="forbid")
    what: str = Field(max_length=60)
    price: Annotated[Decimal, Field(ge=0, decimal_places=2, max_digits=12)]
    pieces: int = Field(ge=1, le=1000)


class Order(BaseModel):
    model_config = ConfigDict(extra="forbid")
    number: str = Field(pattern=r"^A-[0-9]{3}$")
    kind: Literal["new", "again"]
    colour: Colour
    express: bool
    due: date | None
    asked_at: datetime
    weight: float = Field(gt=0, lt=500)
    share: float = Field(ge=0, le=1)
    note: str
    lines: tuple[Line, ...]
    first: Line | None = None


SCHEMA = Order.model_json_schema()
_lines = st.builds(
    Line,
    what=st.text(max_size=60),
    price=st.decimals(min_value=0, max_value=10**6, places=2),
    pieces=st.integers(1, 1000),
)
ORDERS = st.builds(
    Order,
    number=st.from_regex(r"\AA-[0-9]{3}\Z"),
    kind=st.sampled_from(("new", "again")),
    colour=st.sampled_from(Colour),
    express=st.booleans(),
    due=st.none() | st.dates(date(2000, 1, 1), date(2100, 1, 1)),
    asked_at=st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)),
    weight=st.floats(0.001, 499, allow_nan=False),
    share=st.floats(0, 1),
    note=st.text(max_size=200),
    lines=st.lists(_lines, max_size=3).map(tuple),
    first=st.none() | _lines,
)


def meets(value: Any) -> bool:
    try:
        Order.model_validate_json(canonical(value))
    except ValidationError:
        return False
    return True


@given(order=ORDERS, seed=st.integers(0, 10**6))
def test_a_plausible_change_keeps_the_contract_and_changes_one_value(order: Order, seed: int) -> None:
    value = plain(order)
    changed = bending.plausible(SCHEMA, value, random.Random(seed))
    assert changed is not None
    assert changed != value
    assert meets(changed)
    old, new = (bending.leaves(SCHEMA, one) for one in (value, changed))
    assert [leaf.path for leaf in old] == [leaf.path for leaf in new]
    assert sum(1 for one, other in zip(old, new, strict=True) if one.value != other.value) == 1


@given(order=ORDERS, seed=st.integers(0, 10**6))
def test_a_broken_answer_breaks_the_contract(order: Order, seed: int) -> None:
    assert not meets(bending.broken(SCHEMA, plain(order), random.Random(seed)))


@given(order=ORDERS, seed=st.integers(0, 10**6))
def test_broken_arguments_break_a_closed_contract_and_are_still_an_object(order: Order, seed: int) -> None:
    changed = bending.broken_arguments(SCHEMA, plain(order), random.Random(seed))
    assert isinstance(changed, dict)
    assert not meets(changed)


@given(order=ORDERS, seed=st.integers(0, 10**6))
def test_the_same_dice_give_the_same_change(order: Order, seed: int) -> None:
    value = plain(order)
    for change in (bending.plausible, bending.broken):
        assert change(SCHEMA, value, random.Random(seed)) == change(SCHEMA, value, random.Random(seed))


@given(order=ORDERS, more=st.text(min_size=1, max_size=300))
def test_more_words_go_where_free_text_stands(order: Order, more: str) -> None:
    value = plain(order)
    changed = bending.with_prose(SCHEMA, value, more)
    assert meets(changed)
    assert {key: item for key, item in changed.items() if key != "note"} == {
        key: item for key, item in value.items() if key != "note"
    }


def test_words_stay_within_what_the_contract_allows() -> None:
    value = {"what": "a lamp", "price": "1.00", "pieces": 1}
    schema = Line.model_json_schema()
    assert len(bending.with_prose(schema, value, "x" * 5000)["what"]) == 60
    assert bending.with_prose(schema, value, "x" * 100) == value  # half a sentence would state no fact


@pytest.mark.parametrize("value", [None, 3, "text", [], {}, [[1]]])
def test_what_no_schema_describes_is_not_changed_plausibly(value: Any) -> None:
    assert bending.plausible({}, value, random.Random(1)) is None


class Place(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str = Field(max_length=12)
    number: str = Field(pattern=r"^[A-Z]{2}-[0-9]{4}$")
    story: str = Field(min_length=20)
    ours: Literal["yes"] = "yes"


def test_where_nothing_else_can_be_changed_another_text_is_said() -> None:
    value = plain(
        Place(name="south", number="AB-1234", story="It rained for three days and the cellar is wet.")
    )
    seen = [bending.plausible(Place.model_json_schema(), value, random.Random(seed)) for seed in range(40)]
    for one in seen:
        assert one is not None
        Place.model_validate_json(canonical(one))
        assert sum(1 for key in value if one[key] != value[key]) == 1
    assert {key for one in seen if one for key in value if one[key] != value[key]} == {
        "name",
        "number",
        "story",
    }
    assert (
        bending.plausible(
            {"properties": {"id": {"type": "string", "format": "uuid"}}}, {"id": "x"}, random.Random(1)
        )
        is None
    )


def test_every_kind_of_value_is_changed_for_some_seed() -> None:
    order = Order(
        number="A-001",
        kind="new",
        colour=Colour.RED,
        express=True,
        due=date(2026, 1, 31),
        asked_at=datetime(2026, 1, 31, 8),
        weight=3.0,
        share=0.5,
        note="",
        lines=(Line(what="lamp", price=Decimal("12.50"), pieces=2),),
    )
    value = plain(order)
    changed: set[str] = set()
    for seed in range(200):
        other = bending.plausible(SCHEMA, value, random.Random(seed))
        before, after = (bending.leaves(SCHEMA, one) for one in (value, other))
        changed |= {a.name for a, b in zip(before, after, strict=True) if a.value != b.value}
    assert changed == {"kind", "colour", "express", "due", "asked_at", "weight", "price", "pieces"} | (
        changed & {"share"}
    )
