"""The guards that acquire nothing, asked online: one a attempt, fed step by step, with what a run did before.

Fed by the same calls whether a call is made now or replayed from record, so an attempt that goes on after a crash knows
what it knew. A finding is an event of the run; where its limit enforces, a loop is a ReasoningError and an injected
argument a question. Permits, money and rates are not here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

from pydantic import BaseModel

from runs.canonical import canonical, plain
from runs.definitions import Agent, Approval, Check, Delegate, Effect, Orchestrated, Tool
from runs.engine import bounds, found, limits, remembered, sources
from runs.engine.claimed import Claimed
from runs.engine.found import Found, because
from runs.errors import ContractBroken, ReasoningError, StepError
from runs.guards.arguments import Contracts, refusing
from runs.guards.findings import Finding, Guard, Limits
from runs.guards.loops import Loops
from runs.guards.taint import Taint
from runs.limits import fixed
from runs.limits.applying import Book
from runs.limits.kinds import LimitKind, Mode, Window
from runs.limits.rows import Row
from runs.models import Event
from runs.recorded.toolsets import Declared, closed_within
from runs.trust import told

LOOP = "loop"
_COUNTED = {"repeats": LimitKind.REPEATS, "stale": LimitKind.IDLE_TURNS}


_TOLD = frozenset((kind, Window.NONE) for kind in _COUNTED.values())
_Limiting = tuple[dict[str, Row], Limits]


@dataclass(slots=True, kw_only=True)
class _Detector:
    """One loop detector: for what is enforced, or for what people are only told of."""

    enforcing: bool
    loops: Loops = field(default_factory=Loops)
    rows: dict[str, Row] = field(default_factory=dict)  # by the limit that it goes by


@dataclass(slots=True, kw_only=True)
class Watched:
    """The guards over one attempt."""

    claimed: Claimed
    agent: Agent
    book: Book = field(init=False)
    at: datetime = field(init=False)
    _detectors: list[_Detector] = field(default_factory=list, init=False)
    _taint: Taint | None = field(default=None, init=False)
    _rows: dict[tuple[str, str], tuple[_Limiting, ...]] = field(default_factory=dict, init=False)
    _back: bool = field(default=False, init=False)  # the run was at this node before
    _read: list[tuple[sources.Answering, Any, str]] = field(
        default_factory=list, init=False
    )  # untold to `_taint`

    def __post_init__(self) -> None:
        sent, step = self.claimed.sent, self.claimed.step.pk
        self.book = limits.current(sent.edition(step))
        self.at = sent.moment(step)

    # loops

    def calls(self, agent: str, tool: Tool, arguments: Any) -> None:
        """Before a call that changes something is permitted; `arguments` are plain data, as with everything here.
        Raises ReasoningError when it would go round."""
        if tool.effect_class is Effect.NONE:
            return
        for one in self._looking(agent, tool.name):
            self._act(one, one.loops.before(self.claimed.step.seq, tool.name, arguments))

    def returned(self, agent: str, of: Tool | Delegate, arguments: Any, answer: str) -> None:
        """After a call has its answer, or its error. Raises ReasoningError when the agent goes round."""
        name = of.name
        if isinstance(of, Tool):
            self._read.append(((name, of.answers), arguments, answer))
        for one in self._looking(agent, name):
            self._act(one, one.loops.called(self.claimed.step.seq, agent, name, arguments, answer))

    def answered(self, agent: str, text: str) -> None:
        """After a model's reply. Raises ReasoningError when it says the same again and again."""
        for one in self._looking(agent, ""):
            self._act(one, one.loops.said(self.claimed.step.seq, agent, text))

    def done(self, given: BaseModel, output: BaseModel) -> None:
        """The attempt's output, as of a call of this node: a run may go round over several nodes."""
        if not isinstance(self.claimed.workflow.pattern, Orchestrated):
            return  # which alone comes back to a node
        name = self.claimed.node.name
        looking = self._looking(self.agent.name, "")
        if not self._back:
            return  # the first of its kind; should the run come back, it is read off the record
        asked, said = plain(given), canonical(output)
        for one in looking:
            self._act(one, one.loops.called(self.claimed.step.seq, name, name, asked, said))

    def _looking(self, agent: str, tool: str) -> list[_Detector]:
        """The detectors, each with the limits that hold for this agent and tool."""
        if not self._detectors:
            self._detectors = [_Detector(enforcing=True)]
            if not _TOLD.isdisjoint(self.book.told):
                self._detectors.append(_Detector(enforcing=False))
            self._back = sources.again(self.claimed, [one.loops for one in self._detectors])
        for one, rows in zip(self._detectors, self._limiting(agent, tool), strict=True):
            one.rows, one.loops.limits = rows
        return self._detectors

    def _limiting(self, agent: str, tool: str) -> tuple[_Limiting, ...]:
        """By detector, the limits of what it counts."""
        rows = self._rows.get((agent, tool))
        if rows is None:
            to = bounds.place(self.claimed.workflow, self.claimed.run, agent=agent, tool=tool)
            rows = self._rows[agent, tool] = self.book.kept(
                (Loops, self.book.whose(to)),
                self.at,
                lambda: tuple(self._limits(one, agent, tool) for one in self._detectors),
            )
        return rows

    def _limits(self, detector: _Detector, agent: str, tool: str) -> _Limiting:
        found = {name: self._row(kind, agent, tool, detector) for name, kind in _COUNTED.items()}
        amounts = {name: row.value if row else sources.NEVER for name, row in found.items()}
        return {name: row for name, row in found.items() if row}, Limits(**amounts)

    def _row(self, kind: LimitKind, agent: str, tool: str, detector: _Detector) -> Row | None:
        rows = self._strictest(kind, Window.NONE, agent, tool)
        return next((row for row in rows if (row.mode is Mode.ENFORCE) == detector.enforcing), None)

    def _strictest(self, kind: LimitKind, window: Window, agent: str, tool: str) -> tuple[Row, ...]:
        to = bounds.place(self.claimed.workflow, self.claimed.run, agent=agent, tool=tool)
        return self.book.strictest(kind, window, to=to, at=self.at, fixed=fixed.built_in())

    def _act(self, detector: _Detector, finding: Finding | None) -> None:
        if finding is None:
            return
        row = detector.rows.get(finding.of)
        self._tell(finding, row)
        if detector.enforcing:
            raise ReasoningError(f"{finding.says} {_limited(row)}", where=LOOP)

    # contracts

    def unknown(self, agent: str, tool: str, names: list[str]) -> None:
        """An agent asked for a tool that it does not have."""
        found_ = Contracts(names=names or [""]).before(self.claimed.step.seq, agent, tool, {})
        if found_ is not None:
            self._tell(found_, None)

    def breaks(self, tool: str, error: StepError) -> None:
        """Arguments broke their contract."""
        says = f"The arguments of {tool} break its contract: {error.message}"
        found.tell(self.claimed, Found(guard=Guard.SCHEMA, scope=f"tool {tool}", says=says))

    def strictly(self, tool: Tool | Delegate, raw: Any) -> None:
        """Raise ContractBroken for arguments that the declared contract does not take as they are: nothing is turned
        into what it should have been, and nothing is there that it does not name."""
        broken = declared(tool).broken(raw)
        if broken is None:
            return
        place, how = broken
        where = f"{place} of the arguments of {tool.name}" if place else f"the arguments of {tool.name}"
        raise ContractBroken(f"{where}: {how}", where=place or "(whole)")

    def rejected(self, tool: Tool, given: Any, error: Exception) -> None:
        """The tool did not take arguments that its contract accepts: the two have drifted apart."""
        says = refusing(tool.arguments, given, error)
        if says is None:
            return
        contracts = Contracts(declared={tool.name: declared(tool)})
        drift = contracts.after(self.claimed.step.seq, tool.name, True, "schema", says)
        if drift is not None:
            self._tell(drift, None, mode=Mode.WARN)

    # injected arguments

    def tainted(self, agent: str, tool: Tool, arguments: Any, key: str) -> Approval | None:
        """What a person must see before this call, when an argument came out of something that was read."""
        if not tool.acts:
            return None
        given = {one.place: one.value for one in told(tool.arguments, arguments) if not one.vouched}
        finding = self._provenance().before(self.claimed.step.seq, tool.name, declared(tool), given)
        if finding is None:
            return None
        rows = self._strictest(LimitKind.TAINTED_CALLS, Window.RUN, agent, tool.name)
        enforced = next((row for row in rows if row.mode is Mode.ENFORCE), None)
        if enforced is None:
            row = rows[0] if rows else None
            self._tell(finding, row, mode=row.mode if row else Mode.OBSERVE, about=key)
            return None
        before = self._went(key)
        if before < enforced.value:
            self._tell(finding, enforced, mode=Mode.OBSERVE, about=key, value=before + 1)
            return None
        self._tell(finding, enforced, about=key, value=before + 1)
        return _approval(tool, finding)

    def _went(self, key: str) -> int:
        """Tainted calls of this run that went without asking."""
        events = Event.objects.filter(run_id=self.claimed.run.pk, kind=found.GUARD).values_list(
            "data", flat=True
        )
        return sum(
            1
            for one in events
            if (one.get("guard"), one.get("mode")) == (Guard.TAINT, Mode.OBSERVE) and one.get("about") != key
        )

    def _provenance(self) -> Taint:
        if self._taint is None:
            prompts = tuple(agent.prompt for agent in self.agent.with_delegates)
            self._taint = remembered.provenance(self.claimed, prompts)
            sources.tell_tried(self.claimed, self._taint)
        for tool, arguments, answer in self._read:
            sources.tell_answer(self._taint, self.claimed.step.seq, tool, arguments, answer)
        self._read.clear()
        return self._taint

    def _tell(
        self,
        finding: Finding,
        row: Row | None,
        *,
        mode: Mode | None = None,
        about: str = "",
        value: int | None = None,
    ) -> None:
        said = Found(
            guard=finding.guard,
            scope=finding.scope,
            says=finding.says,
            mode=mode or (row.mode if row else Mode.ENFORCE),
            row=row,
            value=finding.value if value is None else value,
            about=about,
        )
        found.tell(self.claimed, said)


