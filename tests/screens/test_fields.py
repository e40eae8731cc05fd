"""Contracts as tables: every field with its type, whether it must be there and what a value must keep to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, RootModel, create_model

from runs.plans import Results
from runs.shown.fields import MOST_FIELDS, WHOLE, contract
from tests.screens.patterns import Message, Triage


def fields(model: type[BaseModel]) -> dict[str, tuple[str, bool, str]]:
    return {one.name: (one.kind, one.required, one.limits) for one in contract(model).tables[0].fields}


def test_a_field_says_its_type_whether_it_is_required_and_its_limits() -> None:
    assert fields(Message) == {
        "text": ("text", True, "1 to 4000 characters"),
        "channel": ("one of", False, "mail, chat, phone"),
        "received": ("date or none", False, ""),
        "order": ("text or none", False, "like ^[0-9]{2}-[0-9]{5}$"),
    }
    shown = contract(Message)
    assert shown.tables[0].says == "What a customer wrote."
    assert shown.tables[0].closed
    assert [(one.name, one.default) for one in shown.tables[0].fields][1] == ("channel", '"mail"')
    assert shown.tables[0].fields[0].says == "As it came, nothing taken away."


def test_nested_models_have_a_table_each_once_even_when_they_hold_themselves() -> None:
    assert [table.name for table in contract(Triage).tables] == ["Triage", "Line"]
    assert fields(Triage)["lines"] == ("list of Line", False, "at most 200 items")
    parts = contract(Triage).tables[1].fields[-1]
    assert (parts.name, parts.kind) == ("parts", "list of Line")
    assert [table.name for table in contract(Results).tables] == ["Results", "TaskResult"]


class Others(BaseModel):
    many: Literal["a", "b"] | int | None = None
    pairs: dict[str, int] = {}
    anything: Any = None
    exactly: tuple[int, str] = (1, "a")
    share: Annotated[float, Field(gt=0, le=1)] = 0.5
    one: Annotated[list[Annotated[str, Field(max_length=3)]], Field(min_length=1)] = ["a"]
    fixed: Literal["only"] = "only"


def test_choices_maps_and_lists_are_named_in_words() -> None:
    assert {name: (kind, limits) for name, (kind, _, limits) in fields(Others).items()} == {
        "many": ("one of or whole number or none", "a, b"),
        "pairs": ("map of text to whole number", ""),
        "anything": ("anything", ""),
        "exactly": ("list of exactly whole number, text", "exactly 2 items"),
        "share": ("number", "at most 1, above 0"),
        "one": ("list of text", "at least 1 item, each at most 3 characters"),
        "fixed": ("always only", ""),
    }


def test_a_contract_that_is_no_object_is_one_row() -> None:
    assert fields(RootModel[list[int]]) == {WHOLE: ("list of whole number", True, "")}


def test_a_model_without_a_schema_says_so_and_breaks_nothing() -> None:
    model = create_model("Odd", call=(Callable[[int], int], ...))
    assert "no JSON Schema" in contract(model).problem
    assert contract(model).tables == ()


def test_far_too_many_fields_are_cut_and_counted() -> None:
    wide: Any = {f"field_{number}": (int, ...) for number in range(MOST_FIELDS + 40)}
    shown = contract(create_model("Wide", **wide))
    assert sum(len(table.fields) for table in shown.tables) == MOST_FIELDS
    assert shown.left_out == 40


_types = st.recursive(
    st.sampled_from([int, str, bool, float, Any, Literal["a", "b"], Message, Triage]),
    lambda inner: st.one_of(
        inner.map(lambda one: list[one]),  # type: ignore[valid-type]
        inner.map(lambda one: dict[str, one]),  # type: ignore[valid-type]
        inner.map(lambda one: one | None if one is not Any else Any),
    ),
    max_leaves=4,
)


@pytest.mark.filterwarnings("ignore::UserWarning")
@given(st.lists(_types, min_size=1, max_size=5))
def test_every_field_of_any_model_has_a_row_and_a_type(types: list[Any]) -> None:
    made: Any = {f"f{number}": (kind, ...) for number, kind in enumerate(types)}
    table = contract(create_model("Made", **made)).tables[0]
    assert [one.name for one in table.fields] == list(made)
    assert all(one.kind and one.required for one in table.fields)
