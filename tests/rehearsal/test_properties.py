"""Over any histories and limits: what changes nothing differs in nothing, and a stricter value never does less."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runs.limits.kinds import KEYS, Mode
from runs.limits.rows import Row
from runs.rehearsal.drafts import draft
from runs.rehearsal.history import How, PastRetry, PastRun, PastStep
from runs.rehearsal.rehearsing import rehearsed
from tests.rehearsal.histories import at, called, row, run, thought

SLOW = settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=100)
SCOPES = ("", "team:care", "workflow:refunds", "agent:clerk", "run:1")
_seconds = st.integers(0, 300)
_amounts = st.integers(0, 50)


@st.composite
def histories(draw: st.DrawFn) -> list[PastRun]:
    return [draw(past(number)) for number in range(1, draw(st.integers(1, 4)) + 1)]


@st.composite
def past(draw: st.DrawFn, number: int) -> PastRun:
    moments = sorted(draw(st.lists(_seconds, min_size=1, max_size=6)))
    calls = [
        thought(
            second,
            draw(st.none() | _amounts),
            step=place + 1,
            tokens_in=draw(_amounts),
            tokens_out=draw(_amounts),
            ended=at(second + draw(st.integers(0, 60))),
            agent=draw(st.sampled_from(["clerk", "judge"])),
            first=draw(st.booleans()),
        )
        if draw(st.booleans())
        else called(second, step=place + 1)
        for place, second in enumerate(moments)
    ]
    steps = tuple(
        PastStep(number=one.step, begun=one.begun, ended=one.ended, tasks=draw(st.integers(0, 5)), depth=1)
        for one in calls
    )
    return run(
        number,
        *calls,
        begun=at(moments[0]),
        ended=at(moments[-1] + 60),
        how=draw(st.sampled_from(list(How))),
        team=draw(st.sampled_from(["care", "money"])),
        steps=steps,
        retries=tuple(PastRetry(step=1, at=at(one)) for one in moments[:2]),
    )


@st.composite
def limits(draw: st.DrawFn, what: str) -> Row:
    since = draw(st.just(at(-1000)) | _seconds.map(at))
    scope, mode = draw(st.sampled_from(SCOPES)), draw(st.sampled_from(list(Mode)))
    return row(what, draw(st.integers(1, 200)), scope, mode.value, since=since, id=draw(st.integers(1, 99)))


@SLOW
@given(st.data(), histories(), st.sampled_from(sorted(KEYS)))
def test_a_draft_that_changes_nothing_differs_in_nothing(
    data: st.DataObject, runs: list[PastRun], what: str
) -> None:
    beside = data.draw(st.lists(limits(what), max_size=3))
    same = replace(data.draw(limits(what)), since=at(-1000), id=100)
    found, sums = rehearsed(draft(same, old=[same], known=[*beside, same], line=100), runs)
    assert found == []
    assert (sums.stopped, sums.warned, sums.saved.calls, sums.extra_escalations) == (0, 0, 0, 0)


@SLOW
@given(st.data(), histories(), st.sampled_from(sorted(KEYS)), st.integers(1, 200))
def test_a_stricter_value_never_stops_fewer_runs_or_saves_less(
    data: st.DataObject, runs: list[PastRun], what: str, less: int
) -> None:
    beside = data.draw(st.lists(limits(what), max_size=2))
    loose = replace(data.draw(limits(what)), mode=Mode.ENFORCE)
    strict = replace(loose, value=max(1, loose.value - less))
    by_loose, few = rehearsed(draft(loose, known=beside), runs)
    by_strict, more = rehearsed(draft(strict, known=beside), runs)
    stops = {one.run.key for one in by_strict if one.stopped}
    assert {one.run.key for one in by_loose if one.stopped} <= stops
    assert few.saved.calls <= more.saved.calls
    assert few.saved.cost <= more.saved.cost
    assert few.extra_escalations <= more.extra_escalations


@SLOW
@given(st.data(), histories(), st.sampled_from(sorted(KEYS)))
def test_setting_a_limit_frees_nobody_and_ending_one_stops_nobody(
    data: st.DataObject, runs: list[PastRun], what: str
) -> None:
    one = data.draw(limits(what))
    assert rehearsed(draft(one), runs)[1].freed == 0
    ended = rehearsed(draft(None, old=[one], line=1), runs)[1]
    assert (ended.stopped, ended.saved.calls, ended.calls_waiting <= 0) == (0, 0, True)
