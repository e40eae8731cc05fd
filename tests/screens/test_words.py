"""What happened, in the words of pages: attempts, tasks, values."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from runs.canonical import canonical
from runs.engine import edits
from runs.models import Attempt, AttemptState
from runs.shown import words
from runs.shown.values import WIDTH, laid_out
from runs.templatetags.console import in_lines, rows_for

_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("state", "error_class", "rejected", "said"),
    [
        (AttemptState.BROKEN, "data", "d", "contract broken"),
        (AttemptState.BROKEN, "data", None, "data error"),
        (AttemptState.FAILED, "recoverable", None, "recoverable error"),
        (AttemptState.FAILED, "", None, "failed"),
        (AttemptState.ASKED, "", None, "asked a person"),
        (AttemptState.CUT, "", None, "cut by a control"),
    ],
)
def test_only_a_refused_output_is_called_a_broken_contract(
    state: AttemptState, error_class: str, rejected: str | None, said: str
) -> None:
    attempt = Attempt(state=state, error_class=error_class, rejected_output_id=rejected)
    assert words.of_attempt(attempt) == said


@pytest.mark.parametrize(
    ("task", "name"),
    [
        ({"name": "python-dateutil", "allowed": ["MIT"]}, "python-dateutil"),
        ({"amount": 12, "kind": "refund", "title": "Order 10-88213"}, "Order 10-88213"),
        ({"amount": 12, "kind": "refund"}, "refund"),
        ({"number": 7, "deep": {"more": [1]}}, "7"),
        ({"name": "", "kind": "refund"}, "refund"),
        ({"text": 'two "words"\nand a line'}, 'two "words" and a line'),
        ({"items": []}, ""),
        ({}, ""),
    ],
)
def test_a_task_is_named_after_what_tells_it_from_the_others(task: dict[str, object], name: str) -> None:
    assert words.of_task(canonical(task)) == name


def test_a_long_name_is_cut_and_a_cut_input_still_names_the_task() -> None:
    whole = canonical({"question": "why " * 2000})
    for length in (words.HEAD, 20, 16):
        name = words.of_task(whole[:length])
        assert name.startswith("why")
        assert len(name) <= words.LONGEST


@given(_values, st.integers(min_value=0, max_value=200))
def test_any_input_cut_anywhere_names_its_task_in_one_short_line_or_not_at_all(
    value: object, at: int
) -> None:
    name = words.of_task(json.dumps(value, ensure_ascii=False, separators=(",", ":"))[:at])
    assert len(name) <= words.LONGEST
    assert len(name.splitlines()) <= 1


@given(_values)
def test_a_value_laid_out_is_still_the_same_value(value: object) -> None:
    assert json.loads(laid_out(value)) == json.loads(json.dumps(value))


def test_what_fits_stands_on_one_line_and_no_line_is_longer_than_its_texts_ask_for() -> None:
    checks = [
        {"ok": True, "title": f"check {number}", "details": [["Total", "14,736.00"]]} for number in range(9)
    ]
    lines = laid_out({"checks": checks}).splitlines()
    assert len(lines) == 4 + len(checks)
    assert max(map(len, lines)) <= WIDTH + 1  # the comma


class _Order(BaseModel):
    vat_id: str
    amount: int = Field(title="Amount in cents")


def test_a_form_asks_with_the_title_that_the_contract_states_else_with_the_fields_name_as_words() -> None:
    assert [one.label for one in edits.form_fields(_Order, {})] == ["vat id", "Amount in cents"]


@given(_values)
def test_json_in_a_box_is_the_same_value_in_fewer_lines(value: object) -> None:
    written = json.dumps(value, indent=1, ensure_ascii=False)
    laid = in_lines(written)
    assert json.loads(laid) == json.loads(written)
    assert laid.count("\n") <= written.count("\n")


@pytest.mark.parametrize("text", ["", "[1, 2", "no JSON", "[" * 100_000, "[1e400]", "[1.10]", "[NaN]"])
def test_what_is_not_json_stays_as_it_was_written(text: str) -> None:
    assert in_lines(text) == text


def test_a_box_has_the_rows_of_its_text_within_bounds() -> None:
    assert rows_for("") == 3
    assert rows_for("\n".join("line" for _ in range(8))) == 9
    assert rows_for("word " * 100) == 8  # five hundred letters in lines of eighty
    assert rows_for("line\n" * 1000) == 20
