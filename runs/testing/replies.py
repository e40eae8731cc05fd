"""Scripted agents: what they reply, in order, behind a provider of their own named `scripted`. No database.

The definition of a trial is a copy whose scripted agents ask `scripted/<their model>`; the engine knows no difference.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runs.agents import door, misbehaviour, prices, simulated
from runs.agents.door import ModelReply, ModelRequest
from runs.testing.faults import ScriptRanDry

PROVIDER = "scripted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One reply of a scripted agent: a call of a tool, an error of its provider, or else an output."""

    output: Any = None
    text: str = ""
    tool: str = ""
    arguments: Mapping[str, Any] | None = None
    error: BaseException | None = None
    whole: ModelReply | None = None  # as it was recorded

    def to(self, request: ModelRequest) -> ModelReply:
        """The reply to this request. Raises the error it stands for."""
        if self.error is not None:
            raise self.error
        if self.whole is not None:
            return self.whole
        if self.tool:
            return simulated.calls(request, self.tool, self.arguments or {}, text=self.text)
        return simulated.says(request, self.output, text=self.text)


def says(output: Any, *, text: str = "") -> Reply:
    """The agent gives this output, and these words beside it."""
    return Reply(output=output, text=text)


def calls(tool: str, arguments: Mapping[str, Any] | None = None, *, text: str = "") -> Reply:
    """The agent asks for one call of a tool, or of another agent it may delegate to."""
    return Reply(tool=tool, arguments=arguments or {}, text=text)


def fails(error: BaseException) -> Reply:
    """The agent's provider raises this, for example `RecoverableError("503")`."""
    return Reply(error=error)


Rule = Callable[[ModelRequest], Reply | ModelReply]
Script = Sequence[Reply] | Rule


class Scripts:
    """The scripts of one trial, by agent. Each reply of a list is given once, in order."""

    def __init__(self, by_agent: Mapping[str, Script]) -> None:
        self._rules: dict[str, Rule] = {name: one for name, one in by_agent.items() if callable(one)}
        self._lists = {name: list(one) for name, one in by_agent.items() if not callable(one)}
        self._given: dict[str, int] = defaultdict(int)
        self._lock = threading.Lock()
        self.fault: ScriptRanDry | None = None

    def __contains__(self, agent: str) -> bool:
        return agent in self.names()

    def names(self) -> set[str]:
        """The agents that have a script."""
        return {*self._rules, *self._lists}

    def reply(self, request: ModelRequest) -> ModelReply:
        """What the agent replies now. Raises ScriptRanDry, which the trial tells its author."""
        rule = self._rules.get(request.agent)
        said = rule(request) if rule is not None else self._next(request)
        return said if isinstance(said, ModelReply) else said.to(request)

    def _next(self, request: ModelRequest) -> Reply:
        with self._lock:
            place = self._given[request.agent]
            self._given[request.agent] += 1
            script = self._lists.get(request.agent, [])
            if place < len(script):
                return script[place]
            self.fault = self.fault or ScriptRanDry(_dry(request, len(script)), agent=request.agent)
            raise self.fault

    def left(self) -> dict[str, int]:
        """How many replies nobody asked for, by agent; those with none are left out."""
        with self._lock:
            left = {name: len(script) - self._given[name] for name, script in self._lists.items()}
        return {name: count for name, count in left.items() if count > 0}


def _dry(request: ModelRequest, replies: int) -> str:
    last = request.messages[-1]
    return (
        f"{request.agent} was asked for reply {replies + 1}, and its script has {replies}. "
        f"It was told last ({last.role}): {last.text[:300]}"
    )


_scripts: Scripts | None = None


def use(scripts: Scripts | None) -> None:
    """From now on scripted agents of this process reply from these."""
    global _scripts
    _scripts = scripts


async def _ask(request: ModelRequest) -> ModelReply:
    scripts = _scripts
    if scripts is None:
        raise ScriptRanDry(f"{request.agent} was asked after its trial had ended.")
    order = misbehaviour.asked(request)
    if order is None:
        return scripts.reply(request)
    return await misbehaviour.bent(order, request, lambda: scripts.reply(request))


door.register(PROVIDER, _ask)
prices.PRICES.setdefault(f"{PROVIDER}/", prices.PRICES["simulated/"])
