"""One run, watched step by step: what every guard that acquires nothing says, before a call is made and after.

`judged` feeds a recorded run through it. The engine uses the same detectors of loops, contracts, drift and provenance
(`runs.engine.watched`), fed as things happen, and the same decisions about contexts, turns of a definition and what
opens a breaker (`runs.guards.caps`, `runs.guards.breaking`). What differs is who counts: here the record, online the
database within the permit, which compares turns a run and asks open breakers there too (`runs_reserve`, `runs_pass`):
`tests/spend/test_decisions.py` holds those two against the pure functions. It refuses nothing.
Order of calls for a step: `thinks` / `answered` around a model call, `calls` / `returned` around a tool call, `hears`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

from runs.guards.amounts import Amounts
from runs.guards.arguments import Contracts
from runs.guards.breakers import Breakers
from runs.guards.findings import Finding, Limits
from runs.guards.loops import Loops
from runs.guards.taint import Taint
from runs.recorded.toolsets import Toolsets
from runs.recorded.trace import RecordedStep, Trace


@dataclass(slots=True, kw_only=True)
class Watch:
    """The guards over one run. `breakers` are those of all runs that call the same models."""

    goal: str = ""
    model: str = ""
    contracts: Contracts = field(default_factory=Contracts)
    limits: Limits = field(default_factory=Limits)
    breakers: Breakers = field(default_factory=Breakers)
    person: str | None = None  # who set the goal, or else whoever opens the run; what they say is theirs
    amounts: Amounts = field(init=False)
    loops: Loops = field(init=False)
    taint: Taint = field(init=False)
    _accepted: bool = field(init=False, default=True)
    _begun: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self.amounts = Amounts(limits=self.limits)
        self.loops = Loops(limits=self.limits)
        self.taint = Taint()
        self.taint.told(self.goal)

    def thinks(self, step: int) -> list[Finding]:
        """Before a model call."""
        self._begun = True
        return _some(self.amounts.asked_model(step))

    def answered(
        self, step: int, *, agent: str, text: str, length: int, failed: bool = False, model: str = ""
    ) -> list[Finding]:
        """After a model call: what it said, and how many tokens the history has now. `failed`: the provider's error."""
        return _some(
            self.breakers.outcome(step, model or self.model, failed),
            None if failed else self.loops.said(step, agent, text),
            self.amounts.grew(step, length),
        )

    def calls(self, step: int, *, agent: str, tool: str, args: Any) -> list[Finding]:
        """Before a tool call is permitted, from its name, its arguments and what came before."""
        self._begun = True
        wrong = self.contracts.before(step, agent, tool, args)
        self._accepted = wrong is None
        return _some(wrong, self.taint.before(step, tool, self.contracts.tool(tool), args))

    def returned(
        self,
        step: int,
        *,
        agent: str,
        tool: str,
        args: Any,
        answer: str,
        length: int,
        error: str = "",
        error_kind: str = "",
    ) -> list[Finding]:
        """After a tool call, or its rejection."""
        self.taint.read(step, tool, args, answer or error)
        return _some(
            self.contracts.after(step, tool, self._accepted, error_kind, error),
            self.loops.called(step, agent, tool, args, f"{answer} {error}"),
            self.amounts.grew(step, length),
        )

    def hears(self, step: int, *, agent: str, text: str, length: int) -> list[Finding]:
        """A message. What the person says who set the goal is theirs; what anybody else says was read somewhere."""
        if self.person is None and not self._begun:
            self.person = agent
        self._begun = True
        if agent == self.person:
            self.taint.told(text)
        else:
            self.taint.heard(step, agent, text)
        self.loops.heard(agent, text)
        return _some(self.amounts.grew(step, length))

    def step(self, number: int, item: RecordedStep) -> list[Finding]:
        """A recorded step, through the methods above in their order."""
        said = item.output or item.input or ""
        length = item.context_tokens or item.tokens_in + item.tokens_out
        if item.kind == "message":
            return self.hears(number, agent=item.agent, text=said, length=length)
        if item.kind == "model":
            failed = item.failed and (item.error_kind == "provider" or not (item.error_kind or item.output))
            return self.thinks(number) + self.answered(
                number,
                agent=item.agent,
                text=item.output or "",
                length=length,
                failed=failed,
                model=item.model,
            )
        args: Any = item.args if item.args is not None else (item.args_raw or {})
        return self.calls(number, agent=item.agent, tool=item.tool, args=args) + self.returned(
            number,
            agent=item.agent,
            tool=item.tool,
            args=args,
            answer=item.output or "",
            length=length,
            error=item.error or "",
            error_kind=item.error_kind,
        )


def watch(
    trace: Trace, toolsets: Toolsets, limits: Limits | None = None, breakers: Breakers | None = None
) -> Watch:
    """A watch over a recorded run, as its tools are declared."""
    limits = limits or Limits()
    names: Collection[str] = frozenset(trace.tools)
    return Watch(
        goal=trace.goal or "",
        model=trace.model,
        contracts=Contracts(declared=toolsets.of(trace.toolset), names=names),
        limits=limits,
        breakers=breakers or Breakers(limits=limits),
    )


def judged(
    trace: Trace, toolsets: Toolsets, limits: Limits | None = None, breakers: Breakers | None = None
) -> Iterator[Finding]:
    """Everything the guards say about a recorded run, in the order of its steps."""
    watching = watch(trace, toolsets, limits, breakers)
    for number, item in enumerate(trace.items):
        yield from watching.step(number, item)


def _some(*found: Finding | None) -> list[Finding]:
    return [one for one in found if one is not None]
