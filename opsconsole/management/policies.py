"""Rehearsing what is no limit: thresholds of breakers, a step's error policy, what follows when a context is full.

Over the console's own runs, or over traces of files. Changes nothing: these are settings and definitions, and whoever
changes them there can see beforehand what that would have done.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from escalations import drafted, imports
from escalations.rehearsals import KEPT
from opsconsole.account import account
from opsconsole.management.recordings import declared
from opsconsole.management.traces import recorded
from runs import registry
from runs.definitions import ErrorPolicy, Node, Workflow
from runs.engine import breakers
from runs.guards.breaking import BreakerRule
from runs.limits.units import Unit, shown
from runs.models import RehearsedPolicy, Run
from runs.recorded import family
from runs.recorded.toolsets import Toolsets
from runs.rehearsal import chains, errors, filling
from runs.rehearsal.breakers import Name, PastEnd, Played, Waiting
from runs.rehearsal.breakers import departure as of_breaker
from runs.rehearsal.crossings import NO_MOMENTS, milliseconds
from runs.rehearsal.departures import Departure, Sums
from runs.rehearsal.history import PastRun
from runs.rehearsal.policies import CLASSES, digest_of, of_errors, of_full
from runs.shown import failures
from runs.verdicts import work_name

RETRIES = (
    10  # of a run whose workflow is not installed here, as definitions have it unless they say otherwise
)
WORDS = ("breaker", "policy", "when-full")
_RULE = {
    "consecutive": "so many failures in a row open it",
    "ratio": "percent of calls that failed",
    "least": "so many calls in the window before a share counts",
    "window": "seconds",
    "slow_ms": "a call that takes longer is slow",
    "try_slow_ms": "a try of an agent whose own calls take longer together is slow; 0: none is",
    "slow_ratio": "percent of calls that were slow, of an agent of its tries",
    "open_seconds": "until the first probe",
}
Say = Callable[[str], object]
Outcome = Iterator[
    tuple[PastRun, bool, Departure | None, str]
]  # run, whether covered, what differs, what is not told


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Over what: the console's runs of a time, or the traces of files."""

    since: datetime
    until: datetime
    traces: tuple[Path, ...] = ()
    believe: bool = False


def add_arguments(parser: ArgumentParser) -> None:
    policy = parser.add_argument_group("rehearse policy WORKFLOW STEP (with traces: STEP is an agent)")
    for name in CLASSES:
        policy.add_argument(
            f"--{name}", metavar="CHAIN", help='such as "retry 2, ask"; default: as installed'
        )
    full = parser.add_argument_group("rehearse when-full AGENT compact|ask")
    full.add_argument(
        "--tokens", type=int, help="with a limit of so many context tokens; default: as limits held"
    )
    rule = parser.add_argument_group("rehearse breaker [model|tool|agent[:NAME]]")
    for name, says in _RULE.items():
        rule.add_argument(
            f"--{name.replace('_', '-')}", dest=name, type=int, metavar="N", help=f"{says}; default: as now"
        )


def rehearse(
    words: list[str], options: Mapping[str, Any], span: Span, *, tell: Callable[[Departure], None], say: Say
) -> tuple[dict[str, Any], str, dict[str, Any]]:
    """The draft, the draft in one clause, and its figures; `tell` hears each run that differs. Raises CommandError."""
    match words:
        case ["policy", workflow, step]:
            draft, says, found = _policy(workflow, step, options, span, say)
        case ["when-full", agent, "compact" | "ask" as what]:
            draft, says, found = _full(agent, what, options["tokens"], span, say)
        case ["breaker"] | ["breaker", _]:
            draft, says, found = _breaker(words[1] if words[1:] else "", options, span, say)
        case _:
            raise CommandError(
                "Write policy WORKFLOW STEP, when-full AGENT compact (or ask), or breaker [model|tool|agent[:NAME]]."
            )
    sums = Sums()
    for run, ours, one, untold in found:
        sums.look(run, ours=ours)
        if ours and untold:
            sums.untold[untold] += 1
        if one is not None:
            sums.differs(one)
            tell(one)
    figures = sums.as_json()
    if "openings" in draft:
        figures["openings"] = draft.pop("openings")
    return draft, says, figures


def keep(words: list[str], draft: Mapping[str, Any], says: str, span: Span, totals: dict[str, Any]) -> None:
    """Note that a definition's policy was rehearsed over the console's own runs, for those who read the definition."""
    if words[0] == "breaker" or span.traces:
        return
    RehearsedPolicy.objects.filter(at__lt=span.until - KEPT).delete()
    RehearsedPolicy.objects.create(
        digest=digest_of({name: value for name, value in draft.items() if name != "tokens"}),
        says=says,
        since=span.since,
        until=span.until,
        by=f"command line ({account()})",
        totals=totals,
    )


