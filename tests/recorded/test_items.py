"""What an item keeps of a recording, and what guards would have said of it."""

from __future__ import annotations

import socket
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest

from runs.definitions import Effect
from runs.recorded import toolsets
from runs.recorded.items import Item, items
from runs.recorded.toolsets import Toolsets, WrongToolsets
from runs.recorded.trace import read
from tests.recorded.traces import TOOLSETS, called, message, thought, trace

KNOWN = toolsets.parse(TOOLSETS)


def item(step: dict[str, Any], known: Toolsets = KNOWN, speed: float = 0.0, **more: Any) -> Item:
    return next(items(read(trace(step, **more)), known, speed))


def said(step: dict[str, Any], **more: Any) -> list[tuple[str, str]]:
    return [(one.guard, one.says) for one in item(step, **more).observed]


def test_a_call_that_keeps_its_contract_and_changes_nothing_is_not_remarked_on() -> None:
    one = item(called("find_order", {"order_id": 7}))
    assert (one.observed, one.effect, one.egress, one.acts) == ((), Effect.NONE, False, False)


@pytest.mark.parametrize(
    ("args", "place"),
    [
        ({}, "'order_id' is a required property"),
        ({"order_id": "seven"}, "at order_id: 'seven' is not of type 'integer'"),
        ({"order_id": 7, "invented": True}, "'invented' was unexpected"),
        (None, "the arguments are no JSON object"),
    ],
)
def test_arguments_that_break_the_contract_are_observed_with_their_place(args: Any, place: str) -> None:
    [(guard, says)] = said(called("find_order", args))
    assert guard == "arguments"
    assert place in says


def test_an_irreversible_tool_would_have_asked() -> None:
    assert said(called("cancel_order", {"order_id": 7, "why": "late"})) == [
        ("approval", "would have asked: irreversible tool")
    ]


def test_a_tool_that_reaches_outside_would_have_asked() -> None:
    one = item(called("send_mail", {"to": "you"}))
    assert one.egress
    assert [seen.figure for seen in one.observed] == ["egress"]


def test_a_tool_that_nobody_declared_counts_as_irreversible() -> None:
    one = item(called("anything", {}), toolset=None)
    assert (one.effect, one.egress) == (Effect.IRREVERSIBLE, True)
    assert [seen.figure for seen in one.observed] == ["undeclared"]


@pytest.mark.parametrize("names", [{"toolset": "shop-orders"}, {"toolset": None, "tools": ["find_order"]}])
def test_a_tool_that_the_agent_does_not_have_is_observed(names: dict[str, Any]) -> None:
    [(guard, says)] = said(called("delete_everything", {}), **names)
    assert guard == "unknown tool"
    assert "does not have" in says


def test_two_toolsets_stand_together_by_a_plus_and_an_unknown_part_makes_all_unknown() -> None:
    assert set(KNOWN.of("shop-orders+mail") or {}) == {"find_order", "cancel_order", "send_mail"}
    assert KNOWN.of("shop-orders+cellar") is None
    assert KNOWN.of("") is None


def test_a_contract_never_reaches_out_to_where_its_reference_points() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/schema.json"
        schema = {"type": "object", "properties": {"a": {"$ref": address}}}
        known = toolsets.parse(
            {"s": [{"name": "t", "parameters": schema, "effect": "none", "egress": False}]}
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            asking = threading.Thread(target=lambda: said(called("t", {"a": 1}), known=known, toolset="s"))
            asking.start()
            with pytest.raises(TimeoutError):
                listener.accept()
            asking.join()
    [(guard, says)] = said(called("t", {"a": 1}), known=known, toolset="s")
    assert guard == "arguments"
    assert "cannot be applied" in says


@pytest.mark.parametrize(
    "raw",
    [
        {"s": [{"name": "t", "parameters": {"type": "dict"}}]},
        {"s": [{"name": "t", "parameters": "none"}]},
        {"s": [{"no": "name"}, 5]},
    ],
)
def test_a_declaration_that_cannot_be_used_is_complained_of_and_spoils_nothing(raw: Any) -> None:
    found = toolsets.parse({**raw, **TOOLSETS})
    assert found.complaints
    assert found.of("shop-orders")


@pytest.mark.parametrize("text", ["[]", "{", "7", ""])
def test_a_file_that_is_no_toolsets_is_refused_in_a_sentence(text: str, tmp_path: Path) -> None:
    path = tmp_path / "toolsets.json"
    path.write_text(text)
    with pytest.raises(WrongToolsets) as refused:
        toolsets.load(path)
    assert "toolsets.json" in str(refused.value)


def test_a_node_is_named_after_who_acted() -> None:
    assert item(message("hello")).node == "message"
    assert item(thought("hm")).node == "clerk"
    assert item(called("find_order", {})).node == "find_order"
    assert item(called("t" * 300, {})).node == "t" * 80


@pytest.mark.parametrize(("speed", "pause"), [(0.0, 0.0), (1.0, 3.0), (6.0, 0.5)])
def test_speed_divides_the_recorded_latency(speed: float, pause: float) -> None:
    assert item(thought("hm", latency_s=3.0), speed=speed).pause_s == pause


def test_a_pause_never_outlasts_a_call() -> None:
    assert item(thought("hm", latency_s=4000.0), speed=1.0).pause_s == 90.0


def test_only_the_call_itself_fails_as_a_call() -> None:
    assert item(thought(None, error="503", error_kind="provider")).provider_failed
    assert item(thought(None, error="gone")).provider_failed
    assert not item(thought("Hello", error="odd")).provider_failed
    clumsy = item(thought("find(", error="no such call", error_kind="call"))
    assert not clumsy.provider_failed
    assert [one.guard for one in clumsy.observed] == ["recorded error"]
