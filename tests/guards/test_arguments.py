"""A call is held against its declared contract before it is made; what the tool rejects all the same is drift."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from runs.definitions import Tool
from runs.engine.watched import declared
from runs.guards.arguments import Contracts
from runs.guards.findings import Guard
from runs.recorded import toolsets
from tests.guards.made import Json, called
from tests.guards.watching import found, steps_of

DECLARED: Json = {
    "yard": [
        {
            "name": "move_crate",
            "effect": "reversible",
            "egress": False,
            "parameters": {
                "type": "object",
                "properties": {
                    "crate": {"type": "integer"},
                    "hall": {"enum": ["a", "b"]},
                    "note": {"type": "string"},
                },
                "required": ["crate", "hall"],
            },
        },
        {"name": "ring", "effect": "none", "egress": False},
    ]
}


@pytest.mark.parametrize(
    ("args", "place"),
    [
        ({"crate": 4}, "arguments"),
        ({"crate": "4", "hall": "a"}, "crate"),
        ({"crate": 4.5, "hall": "a"}, "crate"),
        ({"crate": None, "hall": "a"}, "crate"),
        ({"crate": 4, "hall": "c"}, "hall"),
        ({"crate": 4, "hall": "a", "note": 7}, "note"),
        ({"crate": 4, "hall": "a", "speed": "fast"}, "arguments"),
        (None, "arguments"),
    ],
)
def test_arguments_that_break_the_contract_are_found_before_the_call(args: Any, place: str) -> None:
    before = Contracts(declared=toolsets.parse(DECLARED).of("yard")).before(0, "clerk", "move_crate", args)
    assert before is not None
    assert (before.guard, before.figure, before.scope) == (Guard.SCHEMA, place, "tool move_crate")


@pytest.mark.parametrize(
    ("tool", "args"),
    [
        ("move_crate", {"crate": 4, "hall": "a"}),
        ("move_crate", {"crate": 4, "hall": "b", "note": ""}),
        ("ring", {"anything": 1}),
    ],
)
def test_arguments_that_meet_the_contract_are_left_alone(tool: str, args: Any) -> None:
    assert found([called(tool, args, "ok")], declared=DECLARED) == []


def test_a_recorded_call_without_any_arguments_is_one_with_none_and_text_is_no_object() -> None:
    assert found([called("ring", None, "ok")], declared=DECLARED) == []
    garbled = called("move_crate", None, "", args_raw='{"crate": 4, "hall"')
    also = called("ring", None, "", args_raw="ring, please")  # it has no contract, and still takes no text
    assert steps_of(found([garbled, also], Guard.SCHEMA, declared=DECLARED)) == [0, 1]


def test_a_tool_that_nobody_declared_is_unknown() -> None:
    findings = found([called("fly", {}, "")], declared=DECLARED)
    assert [(one.guard, one.figure) for one in findings] == [(Guard.UNKNOWN_TOOL, "fly")]


def test_without_declarations_a_list_of_names_is_enough_to_know_a_tool() -> None:
    calls = [called("ring", {"a": 1}, ""), called("fly", {}, "")]
    assert steps_of(found(calls, Guard.UNKNOWN_TOOL, tools=["ring"])) == [1]
    assert found(calls, Guard.UNKNOWN_TOOL) == []


def test_a_rejection_of_what_the_contract_accepts_is_drift() -> None:
    wanted = called(
        "move_crate", {"crate": 4, "hall": "a"}, "", error="no such argument: hall", error_kind="schema"
    )
    findings = found([wanted], declared=DECLARED)
    assert [(one.guard, one.figure) for one in findings] == [(Guard.CONTRACT_DRIFT, "schema")]
    assert "no such argument: hall" in findings[0].says


def test_a_rejection_of_what_the_contract_refuses_is_no_drift() -> None:
    wanted = called("move_crate", {"crate": 4}, "", error="hall is missing", error_kind="schema")
    assert [one.guard for one in found([wanted], declared=DECLARED)] == [Guard.SCHEMA]


def test_an_error_of_the_tool_itself_is_no_drift() -> None:
    wanted = called("move_crate", {"crate": 4, "hall": "a"}, "", error="the crate is gone", error_kind="tool")
    assert found([wanted], declared=DECLARED) == []


class Account(BaseModel):
    iban: str
    memo: dict[str, Any] = {}


class Holder(BaseModel):
    accounts: list[Account] = []
    main: Account | None = None
    heirs: list[Holder] = []


class Transfer(BaseModel):
    to: Account
    by: Holder | Account | None = None


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ({"to": {"iban": "x"}}, None),
        ({"to": {"iban": "x", "memo": {"anything": 1}}}, None),
        ({"to": {"iban": "x"}, "by": {"heirs": [{"main": {"iban": "y"}}]}}, None),
        ({"to": {"iban": "x", "extra": 1}}, "to"),
        ({"to": {"iban": "x"}, "by": {"accounts": [{"iban": "y", "extra": 1}]}}, "by"),
        ({"to": {"iban": "x"}, "by": {"heirs": [{"heirs": [{"main": {"iban": "y", "extra": 1}}]}]}}, "by"),
        ({"to": {"iban": "x"}, "extra": 1}, ""),
    ],
)
def test_nothing_that_a_contract_does_not_name_passes_however_deep(given: Any, place: str | None) -> None:
    tool = Tool(name="pay", arguments=Transfer, perform=lambda one, gate: {}, sentence=str)
    broken = declared(tool).broken(given)
    assert (broken[0].split(".")[0] if broken else None) == place
