"""A run that goes round: the same calls with the same answers, the same messages, the same instructions again.

What counts is whether anything new came in between. A call with an answer that was not there before is new, however
often it was made: polling that advances, pages and batches are no loops. Looks at one run; refuses nothing.

Occurrences are counted since the last new thing, and the one that was new counts as the first. So a cycle of any
length is found at the third occurrence of its first member, and a call that is merely repeated much later is not.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from runs.guards import likeness
from runs.guards.findings import Finding, Guard, Limits
from runs.guards.likeness import Words

MOST_TEXTS = 24  # that are remembered to compare with
MOST_ASKED = 12  # instructions
REWORDED = 0.7  # share of words that makes an instruction the same one
ROUND = "round"


@dataclass(slots=True, kw_only=True)
class _Text:
    agent: str
    words: Words
    step: int


@dataclass(slots=True, kw_only=True)
class Loops:
    """Fed with what was called, said and heard; each returns at most one finding. One finding a loop."""

    limits: Limits = field(default_factory=Limits)
    _calls: dict[int, int] = field(default_factory=dict)  # what was seen -> number of the call
    _last: dict[int, int] = field(default_factory=dict)  # what was asked for -> what was seen last
    _number: int = 0
    _again: Counter[int] = field(default_factory=Counter)  # since the last new answer
    _texts: deque[_Text] = field(default_factory=lambda: deque(maxlen=MOST_TEXTS))
    _said_again: Counter[int] = field(default_factory=Counter)
    _heard: set[int] = field(default_factory=set)
    _asked: deque[tuple[str, Words]] = field(default_factory=lambda: deque(maxlen=MOST_ASKED))
    _told: set[str] = field(default_factory=set)

    def before(self, step: int, tool: str, args: Any) -> Finding | None:
        """A call that is not made yet: whether it would be a loop if it gave the answer that it gave last.

        For calls that change something: of one that only asks, the answer tells, which may be new this time.
        """
        seen = self._last.get(hash((tool, likeness.arguments(args))))
        if seen is None:
            return None
        count = self._again[seen] + 1
        if count + 1 < self.limits.repeats:
            return None
        return self._found(
            step,
            f"tool {tool}",
            count + 1,
            f"{tool} was called with the same arguments {count} times and gave the same answer, and nothing new came "
            f"in between: it is not done for time {count + 1}.",
        )

    def called(self, step: int, agent: str, tool: str, args: Any, answer: str) -> Finding | None:
        """A call that has its answer, or its error."""
        self._number += 1
        self._said_again.clear()  # whether a turn that calls goes round shows in its calls
        asked = likeness.arguments(args)
        seen = hash((tool, asked, likeness.result(answer)))
        self._last[hash((tool, asked))] = seen
        before = self._calls.get(seen)
        self._calls[seen] = self._number
        if before is None:
            self._new()
            return self._asked_again(step, agent, tool, args, answer)
        self._again[seen] += 1
        return self._round(step, tool, seen, self._number - before)

    def _round(self, step: int, tool: str, seen: int, apart: int) -> Finding | None:
        count = self._again[seen] + 1
        if count >= self.limits.repeats:
            how = "in a row" if apart == 1 else f"every {apart} calls"
            return self._found(
                step,
                f"tool {tool}",
                count,
                f"{tool} was called with the same arguments and gave the same answer {count} times, {how}, and "
                "nothing new came in between.",
            )
        stale = self._again.total()
        if stale >= self.limits.stale:
            return self._found(
                step,
                "run",
                stale,
                f"The last {stale} calls brought nothing that was not known before.",
                of="stale",
            )
        return None

    def said(self, step: int, agent: str, text: str) -> Finding | None:
        """What a model said. A text without words says nothing."""
        words = likeness.worded(text)
        if not words.order:
            return None
        same = next((one for one in self._texts if one.agent == agent and one.words.near(words)), None)
        if same is None:
            self._texts.append(_Text(agent=agent, words=words, step=step))
            self._said_again.clear()
            return None
        self._said_again[same.step] += 1
        count = self._said_again[same.step] + 1
        if count < self.limits.repeats:
            return None
        return self._found(
            step,
            f"agent {agent}",
            count,
            f"{agent or 'The agent'} said nearly the same {count} times, first in step {same.step}, and nothing new "
            "came in between.",
        )

    def heard(self, agent: str, text: str) -> None:
        """A message from a person, a peer or the surroundings: what it tells is new, unless it only says go on."""
        said = likeness.plain(text)
        if not said or hash(said) in self._heard:
            return
        self._heard.add(hash(said))
        if likeness.tells(likeness.words(said)):
            self._new()

    def _new(self) -> None:
        self._again.clear()
        self._said_again.clear()
        self._told.discard(ROUND)

    def _asked_again(self, step: int, agent: str, tool: str, args: Any, answer: str) -> Finding | None:
        """The same instruction to a peer in other words. A peer's answer comes later: the call itself has none."""
        if answer.strip() or not isinstance(args, Mapping):
            return None
        rest, words = _instruction(args)
        if len(words) < likeness.LONG_TEXT:
            return None
        key = f"{agent} {tool} {rest}"
        alike = [one for place, one in self._asked if place == key and _reworded(one, words)]
        self._asked.append((key, words))
        count = len(alike) + 1
        if count < self.limits.repeats:
            return None
        return self._found(
            step,
            f"agent {agent}",
            count,
            f"{agent or 'The agent'} gave {tool} nearly the same instruction {count} times.",
            key=key,
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


def _instruction(args: Mapping[str, Any]) -> tuple[str, Words]:
    """The words of the long text among the arguments, and the rest, which must be the same."""
    texts = {name: likeness.worded(one) for name, one in args.items() if isinstance(one, str)}
    if not texts:
        return "", likeness.worded("")
    name = max(texts, key=lambda one: len(texts[one]))
    return likeness.arguments({one: value for one, value in args.items() if one != name}), texts[name]


def _reworded(one: Words, other: Words) -> bool:
    return one.figures == other.figures and one.share(other) >= REWORDED and not one.filled_in(other)
