"""Thresholds of breakers over calls that were: whether they open is `runs.guards.breaking`, asked again of every end.

Pure. Two rules are played over the same record, in the order of its moments: the one in the settings, and the draft. A
call that begins while its breaker is open waits until it lets a probe pass, and what it came to counts for no breaker.
The probe is the first call that really was begun after that time: what a waiting one would have met is on no record.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from runs.guards.breaking import BreakerRule, Ended, makes_late, open_for, opens, own_ms
from runs.rehearsal.comparing import NOT_ASKED, OtherDecision
from runs.rehearsal.crossings import milliseconds
from runs.rehearsal.departures import Departure, What
from runs.rehearsal.history import PastCall, PastRun

LAST = 100  # ends that are looked at, as online
AFTER = "What calls that wait would have met later is not on record, nor whether a fallback would have gone on at once."
Name = tuple[str, str]  # "model", "tool" or "agent", and what it is called


@dataclass(frozen=True, slots=True, kw_only=True)
class PastEnd:
    """A call with how it ended, as breakers look at it. `its`: a failure that a model or tool is to blame for;
    `agents`: one that its agent is. `cut`: ended from our side, which says nothing. Both moments are known."""

    key: str
    place: int
    call: PastCall
    its: bool = False
    agents: bool = False
    cut: bool = False
    latency_ms: int | None = None
    attempt: int | None = None  # of an agent; traces have none

    @property
    def names(self) -> tuple[Name, ...]:
        call = self.call
        return (
            (("model", call.model), ("agent", call.agent)) if call.kind == "model" else (("tool", call.tool),)
        )

    def counted(self, kind: str, rule: BreakerRule, *, inside: bool = True) -> Ended:
        """As a breaker of that kind counts it. How long one answer takes is the model's, not its agent's."""
        if kind != "agent":
            return Ended(failed=self.its, latency_ms=self.latency_ms, inside=inside)
        if not rule.try_slow_ms:
            return Ended(failed=self.agents, inside=inside)
        own = None if self.cut else own_ms(rule, self.latency_ms, others=self.its)
        return Ended(failed=self.agents, latency_ms=own, of_try=self.attempt, inside=inside)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """A breaker that opened: when, why, and when it would have let a probe pass."""

    name: Name
    at: datetime
    why: str
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A call that would have waited, and until when at least."""

    end: PastEnd
    name: Name
    until: datetime

    @property
    def waited(self) -> int:
        assert self.end.call.begun is not None, "only calls with moments are played"
        return milliseconds(self.until - self.end.call.begun)


@dataclass(slots=True, kw_only=True)
class _State:
    ends: deque[PastEnd] = field(default_factory=lambda: deque(maxlen=10 * LAST))
    opens: int = 0
    until: datetime | None = None  # open until then; None: closed
    probe: int | None = None  # half-open: which call passes


