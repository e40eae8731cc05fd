"""The pure half of a provider's errors: what class, what words, how long to wait."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runs.agents.faults import LONGEST_WAIT, LONGEST_WORDS, Fault, Kind, error_of, retry_after
from runs.errors import ErrorClass, StepError, classify

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


def told(fault: Fault) -> StepError:
    return error_of(fault, provider="local", setting="MODEL_KEY_LOCAL", now=NOW)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "120"}, 120.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "Sat, 21 Nov 2026 12:01:30 GMT"}, 90.0),
        ({"retry-after": "Sat, 21 Nov 2026 11:00:00 GMT"}, 0.0),
        ({"retry-after": "-5"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "1e400"}, None),
        ({"retry-after": "999999999999"}, LONGEST_WAIT),
        ({"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"}, LONGEST_WAIT),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
    ],
)
def test_retry_after_is_read_in_all_its_forms(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, NOW) == seconds


@given(st.dictionaries(st.sampled_from(["retry-after", "retry-after-ms"]), st.text(max_size=40)))
def test_whatever_stands_in_retry_after_is_a_time_or_nothing(headers: dict[str, str]) -> None:
    seconds = retry_after(headers, NOW)
    assert seconds is None or 0.0 <= seconds <= LONGEST_WAIT


@given(
    st.sampled_from(Kind), st.integers(300, 599), st.text(max_size=60), st.text(max_size=2000), st.booleans()
)
def test_every_fault_has_a_class_and_a_short_sentence(
    kind: Kind, status: int, code: str, words: str, waits: bool
) -> None:
    headers = {"retry-after": "1"} if waits else {}
    wrong = told(Fault(kind=kind, status=status, code=code, words=words, headers=headers))
    assert classify(wrong) in ErrorClass
    assert wrong.message.startswith(("local", "The model at local", "The reply from local"))
    assert len(wrong.message) < LONGEST_WORDS + 200
    assert "\n" not in wrong.message


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (307, ErrorClass.UNFORESEEN),
        (400, ErrorClass.DATA),
        (401, ErrorClass.UNFORESEEN),
        (402, ErrorClass.UNFORESEEN),
        (403, ErrorClass.UNFORESEEN),
        (404, ErrorClass.DATA),
        (408, ErrorClass.RECOVERABLE),
        (409, ErrorClass.RECOVERABLE),
        (413, ErrorClass.DATA),
        (422, ErrorClass.DATA),
        (429, ErrorClass.RECOVERABLE),
        (500, ErrorClass.RECOVERABLE),
        (503, ErrorClass.RECOVERABLE),
        (504, ErrorClass.RECOVERABLE),
        (529, ErrorClass.RECOVERABLE),
    ],
)
def test_each_status_has_its_class(status: int, expected: ErrorClass) -> None:
    assert classify(told(Fault(kind=Kind.STATUS, status=status))) == expected


def test_a_rate_limit_that_mentions_billing_is_still_only_a_rate_limit() -> None:
    words = "You exceeded your current quota, please check your plan and billing details."
    assert classify(told(Fault(kind=Kind.STATUS, status=429, words=words))) == ErrorClass.RECOVERABLE
