"""Playing one recorded item: its call is permitted, held, recorded and shown like any other, and does nothing.

Guards and approvals only observe here: what they would have said is an event, and the recording goes on.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction
from pydantic import RootModel

from runs.agents.door import Message, ModelRequest, ToolCall
from runs.definitions import EffectGate, Tool
from runs.engine import models_asked
from runs.engine.claimed import Claimed
from runs.engine.outcomes import Refused
from runs.engine.record import announce_run, event, lock_run
from runs.engine.tools import calling
from runs.engine.worker.flights import Flight
from runs.errors import DataError
from runs.models import Event
from runs.recorded import provider
from runs.recorded.items import LONGEST_NODE, Item, Said

OBSERVED = "observed"
LONGEST_NAME = 100


class RecordedError(DataError):
    """The recorded tool call failed: for certain, and nothing follows from it here."""


class Arguments(RootModel[dict[str, Any]]):
    """Whatever was recorded; what its contract says of it has been observed."""


def play(claimed: Claimed, flight: Flight, item: Item) -> Said:
    """What came of the item when it was recorded.

    Raises CutInFlight or Refused when a control or a lost fence forbids it.
    """
    flight.check()
    if item.observed:
        _observe(claimed, item)
    match item.kind:
        case "model":
            _ask(claimed, flight, item)
        case "tool":
            _pause(flight, item)
            _call(claimed, item)
        case "message":
            _pause(flight, item)
    return Said(agent=item.agent, text=item.output, error=item.error, error_kind=item.error_kind)


def _observe(claimed: Claimed, item: Item) -> None:
    """Once a step, however often it is performed."""
    with transaction.atomic():
        run = lock_run(claimed.run.pk)
        if run is None or run.fence != claimed.fence:
            raise Refused("another worker holds this run", lost=True)
        if not Event.objects.filter(run=run, step_id=claimed.step.pk, kind=OBSERVED).exists():
            for one in item.observed:
                event(run, OBSERVED, step=claimed.step, **one.model_dump())
            run.save(update_fields=["event_seq"])
            announce_run(run)
    connection.close()


def _pause(flight: Flight, item: Item) -> None:
    if item.pause_s:
        flight.wait(lambda: asyncio.sleep(item.pause_s), item.pause_s + 5.0)


def _ask(claimed: Claimed, flight: Flight, item: Item) -> None:
    request = ModelRequest(
        model=f"{provider.PREFIX}{item.model or 'unnamed'}"[:LONGEST_NAME],
        agent=item.agent[:LONGEST_NODE],
        prompt="",
        prompt_version="recorded",
        messages=(Message(role="user", text=item.input),) if item.input else (),
        parameters={name: value for name, value in _figures(item).items() if value not in (None, "")},
        seconds_left=claimed.left(),
    )
    try:
        with provider.playing(item):
            models_asked.ask(claimed, flight, request, Counter())
    except provider.ProviderFailed:
        return  # on record as the failed call it was


def _figures(item: Item) -> dict[str, Any]:
    """What was recorded beside the reply, for whoever looks into the call."""
    return {
        "item": item.index,
        "context_tokens": item.context_tokens,
        "tokens": item.tokens_source,
        "latency_s": item.latency_s,
        "at": item.ts,
    }


def _call(claimed: Claimed, item: Item) -> None:
    tool = _tool(item)
    raw = item.args if item.args is not None else {"args_raw": item.args_raw}
    asked = ToolCall(id=f"item-{item.index}", name=tool.name, arguments=raw)
    try:
        calling.call(claimed, tool, asked, item, "", Counter())
    except RecordedError:
        return  # on record as the failed call it was


def _tool(item: Item) -> Tool:
    """The recorded tool: acts as far as its owner declares, so that its calls pass the gate, and does nothing."""
    name = (item.tool or "(unnamed)")[:LONGEST_NAME]
    result = _Result(item=item)
    return Tool(
        name=name,
        arguments=Arguments,
        perform=result.perform,
        sentence=lambda _: f"Recorded: {name}",
        effect=item.effect,
        egress=item.egress,
        approval=lambda *_: None,
        find=result.find,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Result:
    """What the tool gave when it was recorded."""

    item: Item

    @property
    def answer(self) -> Mapping[str, Any]:
        return {"text": self.item.output}

    def perform(self, _: Any, gate: EffectGate) -> Mapping[str, Any]:
        if self.item.acts:
            gate.hand_over(lambda _: None)
        if self.item.failed:
            raise RecordedError(self.item.error or f"{self.item.error_kind} error")
        return self.answer

    def find(self, _: str) -> Mapping[str, Any] | None:
        """After a crash: the call needs no second sending when its result is known to be good."""
        return None if self.item.failed else self.answer