@dataclass(slots=True, kw_only=True)
class Played:
    """One rule over a record."""

    rule: BreakerRule
    only: Name | None = None  # one breaker alone; an empty name: all of its kind
    openings: list[Opening] = field(default_factory=list)
    waiting: list[Waiting] = field(default_factory=list)
    _states: dict[Name, _State] = field(default_factory=dict)
    _under_way: list[tuple[datetime, int, PastEnd]] = field(default_factory=list)
    _fed: int = 0

    def feed(self, one: PastEnd) -> None:
        """The next call, in the order of beginnings; one without both moments counts nothing."""
        begun, ended = one.call.begun, one.call.ended
        if begun is None or ended is None:
            return
        self._end_all(begun)
        self._fed += 1
        if self._passes(self._fed, one, begun):
            heapq.heappush(self._under_way, (ended, self._fed, one))

    def over(self) -> Played:
        """Nothing more comes: what is under way ends."""
        self._end_all(None)
        return self

    def _end_all(self, until: datetime | None) -> None:
        while self._under_way and (until is None or self._under_way[0][0] <= until):
            moment, number, one = heapq.heappop(self._under_way)
            self._ended(number, one, moment)

    def _mine(self, one: PastEnd) -> Iterator[tuple[Name, _State]]:
        for name in one.names:
            if self.only is None or (name[0] == self.only[0] and self.only[1] in ("", name[1])):
                yield name, self._states.setdefault(name, _State())

    def _passes(self, number: int, one: PastEnd, begun: datetime) -> bool:
        mine = list(self._mine(one))
        for name, state in mine:
            if state.until is not None and (begun < state.until or state.probe is not None):
                self.waiting.append(Waiting(end=one, name=name, until=max(begun, state.until)))
                return False
        for _, state in mine:
            if state.until is not None:
                state.probe = number
        return True

    def _ended(self, number: int, one: PastEnd, moment: datetime) -> None:
        for name, state in self._mine(one):
            counted = one.counted(name[0], self.rule)
            earlier = () if state.probe == number else state.ends  # a probe counts by itself
            held = counted.failed or self._is_slow(name[0], counted, earlier)
            if not one.cut:
                state.ends.append(one)
            if state.probe == number:
                state.probe = None
                if one.cut or (name[0] == "agent" and one.its):
                    continue  # it says nothing: another may pass at once
                if held:
                    self._open(name, state, moment, "its probe failed or was slow")
                else:
                    state.until, state.opens = None, 0
            elif held and (state.until is None or state.probe is not None):
                why = opens(self.rule, self._last(name, state, moment))
                if why:
                    self._open(name, state, moment, why)

    def _is_slow(self, kind: str, counted: Ended, earlier: Iterable[PastEnd]) -> bool:
        latency = counted.latency_ms
        if kind != "agent":
            return latency is not None and latency > self.rule.slow_ms
        if counted.of_try is None:
            return False
        same = [one for one in earlier if one.attempt == counted.of_try]
        return makes_late(self.rule, [one.counted(kind, self.rule).latency_ms for one in same], latency)

    def _last(self, name: Name, state: _State, moment: datetime) -> list[Ended]:
        """Newest first by when they were permitted, and whether within the window."""
        window = moment - timedelta(seconds=self.rule.window)
        ends = sorted(state.ends, key=lambda one: (one.call.begun, one.place), reverse=True)[:LAST]
        return [
            one.counted(name[0], self.rule, inside=one.call.ended > window)
            for one in ends
            if one.call.ended is not None
        ]

    def _open(self, name: Name, state: _State, moment: datetime, why: str) -> None:
        state.opens += 1
        state.probe = None
        state.until = moment + timedelta(seconds=open_for(self.rule, state.opens))
        self.openings.append(Opening(name=name, at=moment, why=why, until=state.until))


def departure(run: PastRun, now: Iterable[Waiting], draft: Iterable[Waiting]) -> Departure | None:
    """What waits of a run with the draft, beside what waits with the settings; both of this run alone."""
    before, after = list(now), list(draft)
    if [(one.end.place, one.until) for one in before] == [(one.end.place, one.until) for one in after]:
        return None
    first = (after or before)[0]
    failing = [one for one in after if one.end.its or one.end.agents]
    known = {one.end.place for one in before}
    spared = [one for one in failing if one.end.place not in known]
    decisions = tuple(_not_asked(run, spared))
    says = f"{len(after)} calls wait for {first.name[0]} {first.name[1]}, {len(failing)} of which failed then"
    if before:
        says += f"; {len(before)} with the settings of now"
    return Departure(
        run=run,
        what=What.WAITS,
        step=first.end.call.step,
        position=run.position_at(first.end.call.begun),
        at=first.end.call.begun,
        says=f"{says}.",
        not_made=tuple(one.end.call for one in spared),
        cards=-len(decisions),
        decisions=decisions,
        waiting=len(after) - len(before),
        failing=len(failing) - sum(one.end.its or one.end.agents for one in before),
        waited=sum(one.waited for one in after) - sum(one.waited for one in before),
        longest=max((one.waited for one in after), default=0),
        untold=AFTER if after else "",
    )


def _not_asked(run: PastRun, spared: list[Waiting]) -> Iterator[OtherDecision]:
    """Answers to what was asked while such a call would still have waited, after it had failed."""
    for question in run.questions:
        if question.answered is None:
            continue
        for one in spared:
            ended = one.end.call.ended
            if ended is not None and ended <= question.asked < one.until:
                yield OtherDecision(question=question, how=NOT_ASKED)
                break
