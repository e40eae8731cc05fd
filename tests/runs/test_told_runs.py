"""What screens are told of runs: each that changed, once for all that comes together, with its last number."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from typing import Any

import pytest

from runs import live
from tests import patience

Told = list[list[live.Hint]]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    """The messages that would have gone to screens, of this test alone."""
    assert live.flush(patience.SECONDS)
    messages: Told = []
    monkeypatch.setattr(live._Sender, "_tell_screens", lambda self, loop, hints: messages.append(hints))
    live._senders.clear()
    yield messages
    live._senders.clear()


def runs_of(messages: Told) -> list[tuple[int, int]]:
    return [(one["run"], one["seq"]) for hints in messages for _, _, one in hints if one["type"] == "run"]


def test_of_many_changes_that_come_together_each_run_is_told_once_with_its_last_number(told: Told) -> None:
    live.announce_run(7, 1)
    assert live.flush(patience.SECONDS)
    for seq in range(2, 200):
        live.announce_run(7, seq)
        live.announce_run(8, seq)
    assert live.flush(patience.SECONDS)
    assert dict(runs_of(told)) == {7: 199, 8: 199}
    assert len(runs_of(told)) < 20  # some leave while others come
    assert all(sum(1 for _, _, one in hints if one["type"] == "runs") == 1 for hints in told)


def test_more_runs_than_one_message_holds_are_all_told(told: Told) -> None:
    for run in range(2 * live.MOST_AT_ONCE + 1):
        live.announce_run(run, 1)
    assert live.flush(patience.SECONDS)
    assert {run for run, _ in runs_of(told)} == set(range(2 * live.MOST_AT_ONCE + 1))
    assert all(len(hints) <= live.MOST_AT_ONCE + 1 for hints in told)


def test_a_full_queue_keeps_no_later_change_from_being_told(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    live.announce_run(1, 1)
    assert live.flush(patience.SECONDS)
    sender = live._senders["screens"]

    def full(hint: Any) -> None:
        raise queue.Full

    with monkeypatch.context() as patch:
        patch.setattr(sender.hints, "put_nowait", full)
        live.announce_run(2, 1)
    live.announce_run(3, 1)
    assert live.flush(patience.SECONDS)
    assert (3, 1) in runs_of(told)
