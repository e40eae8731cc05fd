"""Where a run could go on with another version of its workflow: at which node, and with whose value. Changes nothing.

A place fits when what it would be given meets its contract. It is a person who chooses one (`runs.engine.migrating`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel

from runs import bodies, registry, routing
from runs.canonical import plain, told
from runs.code_digest import SourceChanged
from runs.definition_digest import SHORT
from runs.definitions import Check, Edge, Node, Orchestrated, Pipeline, Supervised, Trail, Workflow
from runs.engine import versions
from runs.engine.contracts import as_contract
from runs.errors import ContractBroken
from runs.models import Call, CallKind, CallState, Run, Step, StepState
from runs.models.step import SETTLED_STEPS

STAYS = ""  # the node of the place where the run stands
MOST_EFFECTS = 20  # of a run, as evidence
_NOT_CERTAIN = (CallState.PERMITTED, CallState.UNKNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a run could go on. `why_not` says why it cannot; `given` whose value it would get; `again` what it has
    done already and may do once more from there."""

    version: int
    node: str  # STAYS: where it stands
    definition: str
    words: str
    given: str = ""
    why_not: str = ""
    again: tuple[str, ...] = ()
    next: bool = False  # what follows by that version's own order
    suggested: bool = False

    @property
    def fits(self) -> bool:
        return not self.why_not

    @property
    def stays(self) -> bool:
        return self.node == STAYS

    @property
    def key(self) -> str:
        """What a form sends back: the version, its content and the node."""
        return f"{self.version}:{self.definition[:SHORT]}:{self.node}"


def places(run: Run) -> tuple[Place, ...]:
    """Every place of every version that is registered in this process, the newest version first; at most one of them
    is suggested."""
    past = past_of(run)
    found = [place for workflow in _others(run) for place in Target(workflow, past).places()]
    worth = (place for place in found if _rank(place) < len(_RANKS))
    best = min(worth, key=lambda place: (-place.version, _rank(place)), default=None)
    return tuple(replace(place, suggested=place is best) for place in found)


_RANKS: tuple[Callable[[Place], bool], ...] = (lambda place: place.stays, lambda place: place.next)


def _rank(place: Place) -> int:
    """Where it stands, else what follows; going back is for a person to think of."""
    ranks = (number for number, holds in enumerate(_RANKS) if place.fits and holds(place))
    return next(ranks, len(_RANKS))


def _others(run: Run) -> list[Workflow]:
    """Every registered version that is not exactly what the run began with, the newest first."""
    known = [workflow for workflow, _ in registry.versions() if workflow.name == run.workflow]
    usable = [
        one for one in known if one.version != run.version or registry.content(one).digest != run.definition
    ]
    return sorted(usable, key=lambda workflow: -workflow.version)


# what has happened so far


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """A run so far, loaded once."""

    run: Run
    input: Any
    steps: tuple[Step, ...]
    effects: tuple[Call, ...]

    @property
    def open(self) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if step.state not in SETTLED_STEPS)

    @property
    def last(self) -> Step | None:
        """The last step outside of a plan that has given something."""
        done = [step for step in self.steps if step.output is not None and step.parent_id is None]
        return done[-1] if done else None

    @property
    def doubtful(self) -> tuple[str, ...]:
        """Nodes of open steps with an effect that may have happened."""
        ids = {step.pk for step in self.open}
        return tuple(
            one.step.node for one in self.effects if one.step_id in ids and one.state in _NOT_CERTAIN
        )


def past_of(run: Run) -> Past:
    steps = run.steps.select_related("input", "output").order_by("seq")
    effects = Call.objects.filter(run=run, kind=CallKind.TOOL).exclude(effect="none")
    return Past(
        run=run,
        input=bodies.load(run.input),
        steps=tuple(steps),
        effects=tuple(effects.select_related("step", "request").order_by("pk")),
    )


def stands_at(run: Run) -> str:
    """Where a run stands, in words."""
    steps = run.steps.exclude(state__in=SETTLED_STEPS).order_by("seq")
    return _named([(step.node, step.seq) for step in steps]) or "between two steps"