def _policy(
    workflow: str, step: str, options: Mapping[str, Any], span: Span, say: Say
) -> tuple[dict[str, Any], str, Outcome]:
    installed, node = _node(workflow, step, known=bool(span.traces))
    before = node.errors if node else ErrorPolicy()
    named = {work_name(work): work for work in before.stand_ins}
    given = {name: _chain(options[name], named) for name in CLASSES if options[name]}
    after = replace(before, **given)
    draft: dict[str, Any] = of_errors(workflow, step, after)
    says = f"{workflow}, {step}: " + "; ".join(f"{name} {draft[name]}" for name in CLASSES)
    if span.traces:
        budget = installed.retry_budget if installed else RETRIES
        return draft, says, _policy_of_traces(workflow, step, after, budget, span, say)
    budgets = _budgets(workflow, span)
    runs = failures.runs(span.since, span.until, drafted.taken)
    return draft, says, _policy_of_runs(failures.with_failures(runs, workflow, step, budgets), after)


def _policy_of_runs(
    found: Iterator[tuple[PastRun, list[errors.PastFailure] | None]], policy: ErrorPolicy
) -> Outcome:
    for run, failed in found:
        if failed is None:
            yield run, False, None, ""
        else:
            yield run, True, errors.departure(run, failed, policy), errors.untold(failed)


def _policy_of_traces(
    workflow: str, agent: str, policy: ErrorPolicy, budget: int, span: Span, say: Say
) -> Outcome:
    for path in span.traces:
        known = declared(path) or Toolsets()
        for one in recorded(path, believe=span.believe, say=say):
            run = imports.history(one.trace, known, one.succeeded)
            named = workflow in ("any", one.trace.workflow, family.name_of(one.trace.workflow))
            if not named or not _asks(run, agent):
                yield run, False, None, ""
                continue
            failed = errors.of_trace(one.trace, agent, budget)
            yield run, True, errors.departure(run, failed, policy), errors.ONLY_MODELS


def _node(workflow: str, step: str, *, known: bool) -> tuple[Workflow | None, Node | None]:
    """The newest definition, and its step. `known`: of traces neither has to be installed."""
    installed = registry.newest(workflow)
    node = next((one for one in installed.nodes if one.name == step), None) if installed else None
    if node is None and not known:
        if installed is None:
            raise CommandError(f"There is no workflow {workflow!r}.")
        names = ", ".join(one.name for one in installed.nodes)
        raise CommandError(f"{workflow} has no step {step!r}; it has {names}.")
    return installed, node


def _chain(words: str, named: Mapping[str, Any]) -> Any:
    try:
        return chains.chain(words, named)
    except chains.Unreadable as why:
        raise CommandError(str(why)) from why


def _budgets(workflow: str, span: Span) -> Callable[[int], int]:
    """The retries that each run's own version allows; of one that is gone, the newest's."""
    rows = Run.objects.filter(workflow=workflow, created_at__gte=span.since, created_at__lt=span.until)
    versions = dict(rows.values_list("pk", "version"))
    newest = registry.newest(workflow)
    by_version: dict[int, int] = {}

    def budget(number: int) -> int:
        if number not in versions:  # it has begun since
            versions[number] = Run.objects.values_list("version", flat=True).get(pk=number)
        version = versions[number]
        if version not in by_version:
            one = registry.workflow(workflow, version) or newest
            by_version[version] = one.retry_budget if one else 0
        return by_version[version]

    return budget


def _full(
    agent: str, what: str, tokens: int | None, span: Span, say: Say
) -> tuple[dict[str, Any], str, Outcome]:
    if tokens is not None and tokens < 1:
        raise CommandError("--tokens is a whole number above 0.")
    if span.traces and tokens is None:
        raise CommandError("No limit held where traces ran: give --tokens N.")
    cap = f" at {tokens:,} tokens" if tokens else " where limits of context tokens held"
    draft = of_full(agent, what) | {"tokens": tokens}
    says = f"{agent}, full{cap}: {what}"
    if tokens is None:
        runs = failures.runs(span.since, span.until, drafted.taken)
        return draft, says, _full_of_runs(failures.with_full(runs, agent), compacts=what == "compact")
    return draft, says, _full_at(agent, tokens, _all_runs(span, say), compacts=what == "compact")


def _full_of_runs(
    found: Iterator[tuple[PastRun, list[filling.PastFull] | None]], *, compacts: bool
) -> Outcome:
    for run, full in found:
        yield run, full is not None, filling.departure(run, full or (), compacts=compacts), ""


def _full_at(agent: str, cap: int, runs: Iterator[PastRun], *, compacts: bool) -> Outcome:
    for run in runs:
        ours = _asks(run, agent)
        yield run, ours, filling.departure(run, filling.places(run, agent, cap), compacts=compacts), ""


def _asks(run: PastRun, agent: str) -> bool:
    return any(call.kind == "model" and call.agent == agent for call in run.calls)


def _all_runs(span: Span, say: Say) -> Iterator[PastRun]:
    if not span.traces:
        yield from failures.runs(span.since, span.until, drafted.taken)
        return
    for path in span.traces:
        known = declared(path) or Toolsets()
        for one in recorded(path, believe=span.believe, say=say):
            yield imports.history(one.trace, known, one.succeeded)


