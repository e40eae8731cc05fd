"""Tools that answer in a trial instead of being performed. What they would have done is kept, nothing is done."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from runs.canonical import plain
from runs.definitions import EffectGate, Tool
from runs.testing.faults import ScriptRanDry

# A function of the arguments (as their contract), or answers in order; an answer that is an error is raised.
ToolScript = Callable[[Any], Mapping[str, Any]] | Sequence[Mapping[str, Any] | BaseException]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An action that a trial kept from happening."""

    tool: str
    arguments: Mapping[str, Any]
    key: str


class Stood:
    """The stand-ins of one trial's tools."""

    def __init__(self, scripts: Mapping[str, ToolScript], *, act: bool) -> None:
        self._rules = {name: one for name, one in scripts.items() if callable(one)}
        self._lists = {name: list(one) for name, one in scripts.items() if not callable(one)}
        self._act = act
        self._lock = threading.Lock()
        self.kept: list[Kept] = []
        self.fault: ScriptRanDry | None = None

    def tool(self, tool: Tool) -> Tool:
        """The tool as the trial's copy of the definition has it."""
        if tool.name in self._rules or tool.name in self._lists:
            return self._replaced(tool, lambda arguments: self._scripted(tool, arguments))
        if tool.acts and not self._act:
            return self._replaced(tool, tool.rehearse or _unrehearsed)
        return tool

    def _replaced(self, tool: Tool, answer: Callable[[Any], Mapping[str, Any]]) -> Tool:
        def perform(arguments: Any, gate: EffectGate) -> Mapping[str, Any]:
            given = answer(arguments)
            if tool.acts:
                gate.hand_over(lambda _: self._keep(tool, arguments, gate.key))
            return given

        return replace(tool, perform=perform, find=None, look=None, repeatable=False)

    def _keep(self, tool: Tool, arguments: Any, key: str) -> None:
        with self._lock:
            self.kept.append(Kept(tool=tool.name, arguments=plain(arguments), key=key))

    def _scripted(self, tool: Tool, arguments: Any) -> Mapping[str, Any]:
        rule = self._rules.get(tool.name)
        if rule is not None:
            return rule(arguments)
        with self._lock:
            script = self._lists[tool.name]
            if not script:
                self.fault = self.fault or ScriptRanDry(
                    f"{tool.name} was called once more than its script has answers, with {plain(arguments)}."
                )
                raise self.fault
            given = script.pop(0)
        if isinstance(given, BaseException):
            raise given
        return given


def _unrehearsed(arguments: Any) -> Mapping[str, Any]:
    """What is answered for a tool whose author gave no `rehearse`."""
    return {"done": True, "rehearsed": True}