def effects_of(run: Run) -> tuple[Check, ...]:
    """What the run has done in the world, as evidence: going on with another version undoes nothing of it."""
    rows = Call.objects.filter(run=run, kind=CallKind.TOOL).exclude(effect="none").order_by("pk")
    calls = list(rows.select_related("request", "step")[:MOST_EFFECTS])
    done = tuple(_told(one) for one in calls if one.state == CallState.DONE)
    doubtful = tuple(_told(one) for one in calls if one.state in _NOT_CERTAIN)
    found = (
        Check(ok=True, title="Done already: another version undoes none of it", details=done),
        Check(ok=False, title="May have happened", details=doubtful),
    )
    return tuple(one for one in found if one.details)


def _told(call: Call) -> tuple[str, str]:
    return call.step.node, str(bodies.load(call.request).get("sentence", call.name))


def _named(steps: list[tuple[str, int]]) -> str:
    if len(steps) > 2:
        return f"{len(steps)} steps, {steps[0][0]} the first of them"
    return " and ".join(f"{node} (step {seq})" for node, seq in steps)


# places


@dataclass(frozen=True, slots=True)
class Target:
    """One version that the run might go on with."""

    workflow: Workflow
    past: Past

    def places(self) -> Iterator[Place]:
        yield self._place(STAYS, self._standing(), why_not=self._cannot() or self._cannot_stay())
        standing = {step.node for step in self.past.open}
        for node in self.workflow.nodes:
            if node.name not in standing and node not in self._workers():
                yield self._at(node)

    def _place(self, node: str, words: str, **more: Any) -> Place:
        try:
            digest = registry.content(self.workflow).digest
        except SourceChanged as why:
            digest, more = "", {"why_not": f"{why}: restart the console"}
        return Place(version=self.workflow.version, node=node, definition=digest, words=words, **more)

    def _standing(self) -> str:
        past = self.past
        if past.open:
            return _named([(step.node, step.seq) for step in past.open])
        return f"after {past.last.node} (step {past.last.seq})" if past.last else "its beginning"

    def _workers(self) -> tuple[Node, ...]:
        """Tasks belong to a plan: none begins without one."""
        pattern = self.workflow.pattern
        return pattern.workers if isinstance(pattern, Supervised) else ()

    def _cannot(self) -> str:
        """What keeps this version from going on anywhere."""
        if not isinstance(self.workflow.pattern, Orchestrated):
            return ""
        return _unfit(self.workflow.takes, self.past.input, "run's input")

    # where it stands

    def _cannot_stay(self) -> str:
        past = self.past
        if not past.steps:
            return _unfit(self.workflow.takes, past.input, "run's input")
        problems = (self._cannot_keep(step) for step in past.open)
        return next((one for one in problems if one), "") or self._cannot_route()

    def _cannot_keep(self, step: Step) -> str:
        if not self.workflow.has(step.node):
            return f"it has no node {step.node}"
        if step.parent is not None and self.workflow.node(step.node) not in self._workers():
            return f"{step.node} is a task of a plan, and no worker here"
        return _unfit(self.workflow.node(step.node).takes, bodies.load(step.input), f"input of {step.node}")

    def _cannot_route(self) -> str:
        """Whether this version's rules could make something of what is there; rules only look."""
        try:
            routing.route(self.workflow, self.past.input, self._history())
        except Exception as error:
            return f"its rules cannot go on from what is there: {told(error)}"
        return ""

    def _history(self) -> list[routing.Visited]:
        known = [one for one in self.past.steps if self._seen(one)]
        return [
            _visited(one) for one in (known[-1:] if isinstance(self.workflow.pattern, Pipeline) else known)
        ]

    def _seen(self, step: Step) -> bool:
        going = step.state not in SETTLED_STEPS
        return (
            going
            or not isinstance(self.workflow.pattern, Orchestrated)
            or versions.readable(self.workflow, step)
        )

    # at a node

    def _at(self, node: Node) -> Place:
        why = self._cannot() or self._cannot_begin(node)
        first = ""
        for value, words, follows in [] if why else list(self._candidates(node)):
            unfit = _unfit(node.takes, value, "input")
            if not unfit:
                again = self._again(node)
                return self._place(node.name, node.name, given=words, next=follows, again=again)
            first = first or f"{words} does not fit: {unfit}"
        return self._place(
            node.name, node.name, why_not=why or first or "nothing in this run is meant for it"
        )

    def _cannot_begin(self, node: Node) -> str:
        if self.past.doubtful:
            return f"an effect of {self.past.doubtful[0]} may have happened, and only where it stands that is found out"
        pattern = self.workflow.pattern
        if isinstance(pattern, Supervised) and node in pattern.then and not self._planned(pattern):
            return "it follows a plan, and this run has none"
        return ""

    def _planned(self, pattern: Supervised) -> bool:
        tops = [step for step in self.past.steps if step.parent_id is None and self._seen(step)]
        return bool(tops) and tops[0].node == pattern.supervisor.name and tops[0].state == StepState.DONE

    def value_for(self, node: Node, words: str) -> Any:
        """What a place that fits gives to its node."""
        return next(value for value, said, _ in self._candidates(node) if said == words)

    def _candidates(self, node: Node) -> Iterator[tuple[Any, str, bool]]:
        """What a node might be given, whose value that is, and whether the node follows next: the likeliest first."""
        past, last = self.past, self.past.last
        if last is not None:
            for value in self._following(node, last):
                yield value, f"what {last.node} gave (step {last.seq})", True
        earlier = [step for step in past.steps if step.node == node.name and step.parent_id is None]
        if earlier:
            yield bodies.load(earlier[-1].input), f"what it was given before (step {earlier[-1].seq})", False
        if node is self.workflow.nodes[0]:
            yield past.input, "the run's input", not past.steps

    def _following(self, node: Node, last: Step) -> Iterator[Any]:
        """What the node would be given if it came after that step."""
        assert last.output is not None, "it is the last that has given something"
        match self.workflow.pattern:
            case Pipeline(nodes=nodes):
                names = [one.name for one in nodes]
                if last.node in names and names.index(last.node) + 1 == names.index(node.name):
                    yield bodies.load(last.output)
            case Orchestrated(edges=edges):
                for edge in edges:
                    if (edge.source, edge.target) == (last.node, node.name):
                        yield from self._handed(edge, last)

    def _handed(self, edge: Edge, last: Step) -> Iterator[Any]:
        if edge.hand is None:
            assert last.output is not None, "it is the last that has given something"
            yield bodies.load(last.output)
            return
        try:
            yield plain(edge.hand(self._trail()))
        except Exception:  # what it hands on is not there, or not as it needs it
            return

    def _trail(self) -> Trail:
        outputs: dict[str, list[Any]] = {}
        for step in self.past.steps:
            if step.output is not None and versions.readable(self.workflow, step):
                contract = self.workflow.node(step.node).gives
                outputs.setdefault(step.node, []).append(as_contract(contract, bodies.load(step.output)))
        given = as_contract(self.workflow.takes, self.past.input)
        return Trail(input=given, outputs={name: tuple(some) for name, some in outputs.items()})

    def _again(self, node: Node) -> tuple[str, ...]:
        """Effects that are done and stand at the node or behind it: from there they may be asked for once more."""
        names = [one.name for one in self.workflow.nodes]
        behind = set(
            names[names.index(node.name) :] if isinstance(self.workflow.pattern, Pipeline) else names
        )
        done = [one for one in self.past.effects if one.state == CallState.DONE and one.step.node in behind]
        return tuple(_told(one)[1] for one in done)


def _unfit(contract: type[BaseModel], value: Any, what: str) -> str:
    try:
        as_contract(contract, value, what=what)
    except ContractBroken as error:
        return error.message
    return ""


def _visited(step: Step) -> routing.Visited:
    return routing.Visited(
        id=step.pk,
        node=step.node,
        output=bodies.load(step.output) if step.output else None,
        outcome=step.state if step.state in SETTLED_STEPS else routing.GOING,
        parent=step.parent_id,
        place=step.place,
    )
