"""A chain of an error policy in words, and words as a chain: "retry 2, fallback openai/small, ask". Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from runs.definitions import Agent
from runs.policies import Another, Ask, End, Fallback, Policy, Repair, RepairStep, Retry, Verify, links
from runs.verdicts import work_name

StandIns = Mapping[str, Agent | Callable[[Any], Any]]
HOW = (
    'write links with commas, ask or end the last: "retry 2, fallback openai/small, ask". Links are retry N, repair N, '
    "fallback MODEL [MODEL], another AGENT, mend NAME, verify NAME"
)


class Unreadable(Exception):
    """Words that are no chain; the message is the sentence a person reads."""


def chain(words: str, stand_ins: StandIns) -> Policy:
    """`stand_ins`: agents and functions by name that a link may name. Raises Unreadable."""
    *before, last = [part.split() for part in words.split(",")]
    if last not in (["ask"], ["end"]):
        raise Unreadable(f"{words!r} is no chain: {HOW}.")
    made: Policy = Ask() if last == ["ask"] else End()
    for name, *rest in reversed([part or [""] for part in before]):
        made = _link(name, rest, made, stand_ins)
    return made


def _link(name: str, rest: list[str], then: Policy, stand_ins: StandIns) -> Policy:
    match name, rest:
        case ("retry", [times]) if _times(times):
            return Retry(times=int(times), then=then)
        case ("repair", []):
            return Repair(then=then)
        case ("repair", [times]) if _times(times):
            return Repair(times=int(times), then=then)
        case ("fallback", [_, *_]):
            return Fallback(models=tuple(rest), then=then)
        case ("another" | "mend" | "verify", [who]):
            return _by(name, who, then, stand_ins)
    raise Unreadable(f"{' '.join([name, *rest])!r} is no link: {HOW}.")


def _by(name: str, who: str, then: Policy, stand_ins: StandIns) -> Policy:
    work = stand_ins.get(who)
    if work is None:
        known = ", ".join(sorted(stand_ins)) or "nobody"
        raise Unreadable(f"{who!r} is named by no policy of this step; it names {known}.")
    if name == "another":
        if not isinstance(work, Agent):
            raise Unreadable(f"{who!r} is a function: only an agent can be another one.")
        return Another(agent=work, then=then)
    return RepairStep(by=work, then=then) if name == "mend" else Verify(by=work, then=then)


def _times(word: str) -> bool:
    return word.isdecimal() and 0 < int(word) < 100


def words(policy: Policy) -> str:
    """A chain as `chain` reads it."""
    return ", ".join(_words(link) for link in links(policy))


def _words(link: Policy) -> str:
    match link:
        case Retry(times=times):
            return f"retry {times}"
        case Repair(times=times):
            return f"repair {times}"
        case Fallback(models=models):
            return f"fallback {' '.join(models)}"
        case Another(agent=agent):
            return f"another {agent.name}"
        case RepairStep(by=by):
            return f"mend {work_name(by)}"
        case Verify(by=by):
            return f"verify {work_name(by)}"
        case Ask():
            return "ask"
        case End():
            return "end"
