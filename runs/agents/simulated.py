"""Rule-based stand-ins behind the model door, for agents whose model is `simulated/...`. Nothing is intelligent here.

A rule is registered for an agent's name and gets the same request a real model would get. It returns a
ModelReply (see `says` and `calls`). Every screen says *simulated* where one was used. Any of them goes wrong on
demand, see `runs.agents.misbehaviour`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Warning, register

from runs.agents import door, misbehaviour
from runs.agents.door import ModelReply, ModelRequest, ToolCall, Usage
from runs.errors import DataError

Rule = Callable[[ModelRequest], ModelReply]
_rules: dict[str, Rule] = {}


def simulated(agent: str) -> Callable[[Rule], Rule]:
    """Register the rule of an agent: `@simulated("extractor")`."""

    def register(rule: Rule) -> Rule:
        _rules[agent] = rule
        return rule

    return register


def says(request: ModelRequest, output: Any, *, text: str = "") -> ModelReply:
    """A final answer."""
    return ModelReply(model=request.model, text=text, output=output, usage=_usage(request, text, output))


def calls(request: ModelRequest, tool: str, arguments: Mapping[str, Any], *, text: str = "") -> ModelReply:
    """A request for one tool call."""
    call = ToolCall(id=f"call-{len(request.messages)}", name=tool, arguments=arguments)
    usage = _usage(request, text, dict(arguments))
    return ModelReply(model=request.model, text=text, tool_calls=(call,), usage=usage)


def given(request: ModelRequest) -> Any:
    """What the agent was given to work on, as data: its first message."""
    return json.loads(request.messages[0].text)


def answer(request: ModelRequest) -> Any:
    """What the last call was answered, as data; None when the agent has not called anything yet."""
    answers = [message.text for message in request.messages if message.role == "tool"]
    return json.loads(answers[-1]) if answers else None


async def ask(request: ModelRequest) -> ModelReply:
    """The provider: think for a moment, then answer by the rule. The pause is settable and cancellable."""
    rule = _rules.get(request.agent)
    if rule is None:
        raise DataError(f"No rule for the simulated agent {request.agent!r}.", where="agent")
    await asyncio.sleep(_pause(request))
    order = misbehaviour.asked(request)
    if order is None:
        return rule(request)
    return await misbehaviour.bent(order, request, lambda: rule(request))


def has_rule(agent: str) -> bool:
    """Whether somebody registered a rule for an agent of that name."""
    return agent in _rules


def _pause(request: ModelRequest) -> float:
    """Seconds between half and one and a half times the setting, the same for the same request."""
    digest = hashlib.sha256(repr((request.agent, request.messages)).encode()).digest()
    return float(settings.SIMULATED_SECONDS) * (0.5 + digest[0] / 255)


def _usage(request: ModelRequest, text: str, output: Any) -> Usage:
    """About four characters a token, as for prose."""
    sent = len(request.prompt) + sum(len(m.text) + len(repr(m.tool_calls)) for m in request.messages)
    back = len(text) + len(json.dumps(output, default=str))
    return Usage(tokens_in=sent // 4 + 1, tokens_out=back // 4 + 1)


@register("workflows")
def check_misbehaviour(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """That the setting names agents that are there: a slip of the pen would otherwise look like good behaviour."""
    wanted = misbehaviour.parse(settings.SIMULATED_MISBEHAVIOUR)
    known = ", ".join(sorted(_rules)) or "none"
    return [
        Warning(
            f"OPSCONSOLE_SIMULATED_MISBEHAVIOUR names {name!r}, and no simulated agent has this name.",
            hint=f"Use one of: {known}; or the name of a model, such as simulated/extractor-1.",
            id="runs.W001",
        )
        for name in sorted(wanted)
        if name.partition("@")[0] not in _rules and not name.startswith("simulated/")
    ]


door.register("simulated", ask)
misbehaviour.by_setting(misbehaviour.parse(settings.SIMULATED_MISBEHAVIOUR))
