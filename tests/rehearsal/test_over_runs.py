"""Limits that count over many runs: sums of an hour or a day, rates and calls at once, by hand to the unit."""

from __future__ import annotations

from typing import Any

from runs.limits.rows import Row
from runs.rehearsal.comparing import Difference
from runs.rehearsal.drafts import draft
from runs.rehearsal.history import PastRun
from runs.rehearsal.rehearsing import rehearsed
from tests.rehearsal.histories import at, called, row, run, thought

HOUR = 3600.0


def tried(new: Row, *runs: PastRun, beside: tuple[Row, ...] = ()) -> dict[int, Difference]:
    found, _ = rehearsed(draft(new, known=beside), runs)
    return {one.run.number or 0: one for one in found}


def begun(number: int, *calls: Any, **given: Any) -> PastRun:
    return run(number, *calls, begun=calls[0].begun, **given)


def test_an_hours_cost_stops_whoever_comes_when_it_is_used_up() -> None:
    early = begun(1, thought(0, 300), thought(100, 300), thought(HOUR + 1, 300))
    other = begun(2, thought(50, 300), thought(200, 10))
    found = tried(row("cost/hour", 650), early, other)
    # 300 of run 1, 600 with run 2, 900 with run 1 again: stopped there. The next hour begins at nothing.
    assert (found[1].stopped.position, found[1].stopped.value) == (1, 900)  # type: ignore[union-attr]
    assert found[1].saved.cost == 600
    assert (found[2].stopped.position, found[2].stopped.value) == (1, 910)  # type: ignore[union-attr]
    assert tried(row("cost/hour", 910), early, other) == {}


def test_a_day_and_a_month_are_those_of_the_calendar_in_utc() -> None:
    night = begun(1, thought(0, 400), thought(15 * HOUR - 1, 400), thought(15 * HOUR, 400))
    assert tried(row("cost/day", 799), night)[1].saved.cost == 800
    assert tried(row("cost/day", 800), night) == {}
    assert tried(row("cost/month", 1199), night)[1].stopped.position == 2  # type: ignore[union-attr]


def test_a_sum_counts_only_what_its_scope_covers() -> None:
    mine = begun(1, thought(0, 500))
    others = begun(2, thought(1, 500), team="money", workflow="invoices")
    assert tried(row("cost/day", 900, "team:money"), mine, others) == {}
    assert list(tried(row("cost/day", 900), mine, others)) == [2]
    assert list(tried(row("cost/day", 499, "workflow:invoices"), mine, others)) == [2]


def test_requests_of_a_minute_wait_until_sixty_seconds_have_passed() -> None:
    busy = begun(1, thought(0), thought(10), thought(20), thought(30))
    found = tried(row("requests/minute", 2), busy)[1]
    # The third goes at 60 instead of 20, the fourth at 70 instead of 30.
    assert (found.stopped, found.waiting, found.waited, found.longest) == (None, 2, 80_000, 40_000)
    assert found.why == "2 more calls wait, the longest for 40 s."
    assert tried(row("requests/minute", 4), busy) == {}
    beside = (row("requests/minute", 3, id=5),)  # there the fourth waited 30 s already
    assert (tried(row("requests/minute", 2), busy, beside=beside)[1].waited) == 80_000 - 30_000


def test_tokens_of_a_minute_wait_and_what_is_more_than_all_of_them_never_goes() -> None:
    busy = begun(1, thought(0), thought(10), thought(20, tokens_in=2000))  # 1100, 1100, 2100 tokens
    found = tried(row("tokens/minute", 2200), busy)[1]
    # The third goes when both before it are past: at 70 instead of 20.
    assert (found.waiting, found.waited) == (1, 50_000)
    stopped = tried(row("tokens/minute", 2000), busy)[1]
    assert stopped.stopped
    assert (stopped.stopped.position, stopped.stopped.value, stopped.saved.tokens) == (2, 2100, 2100)


def test_calls_at_once_wait_for_one_that_ends() -> None:
    one = begun(1, thought(0, ended=at(10)), thought(12, ended=at(13)))
    two = begun(2, thought(4, ended=at(9)), thought(5, ended=at(6)), called(5))
    found = tried(row("concurrency", 1), one, two)
    # Run 2's first call goes at 10 and ends at 15, its second goes at 15 and ends at 16; run 1's second at 16.
    assert (found[2].waiting, found[2].waited) == (2, 6_000 + 10_000)
    assert (found[1].waiting, found[1].waited) == (1, 4_000)
    assert tried(row("concurrency", 3), one, two) == {}
    assert tried(row("concurrency", 1, "tool:look"), one, two) == {}, (
        "a tool has its own where a limit names it"
    )


def test_a_rate_that_warns_holds_nobody_up() -> None:
    busy = begun(1, thought(0), thought(10), thought(20))
    found = tried(row("requests/minute", 2, mode="warn"), busy)[1]
    assert (found.waiting, found.warned is not None, found.stopped) == (0, True, None)


def test_runs_without_moments_are_left_out_and_said() -> None:
    played = run(1, thought(0, 900), timed=False)
    found, sums = rehearsed(draft(row("cost/day", 1)), [played])
    assert (found, list(sums.untold.values())) == ([], [1])
