"""Names, schemas and parameters between our requests and the wire."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, RootModel

from runs.agents import shapes
from runs.agents.endpoints import Kind
from runs.errors import DataError
from tests.agents.conftest import request


def tools(*names: str) -> tuple[dict[str, Any], ...]:
    return tuple({"name": name, "description": "", "parameters": {"type": "object"}} for name in names)


@given(st.lists(st.text(min_size=1, max_size=90), unique=True, max_size=12))
def test_every_tool_has_a_name_of_its_own_that_both_protocols_take(given_names: list[str]) -> None:
    names = shapes.names(request(tools=tools(*given_names)))
    wire = [names.theirs(name) for name in given_names]
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name) for name in [*wire, names.output])
    assert len({*wire, names.output}) == len(given_names) + 1
    assert [names.ours(name) for name in wire] == given_names


def test_the_output_s_name_collides_with_no_tool() -> None:
    names = shapes.names(request(tools=tools("final_answer", "final.answer")))
    assert names.output not in names.sent.values()


class Word(BaseModel):
    text: str


class Words(RootModel[list[Word]]):
    pass


@pytest.mark.parametrize(("contract", "value"), [(Word, {"text": "a"}), (Words, [{"text": "a"}])])
def test_a_contract_comes_back_as_it_went(contract: type[BaseModel], value: Any) -> None:
    schema = contract.model_json_schema()
    sent = shapes.output_schema(schema)
    assert sent["type"] == "object"
    given_back = value if schema["type"] == "object" else {"value": value}
    assert shapes.unwrapped(schema, given_back) == value
    assert shapes.unwrapped(schema, value) == value


@given(st.text(max_size=200))
def test_any_text_is_an_output_of_some_kind(text: str) -> None:
    assert isinstance(shapes.read_output(text), (str, dict, list))


@pytest.mark.parametrize("text", ["{", "[1]", "7", '"a"', "[" * 100_000, "1" * 5000])
def test_arguments_that_are_no_object_are_refused(text: str) -> None:
    with pytest.raises(DataError):
        shapes.read_arguments(text, "bank.pay")


def test_a_call_without_arguments_has_none() -> None:
    assert shapes.read_arguments("", "bank.pay") == {}


def test_a_refused_parameter_says_which_there_are() -> None:
    with pytest.raises(DataError, match=r"'logit_bias'.*kind anthropic: use max_tokens, stop, temperature"):
        shapes.parameters({"logit_bias": {}}, Kind.ANTHROPIC)


def test_what_is_estimated_grows_with_what_was_sent() -> None:
    small, large = (
        shapes.estimated(request(), "a"),
        shapes.estimated(request(prompt="word " * 400), "a" * 400),
    )
    assert small.estimated
    assert large.tokens_in > small.tokens_in + 400
    assert large.tokens_out == 101