def _limited(row: Row | None) -> str:
    return f"The limit is {because(row)}." if row else ""


def _approval(tool: Tool, finding: Finding) -> Approval:
    place, _, source = finding.says.partition(": ")
    return Approval(
        reason=f"“{finding.figure}” of {tool.name} came out of something that was read, and nobody had asked for it",
        evidence=(
            Check(
                ok=False,
                title="A value of this action came out of what the agent has read",
                details=(("action", place), ("source", source)),
            ),
        ),
        priority=70,
        group=f"{tool.name} with a value from outside",
    )


def both(rule: Approval | None, taint: Approval | None) -> Approval | None:
    """One question for what the tool's own rule asks and what the guard asks."""
    if rule is None or taint is None:
        return rule or taint
    return Approval(
        reason=f"{rule.reason}; and {taint.reason}",
        evidence=(*taint.evidence, *rule.evidence),
        priority=max(rule.priority, taint.priority),
        deadline_seconds=min(rule.deadline_seconds, taint.deadline_seconds),
        group=rule.group,
    )


def declared(one: Tool | Delegate) -> Declared:
    """A tool as its author declares it, for the guards that also judge recorded runs."""
    if isinstance(one, Delegate):
        return _declared(one.name, Effect.NONE, False, one.takes)
    return _declared(one.name, one.effect_class, one.egress, one.arguments)


@lru_cache(maxsize=512)
def _declared(name: str, effect: Effect, egress: bool, contract: type[BaseModel]) -> Declared:
    return Declared(
        name=name, effect=effect, egress=egress, schema=closed_within(contract.model_json_schema())
    )
