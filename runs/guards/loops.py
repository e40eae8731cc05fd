"""A run that goes round: the same calls with the same answers, the same messages, the same instructions again.

What counts is whether anything new came in between. A call with an answer that was not there before is new, however
often it was made: polling that advances, pages and batches are no loops. Looks at one run; refuses nothing.

Occurrences are counted since the last new thing, and what was new counts as the first. So a circle of any length is
found in its third round, a short one (MOST_PERIOD) as soon as its first member comes the third time, and what was seen
a while ago and is merely looked up again is no loop. Where a call is put to a peer, what it says next is the answer.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from runs.guards import likeness
from runs.guards.findings import Finding, Guard, Limits
from runs.guards.likeness import Words

MOST_PERIOD = 4  # calls of a circle that is counted from its first round on
MOST_TEXTS = 24  # that are remembered to compare with
MOST_ASKED = 12  # instructions
REWORDED = 0.7  # share of words that makes an instruction the same one
ROUND = "round"


@dataclass(slots=True, kw_only=True)
class _Text:
    agent: str
    words: Words
    step: int
    number: int  # several texts may be of one step


@dataclass(slots=True, kw_only=True)
class _Circles:
    """Calls that come again in exactly the order in which they came before, by the length of the circle."""

    _last: deque[int] = field(default_factory=lambda: deque(maxlen=MOST_PERIOD))
    _alike: tuple[int, ...] = (0,) * MOST_PERIOD  # calls in a row that were made a period before, by period

    def add(self, seen: int) -> None:
        self._alike = self._with(seen)
        self._last.append(seen)

    def begin(self) -> None:
        """Somebody told something: what comes again is counted anew. What came before may be its first round."""
        self._alike = (0,) * MOST_PERIOD

    def rounds(self, seen: int) -> tuple[int, int]:
        """How often this comes in a circle when it comes now, and the length of the circle; 0 when in none."""
        alike = enumerate(self._with(seen), start=1)
        found = [(2 + (count - 1) // period, -period) for period, count in alike if count]
        count, period = max(found, default=(0, 0))
        return count, -period

    def _with(self, seen: int) -> tuple[int, ...]:
        last = self._last
        return tuple(
            count + 1 if len(last) >= period and last[-period] == seen else 0
            for period, count in enumerate(self._alike, start=1)
        )


@dataclass(slots=True, kw_only=True)
class _Put:
    """A call that has no answer of its own yet: it may have been put to a peer."""

    seen: int
    agent: str
    key: str
    words: Words


@dataclass(slots=True, kw_only=True)
class Loops:
    """Fed with what was called, said and heard; each returns at most one finding. One finding a loop."""

    limits: Limits = field(default_factory=Limits)
    _seen: set[int] = field(default_factory=set)  # calls with their answers
    _last: dict[int, int] = field(default_factory=dict)  # what was asked for -> what was seen last
    _again: Counter[int] = field(default_factory=Counter)  # calls since the last new thing, by what was seen
    _stale: int = 0  # calls in a row that brought nothing new
    _circles: _Circles = field(default_factory=_Circles)
    _texts: deque[_Text] = field(default_factory=lambda: deque(maxlen=MOST_TEXTS))
    _texts_told: int = 0
    _said_again: Counter[int] = field(default_factory=Counter)  # by the number of the text
    _heard: set[int] = field(default_factory=set)
    _put: _Put | None = None
    _asked: deque[tuple[str, Words]] = field(default_factory=lambda: deque(maxlen=MOST_ASKED))
    _told: set[str] = field(default_factory=set)

    def before(self, step: int, tool: str, args: Any) -> Finding | None:
        """A call that is not made yet: whether it would be a loop if it gave the answer that it gave last.

        For calls that change something: of one that only asks, the answer tells, which may be new this time.
        """
        seen = self._last.get(hash((tool, likeness.arguments(args))))
        if seen is None:
            return None
        count = max(self._again[seen] + 1, self._circles.rounds(seen)[0])
        if count < self.limits.repeats:
            return None
        return self._found(
            step,
            f"tool {tool}",
            count,
            f"{tool} was called with the same arguments {count - 1} times and gave the same answer, and nothing new "
            f"came in between: it is not done for time {count}.",
        )

    def called(self, step: int, agent: str, tool: str, args: Any, answer: str) -> Finding | None:
        """A call that has its answer, or its error."""
        self._said_again.clear()  # whether a turn that calls goes round shows in its calls
        asked = likeness.arguments(args)
        seen = hash((tool, asked, likeness.result(answer)))
        self._last[hash((tool, asked))] = seen
        put = self._put = None if answer.strip() else _put(seen, agent, tool, args)
        found = None
        if seen in self._seen:
            self._again[seen] += 1
            self._stale += 1
            found = self._round(step, tool, seen)
        else:
            self._seen.add(seen)
            self._new()
            self._again[seen] = 1
        self._circles.add(seen)
        return found or self._asked_again(step, tool, put)

    def _round(self, step: int, tool: str, seen: int) -> Finding | None:
        rounds, period = self._circles.rounds(seen)
        count = max(self._again[seen], rounds)
        if count >= self.limits.repeats:
            how = "" if rounds < count else " in a row," if period == 1 else f" every {period} calls,"
            return self._found(
                step,
                f"tool {tool}",
                count,
                f"{tool} was called with the same arguments and gave the same answer {count} times,{how} and "
                "nothing new came in between.",
            )
        if self._stale >= self.limits.stale:
            return self._found(
                step,
                "run",
                self._stale,
                f"The last {self._stale} calls brought nothing that was not known before.",
                of="stale",
            )
        return None

    def said(self, step: int, agent: str, text: str) -> Finding | None:
        """What a model said. A text without words says nothing."""
        words = likeness.worded(text)
        if not words.order:
            return None
        alike = [one for one in self._texts if one.agent == agent and one.words.near(words)]
        self._answered(agent, new=not alike)
        if not alike:
            self._said_again.clear()
        if all(one.words.order != words.order for one in alike):
            self._texts_told += 1
            self._texts.append(_Text(agent=agent, words=words, step=step, number=self._texts_told))
            alike.append(self._texts[-1])
        self._said_again.update(one.number for one in alike)
        same = max(alike, key=lambda one: self._said_again[one.number])
        count = self._said_again[same.number]
        if count < self.limits.repeats:
            return None
        return self._found(
            step,
            f"agent {agent}",
            count,
            f"{agent or 'The agent'} said nearly the same {count} times, as in step {same.step}, and nothing new "
            "came in between.",
        )

    def _answered(self, agent: str, *, new: bool) -> None:
        """What a peer says after a call that was put to it is the answer of that call."""
        put = self._put
        if put is None or put.agent == agent:
            return
        self._put = None
        if len(put.words) >= likeness.LONG_TEXT:
            self._asked.append((put.key, put.words))
        if new:
            self._learnt()
            self._again[put.seen] = 1

    def heard(self, agent: str, text: str) -> None:
        """A message from a person, a peer or the surroundings: what it tells is new, unless it only says go on."""
        said = likeness.plain(text)
        if not said or hash(said) in self._heard:
            return
        self._heard.add(hash(said))
        if likeness.tells(likeness.words(said)):
            self._learnt()

    def _learnt(self) -> None:
        self._new()
        self._circles.begin()

    def _new(self) -> None:
        self._again.clear()
        self._stale = 0
        self._said_again.clear()
        self._told.discard(ROUND)

    def _asked_again(self, step: int, tool: str, put: _Put | None) -> Finding | None:
        """The same instruction to a peer in other words: it was not carried out, whatever the peer answers. In the
        same words it asks for more, as of pages, and the answers tell.
        """
        if put is None or len(put.words) < likeness.LONG_TEXT:
            return None
        alike = [one for key, one in self._asked if key == put.key and _reworded(one, put.words)]
        count = 1 + len(alike)
        if count < self.limits.repeats or all(one.order == put.words.order for one in alike):
            return None
        return self._found(
            step,
            f"agent {put.agent}",
            count,
            f"{put.agent or 'The agent'} gave {tool} nearly the same instruction {count} times.",
            key=put.key,
        )

    def _found(
        self, step: int, scope: str, count: int, says: str, key: str = ROUND, of: str = "repeats"
    ) -> Finding | None:
        """Said once: of going round until something new comes, of an instruction for good."""
        if key in self._told:
            return None
        self._told.add(key)
        return Finding(
            guard=Guard.LOOP, step=step, scope=scope, figure=f"{count} times", says=says, of=of, value=count
        )


def _put(seen: int, agent: str, tool: str, args: Any) -> _Put:
    """A call by the words of the long text among its arguments, and the rest, which must be the same."""
    texts = {name: likeness.worded(one) for name, one in _named(args).items() if isinstance(one, str)}
    if not texts:
        return _Put(seen=seen, agent=agent, key="", words=likeness.worded(""))
    name = max(texts, key=lambda one: len(texts[one]))
    rest = likeness.arguments({one: value for one, value in args.items() if one != name})
    return _Put(seen=seen, agent=agent, key=f"{agent} {tool} {rest}", words=texts[name])


def _named(args: Any) -> Mapping[str, Any]:
    return args if isinstance(args, Mapping) else {}


def _reworded(one: Words, other: Words) -> bool:
    return one.figures == other.figures and one.share(other) >= REWORDED and not one.filled_in(other)
