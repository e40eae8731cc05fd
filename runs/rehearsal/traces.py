"""An imported trace as a history. Pure.

A trace has no prices and, unless every item says when it was, no moments. What it says about how well it went is read
only where somebody asked for it: no guard sees it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from runs.recorded.toolsets import Toolsets
from runs.recorded.trace import RecordedStep, Trace
from runs.rehearsal.guarded import of_trace
from runs.rehearsal.history import How, PastCall, PastRun

Price = Callable[[str, int, int], int | None]  # model, tokens in, tokens out -> millionths of a US dollar


def past(
    trace: Trace,
    *,
    workflow: str,
    team: str = "",
    price: Price | None = None,
    how: How = How.UNKNOWN,
    toolsets: Toolsets | None = None,
) -> PastRun:
    """The run that was recorded. Steps are its items, numbered from 0 as in the file."""
    moments = [_moment(item) for item in trace.items]
    timed = all(moment is not None for moment in moments)
    again = _sent_again(trace)
    calls = tuple(
        replace(
            _call(trace, number, item, moments[number] if timed else None, price), first=number not in again
        )
        for number, item in enumerate(trace.items)
        if item.kind != "message"
    )
    return PastRun(
        key=trace.run_id,
        team=team,
        workflow=workflow,
        goal=" ".join((trace.goal or "").split())[:300],
        begun=moments[0] if timed else None,
        ended=_end(trace, moments[-1]) if timed else None,
        timed=timed,
        how=how,
        calls=calls,
        retries=None,
        watched=of_trace(trace, toolsets or Toolsets()),
    )


def _sent_again(trace: Trace) -> set[int]:
    """Model items that follow one of the same agent that its provider failed: no other turn."""
    failed: set[str] = set()
    again: set[int] = set()
    for number, item in enumerate(trace.items):
        if item.kind != "model":
            continue
        if item.agent in failed:
            again.add(number)
        failed.discard(item.agent)
        if provider_failed(item):
            failed.add(item.agent)
    return again


def provider_failed(item: RecordedStep) -> bool:
    """Whether a model item is one that its provider failed."""
    return item.failed and (item.error_kind == "provider" or not (item.error_kind or item.output))


def _call(
    trace: Trace, number: int, item: RecordedStep, begun: datetime | None, price: Price | None
) -> PastCall:
    one = PastCall(step=number, kind=item.kind, agent=item.agent, begun=begun, ended=_ended(item, begun))
    if item.kind == "tool":
        return replace(one, tool=item.tool)
    one = replace(one, failed=provider_failed(item))
    model = item.model or trace.model
    return replace(
        one,
        model=model,
        tokens_in=item.tokens_in,
        tokens_out=item.tokens_out,
        cost=price(model, item.tokens_in, item.tokens_out) if price else None,
        context=item.tokens_in or item.context_tokens,
    )


def _ended(item: RecordedStep, begun: datetime | None) -> datetime | None:
    return None if begun is None else begun + timedelta(seconds=item.latency_s or 0.0)


def _end(trace: Trace, last: datetime | None) -> datetime | None:
    return _ended(trace.items[-1], last)


def _moment(item: RecordedStep) -> datetime | None:
    try:
        moment = datetime.fromisoformat(item.ts or "")
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None
