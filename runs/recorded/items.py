"""A recorded run as the items that the engine plays: what is kept of each, and what guards would have said. Pure.

An item is a step's input. It holds what was recorded, what the tool's owner declares, how long to wait, and the
observations: recorded calls are observed, never refused, so all of this can be known before the run starts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import BaseModel, ConfigDict

from runs.definitions import Effect
from runs.recorded.toolsets import Declared, Tools, Toolsets
from runs.recorded.trace import Agent, RecordedStep, Source, Trace

LONGEST_NODE = 80
LONGEST_PAUSE = 90.0  # seconds; a model call may take 120


class Kept(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Observed(Kept):
    """What a guard would have said in earnest: which one, about what, the figure, and a sentence."""

    guard: Literal["unknown tool", "arguments", "approval", "recorded error"]
    scope: str
    figure: str = ""
    says: str


class Item(RecordedStep):
    """One recorded item as a step's input. `pause_s` is how long it takes here, in seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    index: int
    effect: Effect = Effect.NONE
    egress: bool = False
    observed: tuple[Observed, ...] = ()
    pause_s: float = 0.0

    @property
    def node(self) -> str:
        """The place of the workflow: the agent that thought, the tool that was called, or "message"."""
        name = {"model": self.agent or "agent", "tool": self.tool or "tool"}.get(self.kind, "message")
        return name[:LONGEST_NODE]

    @property
    def acts(self) -> bool:
        """Whether the recorded tool changed the world or reached outside, as far as anybody declared."""
        return self.effect is not Effect.NONE or self.egress

    @property
    def provider_failed(self) -> bool:
        """Whether the model call itself failed; other errors of a model item are about what it said."""
        if self.kind != "model" or not self.failed:
            return False
        return self.error_kind == "provider" or not (self.error_kind or self.output)


class Said(Kept):
    """What came of an item: a step's output."""

    agent: str = ""
    text: str | None = None
    error: str | None = None
    error_kind: str = ""


class Recording(Kept):
    """The input of a recorded run: what was recorded about it as a whole. `trace` is the digest of its content."""

    run_id: str
    trace: str
    items: int
    source: Source
    domain: str = ""
    model: str = ""
    goal: str = ""
    agents: tuple[Agent, ...] = ()
    tools: tuple[str, ...] = ()
    toolset: str = ""
    system_prompt_tokens: int | None = None
    speed: float = 0.0


def recording(trace: Trace, speed: float) -> Recording:
    """What the run keeps as its input."""
    return Recording(
        run_id=trace.run_id,
        trace=trace.digest,
        items=len(trace.items),
        source=trace.source,
        domain=trace.domain,
        model=trace.model,
        goal=trace.goal or "",
        agents=trace.agents,
        tools=trace.tools,
        toolset=trace.toolset,
        system_prompt_tokens=trace.system_prompt_tokens,
        speed=speed,
    )


def items(trace: Trace, toolsets: Toolsets, speed: float) -> Iterator[Item]:
    """Every item in its order. `speed` 0 is as fast as possible, 1 as recorded, n is n times faster."""
    declared = toolsets.of(trace.toolset)
    for place, step in enumerate(trace.items):
        pause = min(LONGEST_PAUSE, (step.latency_s or 0.0) / speed) if speed else 0.0
        known = (declared or {}).get(step.tool)
        yield Item(
            **(step.model_dump() | {"index": place, "model": step.model or trace.model}),
            effect=_effect(step, known),
            egress=step.kind == "tool" and (known is None or known.egress),
            observed=tuple(_observed(step, trace, declared)),
            pause_s=pause,
        )


def _effect(step: RecordedStep, known: Declared | None) -> Effect:
    if step.kind != "tool":
        return Effect.NONE
    return known.effect if known else Effect.IRREVERSIBLE


def _observed(step: RecordedStep, trace: Trace, declared: Tools | None) -> Iterator[Observed]:
    if step.kind == "tool":
        yield from _about_tool(step, trace, declared)
    if (
        step.kind == "model"
        and step.failed
        and step.error_kind != "provider"
        and (step.error_kind or step.output)
    ):
        yield Observed(
            guard="recorded error",
            scope=f"agent {step.agent}",
            figure=step.error_kind,
            says=(step.error or step.error_kind)[:300],
        )


def _about_tool(step: RecordedStep, trace: Trace, declared: Tools | None) -> Iterator[Observed]:
    scope = f"tool {step.tool}"
    known = (declared or {}).get(step.tool)
    names = set(declared) if declared is not None else set(trace.tools)
    if names and step.tool not in names:
        says = f"{step.agent or 'the agent'} asked for a tool that it does not have"
        yield Observed(guard="unknown tool", scope=scope, figure=step.tool, says=says)
        return
    if step.args is None:
        yield Observed(guard="arguments", scope=scope, says="the arguments are no JSON object")
    broken = known.broken(step.args) if known and step.args is not None else None
    if broken:
        place, words = broken
        at = f" at {place}" if place else ""
        yield Observed(
            guard="arguments", scope=scope, figure=place, says=f"arguments break the contract{at}: {words}"
        )
    yield from _about_approval(scope, known)


def _about_approval(scope: str, known: Declared | None) -> Iterator[Observed]:
    if known is None:
        says = "would have asked: the tool does not say what it changes, so it counts as irreversible"
        yield Observed(guard="approval", scope=scope, figure="undeclared", says=says)
    elif known.effect is Effect.IRREVERSIBLE:
        yield Observed(
            guard="approval", scope=scope, figure=known.effect, says="would have asked: irreversible tool"
        )
    elif known.egress:
        yield Observed(
            guard="approval", scope=scope, figure="egress", says="would have asked: the tool reaches outside"
        )
