"""Policies over a few runs by hand: what would have been asked, ended or waited for, to the unit. No database."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from runs.definitions import Agent
from runs.errors import ErrorClass
from runs.guards.breaking import BreakerRule
from runs.policies import Ask, End, ErrorPolicy, Fallback, Retry
from runs.recorded.trace import read
from runs.rehearsal import breakers, chains, errors, filling
from runs.rehearsal.breakers import PastEnd, Played
from runs.rehearsal.comparing import NOT_ASKED
from runs.rehearsal.departures import Departure, Sums, What
from runs.rehearsal.errors import PastFailure, Then
from runs.rehearsal.filling import PastFull
from runs.rehearsal.history import How, PastRun
from tests.recorded import traces
from tests.rehearsal.histories import asked, at, called, run, thought

# Three turns that failed at 3, 8 and 13 s, tried again each time; a fourth that was good.
TRIED = run(1, thought(1, 10), thought(6, 20), thought(11, 40), thought(16, 80), called(19))
AGAIN = [
    PastFailure(
        step=1, error_class=ErrorClass.RECOVERABLE, at=at(3 + 5 * n), tries=n, left=10 - n, then=Then.AGAIN
    )
    for n in range(3)
]


def tried(
    policy: ErrorPolicy, of: PastRun = TRIED, failures: list[PastFailure] | None = None
) -> Departure | None:
    return errors.departure(of, AGAIN if failures is None else failures, policy)


def test_the_policy_of_then_changes_nothing() -> None:
    assert tried(ErrorPolicy(recoverable=Retry(times=3))) is None


def test_fewer_retries_ask_a_person_earlier_and_lose_the_success() -> None:
    one = tried(ErrorPolicy(recoverable=Retry(times=1)))
    assert one
    assert (one.what, one.step, one.position, one.at) == (What.ASKED, 1, 2, at(8))
    assert one.says == "Step 1, 2. recoverable error: a person is asked where it was tried again."
    assert (one.cards, one.lost) == (1, True)
    # The third and fourth turn and the look after it: 40 + 80, two of 1,000 tokens in and 100 out.
    assert one.as_json()["saved"] == {"calls": 3, "cost_micros": 120, "tokens_in": 2000, "tokens_out": 200}


def test_a_card_that_comes_earlier_is_no_further_one() -> None:
    later = [*AGAIN[:2], PastFailure(**_fields(AGAIN[2]) | {"then": Then.ASKED})]
    asks, ends = (tried(ErrorPolicy(recoverable=last), TRIED, later) for last in (Ask(), End()))
    assert asks
    assert ends
    assert (asks.position, asks.cards, ends.cards) == (1, 0, -1)


def test_a_chain_that_ends_asks_nobody() -> None:
    one = tried(ErrorPolicy(recoverable=Retry(times=2, then=End())))
    assert one
    assert (one.what, one.position, one.cards, one.lost) == (What.ENDED, 3, 0, True)
    assert one.as_json()["saved"]["cost_micros"] == 80


def test_another_model_is_another_way_and_nobody_says_what_comes_of_it() -> None:
    one = tried(ErrorPolicy(recoverable=Retry(times=1, then=Fallback(models=("b",)))))
    assert one
    assert (one.what, one.position, one.lost, one.untold) == (What.OTHERWISE, 2, False, errors.NO_MORE)
    assert one.as_json()["saved"]["calls"] == 0


def test_where_a_person_was_asked_a_further_try_spares_the_card() -> None:
    question = asked(9, 20, number=4)
    parked = run(1, thought(1), thought(6), questions=(question,))
    failures = [AGAIN[0], PastFailure(**_fields(AGAIN[1]) | {"then": Then.ASKED})]
    assert tried(ErrorPolicy(recoverable=Retry(times=1)), parked, failures) is None
    one = tried(ErrorPolicy(recoverable=Retry(times=2)), parked, failures)
    assert one
    assert (one.what, one.cards, one.untold) == (What.TRIED, -1, errors.NO_MORE)
    assert [(other.question.number, other.how) for other in one.decisions] == [(4, NOT_ASKED)]


def test_used_up_retries_and_what_is_not_to_be_tried_again_are_asked_whatever_the_chain() -> None:
    for given in ({"left": 0}, {"ask": True}):
        last = [PastFailure(**_fields(AGAIN[0]) | given | {"then": Then.ASKED})]
        assert tried(ErrorPolicy(recoverable=Retry(times=9)), TRIED, last) is None


def test_a_task_that_ends_leaves_the_others_and_nobody_says_what_they_make_of_it() -> None:
    others = run(1, thought(1, 10), thought(4, 7, step=2), thought(6, 20), questions=(asked(7, 8),))
    one = tried(ErrorPolicy(recoverable=End()), others, [PastFailure(**_fields(AGAIN[0]) | {"task": True})])
    assert one
    assert (one.lost, one.untold, one.decisions) == (None, errors.A_TASK, ())
    assert one.as_json()["saved"]["cost_micros"] == 20, "its own second turn alone"


def test_what_followed_and_is_not_on_record_is_said_and_counts_for_nothing() -> None:
    unknown = [PastFailure(**_fields(AGAIN[0]) | {"then": Then.UNKNOWN})]
    assert tried(ErrorPolicy(recoverable=Ask()), TRIED, unknown) is None
    assert errors.untold(unknown) == errors.NO_END


def test_the_sums_add_up_to_the_unit() -> None:
    sums = Sums()
    policy = ErrorPolicy(recoverable=Retry(times=1))
    other = run(2, thought(1, 5), how=How.FAILED, questions=(asked(2, 3), asked(3, 4)))
    for one, failures in ((TRIED, AGAIN), (other, [])):
        sums.look(one, ours=True)
        found = tried(policy, one, failures)
        if found:
            sums.differs(found)
    sums.look(run(3, questions=(asked(4000, 4001, by="Ines"),)), ours=False)
    told = sums.as_json()
    assert (told["runs"], told["beside"], told["differ"], told["asked"]) == (2, 1, 1, 1)
    assert (told["successes"], told["successes_lost"], told["answered"]) == (1, 1, 2)
    assert (told["operator_hours"], told["extra_escalations_per_operator_hour"]) == (2, 0.5)


def test_of_a_recording_only_the_failures_of_model_calls_are_told() -> None:
    down = traces.thought(None, error="503", error_kind="provider")
    trace = read(traces.trace(down, down, traces.thought("Done."), traces.called("look", {}), down))
    found = errors.of_trace(trace, "clerk", budget=10)
    assert [(one.position, one.tries, one.left, one.then) for one in found] == [
        (1, 0, 10, Then.AGAIN),
        (2, 1, 9, Then.AGAIN),
        (5, 0, 8, Then.UNKNOWN),
    ]
    assert errors.of_trace(trace, "somebody else", budget=10) == []


CLERK = Agent(name="senior", model="simulated/a", prompt="", prompt_version="1")


@pytest.mark.parametrize(
    "words",
    ["ask", "end", "retry 2, ask", "repair 3, end", "retry 1, fallback a/b c/d, another senior, ask"],
)
def test_a_chain_reads_as_it_is_written(words: str) -> None:
    assert chains.words(chains.chain(words, {"senior": CLERK})) == words


@pytest.mark.parametrize(
    "words", ["", "retry 2", "retry, ask", "retry 0, ask", "pray, ask", "another me, ask"]
)
def test_what_is_no_chain_is_refused_with_a_sentence(words: str) -> None:
    with pytest.raises(chains.Unreadable, match=r"is no chain|is no link|is named by no policy"):
        chains.chain(words, {})


# A conversation that grew to 5,000 tokens at its third turn, and was compacted: the call at 9 s.
FULL = run(
    1,
    thought(1, 10),
    thought(5, 20, tokens_in=4000),
    called(9, "compact by secretary"),
    thought(11, 40, tokens_in=800),
    questions=(asked(12, 13, number=7),),
)
PLACE = PastFull(step=1, position=2, at=at(9), size=5000, cap=4500, compacted=True)


def test_asking_instead_of_compacting_stops_there() -> None:
    assert filling.departure(FULL, [PLACE], compacts=True) is None
    one = filling.departure(FULL, [PLACE], compacts=False)
    assert one
    assert (one.what, one.position, one.cards, one.lost) == (What.ASKED, 2, 1, True)
    assert one.says == "Step 1, 5,000 tokens of 4,500: a person is asked."
    assert one.as_json()["saved"] == {"calls": 2, "cost_micros": 40, "tokens_in": 800, "tokens_out": 100}
    assert [other.question.number for other in one.decisions] == [7]


def test_compacting_instead_of_asking_spares_the_card_and_nobody_says_what_the_summary_had_been() -> None:
    place = PastFull(step=1, position=3, at=at(12), size=5000, cap=4500, asked=at(12))
    assert filling.departure(FULL, [place], compacts=False) is None
    one = filling.departure(FULL, [place], compacts=True)
    assert one
    assert (one.what, one.cards, one.lost, one.untold) == (What.TRIED, -1, False, filling.NO_SUMMARY)
    assert [other.question.number for other in one.decisions] == [7]


def test_what_an_agent_was_given_is_never_compacted() -> None:
    place = PastFull(step=1, position=0, at=at(1), size=5000, cap=4500, more=False, asked=at(12))
    assert filling.departure(FULL, [place], compacts=True) is None


def test_at_another_limit_the_first_crossing_of_each_step_counts() -> None:
    found = list(filling.places(FULL, "clerk", 900))
    assert [(one.position, one.size, one.more) for one in found] == [(0, 1000, False)]
    assert [(one.position, one.more) for one in filling.places(FULL, "clerk", 3999)] == [(1, True)]
    one = filling.departure(FULL, filling.places(FULL, "clerk", 3999), compacts=True)
    assert one
    assert (one.what, one.cards, one.as_json()["saved"]["calls"]) == (What.TRIED, 0, 0)
    asks = filling.departure(FULL, filling.places(FULL, "clerk", 3999), compacts=False)
    assert asks
    assert (asks.what, asks.position, asks.as_json()["saved"]["calls"]) == (What.ASKED, 1, 3)


# Calls of one model, two seconds each, a second apart from their ends; which failed, by place.
def calls(*failing: int, count: int = 10, **given: Any) -> list[PastEnd]:
    return [
        PastEnd(
            key="run 1",
            place=n,
            call=thought(3 * n, 10),
            its=n in failing,
            latency_ms=given.get("latency", 2000),
        )
        for n in range(count)
    ]


def played(rule: BreakerRule, ends: list[PastEnd], only: breakers.Name | None = ("model", "")) -> Played:
    one = Played(rule=rule, only=only)
    for end in ends:
        one.feed(end)
    return one.over()


STRICT = BreakerRule(consecutive=2, open_seconds=10)
LOOSE = BreakerRule(consecutive=5, open_seconds=10)


def test_it_opens_at_its_threshold_and_what_begins_meanwhile_waits() -> None:
    # The first two fail; the second ends at 5 s: open until 15 s. Calls at 6, 9, 12 wait 9, 6 and 3 s; the one at 15 is
    # the probe, it is good, and those after it pass.
    found = played(STRICT, calls(0, 1, 2))
    assert [(one.name, one.at, one.until) for one in found.openings] == [
        (("model", "openai/small"), at(5), at(15))
    ]
    assert found.openings[0].why == "2 failures in a row (limit 2)"
    assert [(one.end.place, one.waited) for one in found.waiting] == [(2, 9000), (3, 6000), (4, 3000)]
    assert played(LOOSE, calls(0, 1, 2)).openings == []


def test_a_probe_that_fails_opens_it_for_twice_the_time() -> None:
    found = played(STRICT, calls(0, 1, 5))
    assert [(one.at, one.until) for one in found.openings] == [(at(5), at(15)), (at(17), at(37))]
    assert [one.end.place for one in found.waiting] == [2, 3, 4, 6, 7, 8, 9]


def test_a_good_probe_closes_it_and_one_failure_later_is_no_second_opening() -> None:
    assert [one.at for one in played(STRICT, calls(0, 1, 7)).openings] == [at(5)]


def test_a_share_counts_once_there_are_enough_and_slow_calls_have_their_own() -> None:
    share = BreakerRule(consecutive=100, ratio=50, least=4)
    assert [one.at for one in played(share, calls(1, 3)).openings] == [at(11)]
    assert played(BreakerRule(consecutive=100, ratio=50, least=5), calls(1, 3)).openings == []
    slow = BreakerRule(consecutive=100, slow_ms=1999, slow_ratio=80, least=4)
    assert [one.at for one in played(slow, calls()).openings] == [at(11)]
    assert played(BreakerRule(consecutive=100, slow_ms=2000, least=4), calls()).openings == []


def test_tries_of_an_agent_are_slow_by_what_their_calls_took_together() -> None:
    """Two calls a try, of two seconds each: the second makes it slow, unless it counts against the model."""

    def of_agents(**given: int) -> list[datetime]:
        rule = BreakerRule(**{"consecutive": 100, "slow_ratio": 80, "least": 3, "try_slow_ms": 3999} | given)
        ends = [replace(one, attempt=one.place // 2) for one in calls()]
        return [one.at for one in played(rule, ends, only=("agent", "")).openings]

    assert of_agents() == [at(17)], "the third try has its second call then"
    assert of_agents(try_slow_ms=4000) == []
    assert of_agents(try_slow_ms=0) == []
    assert of_agents(slow_ms=1999) == [], "slow calls are their model's"
    assert played(BreakerRule(least=3, try_slow_ms=1), calls(), only=("agent", "")).openings == []


def test_the_window_forgets() -> None:
    rule = BreakerRule(consecutive=100, ratio=60, least=2, window=4)
    assert [one.at for one in played(rule, calls(3, 4)).openings] == [at(14)]
    assert played(BreakerRule(consecutive=100, ratio=60, least=2, window=60), calls(3, 4)).openings == []


def test_another_breaker_than_the_one_that_was_asked_about_stays_out_of_it() -> None:
    assert played(STRICT, calls(0, 1), ("model", "other")).openings == []
    assert played(STRICT, calls(0, 1), ("tool", "")).openings == []
    assert len(played(STRICT, calls(0, 1), None).openings) == 1, "the agent is not to blame"


def test_a_run_is_told_with_what_waits_what_is_spared_and_what_would_not_have_been_asked() -> None:
    ends = calls(0, 1, 2)
    parked = run(1, *[one.call for one in ends], questions=(asked(9, 20, number=3), asked(16, 30, number=4)))
    before, after = played(LOOSE, ends).waiting, played(STRICT, ends).waiting
    one = breakers.departure(parked, before, after)
    assert one
    assert (one.what, one.position, one.at, one.waiting, one.failing) == (What.WAITS, 2, at(6), 3, 1)
    assert (one.waited, one.longest, one.cards, one.lost) == (18_000, 9000, -1, False)
    assert [other.question.number for other in one.decisions] == [3], "the failed call would have waited then"
    assert one.as_json()["saved"] == {"calls": 1, "cost_micros": 10, "tokens_in": 1000, "tokens_out": 100}
    assert breakers.departure(parked, after, after) is None


def _fields(one: PastFailure) -> dict[str, Any]:
    return {name: getattr(one, name) for name in PastFailure.__dataclass_fields__}