def _breaker(
    which: str, options: Mapping[str, Any], span: Span, say: Say
) -> tuple[dict[str, Any], str, Outcome]:
    kind, _colon, name = which.partition(":")
    if kind not in ("", "model", "tool", "agent"):
        raise CommandError(
            f"{which!r} has no breaker: write model, tool or agent, such as model:openai/small."
        )
    only: Name | None = (kind, name) if kind else None
    now = breakers.rule()
    given = {field: options[field] for field in _RULE if options[field] is not None}
    if any(value < (field != "try_slow_ms") for field, value in given.items()):
        raise CommandError("Thresholds are whole numbers above 0; try-slow-ms may be 0.")
    rule = replace(now, **given)
    runs = list(_all_runs(span, say)) if span.traces else None
    ends = list(_ends_of_traces(runs)) if runs is not None else failures.ends(span.since, span.until)
    before, after = _played(now, rule, only, ends)
    terms = {field: getattr(rule, field) for field in _RULE}
    openings = {"now": len(before.openings), "draft": len(after.openings)}
    openings["first"] = [  # type: ignore[assignment]
        {"breaker": " ".join(one.name), "at": one.at.isoformat(), "why": one.why}
        for one in after.openings[:20]
    ]
    draft = {"breaker": which or "all", **terms, "openings": openings}
    changed = ", ".join(f"{field} {value}" for field, value in given.items()) or "as the settings are"
    says = f"breaker {which or 'of everything'}: {changed}; opens {openings['draft']} times, now {openings['now']}"
    found = iter(runs) if runs is not None else failures.runs(span.since, span.until, drafted.taken)
    return draft, says, _breaker_of_runs(found, before, after, only)


def _played(
    now: BreakerRule, rule: BreakerRule, only: Name | None, ends: Iterable[PastEnd]
) -> tuple[Played, Played]:
    before, after = Played(rule=now, only=only), Played(rule=rule, only=only)
    for one in ends:
        before.feed(one)
        after.feed(one)
    return before.over(), after.over()


def _breaker_of_runs(runs: Iterator[PastRun], before: Played, after: Played, only: Name | None) -> Outcome:
    was, would = _by_run(before), _by_run(after)
    for run in runs:
        ours = any(_is_its(only, call.kind, call.model, call.agent, call.tool) for call in run.calls)
        yield (
            run,
            ours,
            of_breaker(run, was.get(run.key, ()), would.get(run.key, ())),
            ("" if run.timed else NO_MOMENTS),
        )


def _is_its(only: Name | None, kind: str, model: str, agent: str, tool: str) -> bool:
    if only is None:
        return True
    of = {"model": model, "agent": agent} if kind == "model" else {"tool": tool}
    return only[0] in of and only[1] in ("", of[only[0]])


def _by_run(played: Played) -> dict[str, list[Waiting]]:
    found: dict[str, list[Waiting]] = {}
    for one in played.waiting:
        found.setdefault(one.end.key, []).append(one)
    return found


def _ends_of_traces(runs: list[PastRun]) -> Iterator[PastEnd]:
    """The calls of traces that have moments, in their order. What failed is what the record marks so."""
    found = [
        PastEnd(
            key=run.key,
            place=place,
            call=call,
            its=call.failed,
            latency_ms=milliseconds(call.ended - call.begun),
        )
        for run in runs
        if run.timed
        for place, call in enumerate(run.calls)
        if call.begun is not None and call.ended is not None
    ]
    return iter(sorted(found, key=lambda one: (one.call.begun, one.key, one.place)))


def sentences(says: str, found: Mapping[str, Any]) -> Iterator[str]:
    """What it came to, a line a figure."""
    saved, waits = found["saved"], found["calls_waiting"]
    rate = found["extra_escalations_per_operator_hour"]
    yield f"{says}."
    yield (
        f"{found['runs']:,} runs looked at: in {found['asked']:,} a person is asked, {found['ended']:,} end, "
        f"{found['tried']:,} go on, {found['otherwise']:,} go on by another, {found['waits']:,} wait."
    )
    yield (
        f"Successes lost: {found['successes_lost']:,} of {found['successes']:,}; of {found['success_unknown']:,} "
        "nobody knows."
    )
    yield (
        f"Saved: {shown(Unit.MONEY, saved['cost_micros'])} and {saved['tokens_in'] + saved['tokens_out']:,} tokens "
        f"in {saved['calls']:,} calls."
    )
    if waits["calls"]:
        yield (
            f"{waits['calls']:,} more calls wait, {waits['failed']:,} of which failed then; {waits['ms']:,} ms in all."
        )
    yield f"Extra escalations: {found['extra_escalations']:,}" + (
        f", {rate:.3f} an operator-hour." if rate is not None else "; nobody was at work in that time."
    )
    yield f"Decisions that would differ: {found['decisions_differ']:,} of {found['answered']:,}."
    if found["beside"]:
        yield f"{found['beside']:,} other runs have nothing to do with it."
    for one in found["not_told"]:
        yield f"{one['runs']:,} runs: {one['why']}"
