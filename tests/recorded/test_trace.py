"""What a line of `trace/1` must promise, what it may leave out, and what never gets past the door."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from runs.canonical import canonical
from runs.recorded import items
from runs.recorded import trace as contract
from runs.recorded.toolsets import Toolsets
from runs.recorded.trace import LONGEST_TEXT, BadTrace, read
from tests.recorded.traces import called, conversation, message, thought, trace


def test_every_item_and_total_of_a_good_line_is_read() -> None:
    line = conversation()
    read_ = read(line)
    wanted = {name: line["totals"][name] for name in contract.totals(read_)}
    assert contract.totals(read_) == wanted
    assert [item.kind for item in read_.items] == [step["kind"] for step in line["steps"]]


def test_what_says_how_well_it_went_never_gets_past_the_door() -> None:
    """Also under names that nobody has thought of: only what is named is kept."""
    line = conversation(verdict="SECRET", outcome={"success": True, "labels": ["SECRET"]})
    for step in line["steps"]:
        step |= {"labels": {"decisive_mistake": "SECRET"}, "judged": "SECRET"}
    read_ = read(line)
    kept = canonical(read_) + "".join(canonical(one) for one in items.items(read_, Toolsets(), 0.0))
    assert "SECRET" not in kept
    assert "labels" not in kept
    assert "outcome" not in kept


def test_the_digest_names_what_was_recorded_and_not_how_it_was_judged() -> None:
    one, other, third = conversation(), conversation(outcome=None), conversation(goal="Something else.")
    assert read(one).digest == read(other).digest
    assert read(one).digest != read(third).digest


def _with(**more: Any) -> dict[str, Any]:
    return conversation() | more


def _step(place: int, **more: Any) -> dict[str, Any]:
    line = copy.deepcopy(conversation())
    line["steps"][place] |= more
    return line


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (17, "not a JSON object"),
        ([], "not a JSON object"),
        (_with(schema="trace/2"), "trace/1"),
        (_with(schema=None), "trace/1"),
        (_with(run_id=None), "run_id"),
        (_with(run_id=""), "run_id"),
        (_with(run_id="x" * 201), "run_id"),
        (_with(run_id="a\x00b"), "can be seen"),
        (_with(run_id=7), "run_id"),
        (_with(steps=None), "steps"),
        (_with(steps=[]), "steps"),
        (_with(steps=[1]), "no object"),
        (_step(2, kind="banana"), "steps.2.kind"),
        (_step(2, kind=None), "steps.2.kind"),
        (_step(2, index=7), "steps.2.index is 7"),
        (_step(1, tokens_in=-1), "steps.1.tokens_in"),
        (_step(1, tokens_in=10**30), "steps.1.tokens_in"),
        (_step(1, tokens_in="many"), "steps.1.tokens_in"),
        (_step(1, tokens_out=True), "steps.1.tokens_out"),
        (_step(1, tokens_in=101), "its totals say tokens_in 250, its steps have 251"),
        (_with(totals=conversation()["totals"] | {"steps": 9}), "its totals say steps 9"),
        (_with(totals=conversation()["totals"] | {"tool_errors": 3}), "tool_errors 3"),
    ],
)
def test_a_line_that_breaks_a_promise_is_refused_with_the_place(line: Any, says: str) -> None:
    with pytest.raises(BadTrace) as refused:
        read(line)
    assert says in str(refused.value)
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize(
    "line",
    [
        _with(model=None, goal=None, agents=None, tools=None, toolset=None, domain=None, source=None),
        _with(totals=None),
        _with(totals={"steps": "six", "tokens_in": []}),
        _with(workflow=None),
        _with(agents=["clerk", None, {"name": None, "role": 5}], tools=[None, 3]),
        _step(0, index=None, turn="first", context_tokens=10**40, output_chars=-3, ts=12.5),
        _step(1, latency_s=float("inf"), model=None, output=None, tokens_source=None),
        _step(1, latency_s="slow", output={"not": "a text"}),
        _step(2, tool=None, args=None, args_raw="find_order(7"),
        _step(2, args=["a", "list"]),
        _step(2, args={"deep": json.loads("[" * 400 + "]" * 400)}),
        _step(2, args={"amount": float("nan"), "other": float("inf")}),
        _step(2, args={"large": 10**400}),
        _step(2, args={"text": "a\x00b\ud800", "k\x00ey\ud801": 1}),
        _step(2, agent=None, error=None, error_kind=None),
        _step(3, output="\ud800 alone, \x00 and \u202e turned"),
        _step(3, output="x" * 5_000_000),
    ],
)
def test_what_the_format_does_not_promise_may_be_anything(line: Any) -> None:
    """Every item of it can be stored: canonical JSON without NUL or lone surrogates, read back the same."""
    read_ = read(line)
    for item in items.items(read_, Toolsets(), 1.0):
        text = canonical(item)
        assert "\x00" not in text
        assert len(text.encode()) < 3 * LONGEST_TEXT
        assert items.Item.model_validate_json(text) == item
    assert canonical(items.recording(read_, 0.0)).encode()


def test_arguments_that_are_no_object_are_kept_as_the_text_they_were() -> None:
    odd = read(_step(2, args=["a", 1])).items[2]
    assert (odd.args, odd.args_raw) == (None, '["a", 1]')


def test_a_huge_text_keeps_its_head_and_its_tail() -> None:
    kept = read(_step(3, output="head" + "x" * 5_000_000 + "tail")).items[3].output or ""
    assert kept.startswith("head")
    assert kept.endswith("tail")
    assert "…[cut]…" in kept


@pytest.mark.parametrize("name", ["a/b?c#d\x00\n", "w" * 500, "  ", "ünïcode 名前"])
def test_any_workflow_name_becomes_one_that_fits_lists_and_addresses(name: str) -> None:
    made = read(_with(workflow=name)).workflow
    assert 0 < len(made) <= contract.LONGEST_WORKFLOW
    assert made.isprintable()
    assert not set("/?#") & set(made)


def test_names_that_are_cut_stay_different() -> None:
    one, other = (read(_with(workflow="w" * 100 + tail)).workflow for tail in ("a", "b"))
    assert one != other


def test_a_line_may_have_a_thousand_items() -> None:
    line = trace(message("go"), *(thought(f"step {n}") for n in range(1500)))
    assert len(read(line).items) == 1501


def test_an_error_without_words_is_an_error_by_its_kind() -> None:
    line = trace(called("run_code", {}, error="", error_kind="exitcode"))
    assert read(line).items[0].failed
