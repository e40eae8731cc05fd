"""Every misbehaviour at every agent of a workflow, one trial each, and what caught it. Acts on nothing.

A good run comes first: what it asks people is approved, and only what differs from it counts as caught. Whether people
would see what is wrong in a card is judged by its evidence: nothing marked as wrong is nothing caught.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from runs.agents.misbehaviour import Misbehaviour
from runs.canonical import canonical
from runs.definitions import Agent, Workflow
from runs.testing.amounts import leveled
from runs.testing.faults import CannotWork, NeverSettled
from runs.testing.running import run_workflow
from runs.testing.said import Answer, approve, reject
from runs.testing.stand_ins import agents_of
from runs.testing.trial import Trial, TrialEscalation

MOST_SAMPLES = 8
_OF_PROVIDERS = (
    Misbehaviour.UNAVAILABLE,
    Misbehaviour.RATE_LIMITED,
    Misbehaviour.SLOW,
    Misbehaviour.NEVER_RETURNS,
)
NOT_CAUGHT = "NOT CAUGHT"
REACHED = (
    "REACHED THE WORLD"  # caught, but only after an action that the good run does not do and nobody approved
)
NOTHING = "nothing to spoil"
NOT_REACHED = "not reached by the samples"
_NONE = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One thing that goes wrong: how, and who does it."""

    misbehaviour: Misbehaviour
    agents: tuple[Agent, ...]
    seed: int
    note: str = ""

    @property
    def label(self) -> str:
        return f"{self.misbehaviour} ({self.note})" if self.note else str(self.misbehaviour)

    @property
    def who(self) -> str:
        return " + ".join(agent.name for agent in self.agents)

    @property
    def orders(self) -> dict[str, Misbehaviour]:
        """A provider's trouble is that of one model: a fallback has its own."""
        if self.misbehaviour in _OF_PROVIDERS:
            return {f"{agent.name}@{agent.model}": self.misbehaviour for agent in self.agents}
        return {agent.name: self.misbehaviour for agent in self.agents}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """How one case went. `caught`: True, False (also when it was caught too late), or None when there was nothing to
    catch."""

    misbehaviour: str
    agent: str
    caught: bool | None
    what: str
    ended: str = ""
    model_calls: int = 0
    cost_micros: int = 0

    @property
    def too_late(self) -> bool:
        return self.what.startswith(REACHED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Good:
    """A run without any misbehaviour, another one like it, and the input they had. What differs between the two (a
    number, a time) differs from run to run anyway and says nothing."""

    given: Mapping[str, Any]
    trial: Trial
    again: Trial

    def reaches(self, agent: Agent) -> bool:
        return any(call.kind == "model" and call.name == agent.name for call in self.trial.calls)


def check(
    workflow: Workflow,
    samples: Sequence[Mapping[str, Any]],
    *,
    seed: int = 0,
    only: Sequence[Misbehaviour] = (),
    at: Sequence[str] = (),
    seconds: float = 60.0,
) -> Iterator[Row]:
    """One row a case, as they are done. `only` and `at` narrow to misbehaviours and agents.

    Raises CannotWork when no sample's good run ends done: then there is nothing to compare with.
    """
    good = _Goods(workflow=workflow, samples=samples[:MOST_SAMPLES], seconds=seconds)
    for case in cases(workflow, seed):
        if only and case.misbehaviour not in only:
            continue
        if at and not set(at) & {agent.name for agent in case.agents}:
            continue
        yield _row(workflow, case, good, seconds)


def cases(workflow: Workflow, seed: int) -> Iterator[Case]:
    """Each misbehaviour at each agent; invented facts are told by two agents that follow each other."""
    agents = agents_of(workflow)
    even = seed - seed % 2
    for agent in agents:
        for kind in Misbehaviour:
            match kind:
                case Misbehaviour.AGREED_INVENTION:
                    continue
                case Misbehaviour.WRONG_ARGUMENT:
                    yield Case(misbehaviour=kind, agents=(agent,), seed=even, note="breaks its contract")
                    yield Case(misbehaviour=kind, agents=(agent,), seed=even + 1, note="keeps it")
                case _:
                    yield Case(misbehaviour=kind, agents=(agent,), seed=seed)
    for together in pairwise(agents) if len(agents) > 1 else [tuple(agents)] if agents else []:
        yield Case(misbehaviour=Misbehaviour.AGREED_INVENTION, agents=tuple(together), seed=seed)


@dataclass(slots=True, kw_only=True)
class _Goods:
    """The good runs, made when the first case needs them: a sample that no case needs costs nothing."""

    workflow: Workflow
    samples: Sequence[Mapping[str, Any]]
    seconds: float
    made: list[Good] = field(default_factory=list)

    def fitting(self, case: Case) -> Good | None:
        """The first sample that comes to these agents and whose run is done. What a run that waits or failed is
        compared with says nothing."""
        for good in self._all():
            if good.trial.state == "done" and all(good.reaches(agent) for agent in case.agents):
                return good
        if not any(good.trial.state == "done" for good in self.made):
            raise CannotWork(_no_good_run(self.workflow, self.made))
        return None

    def why_not(self, case: Case) -> str:
        """Why no good run fits the case."""
        for number, good in enumerate(self.made, start=1):
            if all(good.reaches(agent) for agent in case.agents):
                return f"not tried: input {number} comes to it, but {_how_it_ended(good.trial)}"
        return NOT_REACHED

    def _all(self) -> Iterator[Good]:
        for place, given in enumerate(self.samples):
            if place == len(self.made):
                self.made.append(self._make(given))
            yield self.made[place]

    def _make(self, given: Mapping[str, Any]) -> Good:
        first, second = (
            run_workflow(self.workflow, given, answers=_approve_approvals, act=False, seconds=self.seconds)
            for _ in range(2)
        )
        return Good(given=given, trial=first, again=second)


def _no_good_run(workflow: Workflow, made: Sequence[Good]) -> str:
    first = _how_it_ended(made[0].trial) if made else "there is no input"
    which = "its only input" if len(made) == 1 else f"any of its {len(made)} inputs"
    return (
        f"No run of {workflow.name} ends as done with {which}, without any misbehaviour and with every approval given: "
        f"{first}. Mend that first, or give an input that a run can work through."
    )


def _how_it_ended(trial: Trial) -> str:
    asked = [one for one in trial.escalations if not one.answer]
    if trial.state == "waiting" and asked:
        return f"its run waits ({asked[-1].kind}): {asked[-1].title}"
    return f"its run is {trial.state}{f': {trial.ending}' if trial.ending else ''}"


def _approve_approvals(asked: TrialEscalation) -> Answer | None:
    return approve() if asked.kind == "approval" else None


def _row(workflow: Workflow, case: Case, good: _Goods, seconds: float) -> Row:
    base = good.fitting(case)
    if base is None:
        return Row(misbehaviour=case.label, agent=case.who, caught=None, what=good.why_not(case))
    people = _People(base.trial)
    try:
        bad = run_workflow(
            workflow,
            base.given,
            answers=people.answer,
            misbehave=case.orders,
            seed=case.seed,
            act=False,
            seconds=seconds,
        )
    except NeverSettled as why:
        what = f"{NOT_CAUGHT}: {str(why).splitlines()[0]}"
        return Row(misbehaviour=case.label, agent=case.who, caught=False, what=what, ended="never")
    caught, what = judged(case, base, bad, people.unexpected)
    return Row(
        misbehaviour=case.label,
        agent=case.who,
        caught=caught,
        what=what,
        ended=bad.state,
        model_calls=sum(1 for call in bad.calls if call.kind == "model"),
        cost_micros=bad.cost_micros,
    )


@dataclass(slots=True)
class _People:
    """People who approve what the good run asked too and what is not marked as wrong, and refuse everything else."""

    good: Trial
    unexpected: list[TrialEscalation] = field(default_factory=list)

    def answer(self, asked: TrialEscalation) -> Answer:
        if any(_looks_alike(asked, one) for one in self.good.escalations):
            return approve()
        self.unexpected.append(asked)
        return reject("Refused by check_workflow: the good run did not ask this.")


def _looks_alike(asked: TrialEscalation, known: TrialEscalation) -> bool:
    """The same card but for its words and values: no other evidence is marked as wrong."""
    return (
        asked.kind == known.kind == "approval" and asked.tool == known.tool and asked.failed == known.failed
    )


def judged(
    case: Case, base: Good, bad: Trial, unexpected: Sequence[TrialEscalation]
) -> tuple[bool | None, str]:
    """Whether it was caught, and what caught it or how far it came."""
    found = [one for one in bad.caught_by if one not in base.trial.caught_by]
    if any(one.kind == "approval" for one in unexpected) and "approval" not in found:
        found.append("approval")
    strange, unapproved = _strange_actions(base, bad)
    if found and unapproved:
        return (
            False,
            f"{REACHED}: {_counted(unapproved)} that the good run does not do; then {' -> '.join(found)}",
        )
    if found:
        after = (
            f", after {_counted(strange)} that people approved, for the cards look alike" if strange else ""
        )
        return True, " -> ".join(found) + after
    if not bad.spoilt:
        return None, NOTHING
    return False, f"{NOT_CAUGHT}: {_how_far(case, base, bad, strange)}"


def _strange_actions(base: Good, bad: Trial) -> tuple[Counter[str], Counter[str]]:
    """Actions of the bad run that the good one does not have, by tool: all, and those that nobody approved."""
    loose = {name for name, _ in _actions(base.again, set()) - _actions(base.trial, set())}
    alone = _actions(bad, loose, unapproved=True)
    found: Counter[str] = Counter()
    unapproved: Counter[str] = Counter()
    for action, count in (_actions(bad, loose) - _actions(base.trial, loose)).items():
        found[action[0]] += count
        unapproved[action[0]] += min(count, alone[action])
    return found, +unapproved


def _actions(trial: Trial, loose: set[str], *, unapproved: bool = False) -> Counter[tuple[str, str]]:
    """What was done, and how often; of the tools in `loose` only how often."""
    done = [one for one in trial.tools if one.acts and not (unapproved and one.approved)]
    return Counter((one.name, "" if one.name in loose else canonical(leveled(one.arguments))) for one in done)


def _counted(actions: Counter[str]) -> str:
    return ", ".join(f"{count} x {name}" for name, count in sorted(actions.items()))


def _other_output(base: Good, bad: Trial) -> bool:
    """Whether the output differs where two good ones do not."""
    good, again, other = (dict(_flat(leveled(one.output))) for one in (base.trial, base.again, bad))
    places = good.keys() | again.keys() | other.keys()
    return any(good.get(at, _NONE) != other.get(at, _NONE) for at in places if good.get(at) == again.get(at))


def _flat(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat(item, (*path, key))
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from _flat(item, (*path, place))
    else:
        yield path, value


def _how_far(case: Case, base: Good, bad: Trial, strange: Counter[str]) -> str:
    reached = [_counted(strange)] if strange else []
    if _other_output(base, bad):
        reached.append("the output")
    shown = [one for one in bad.escalations if one.title not in {e.title for e in base.trial.escalations}]
    seen = "; a person was shown it, with nothing marked as wrong" if shown else ""
    if reached:
        return f"reached {' and '.join(reached)}{seen}"
    if case.misbehaviour == Misbehaviour.SLOW:
        return "the late answer was taken"
    more = bad.tokens - base.trial.tokens
    return (
        f"the output is the same, for {more:,} tokens more{seen}"
        if more > 0
        else f"the output is the same{seen}"
    )
