"""How long a run takes to go on after a person's decision: from the act called to its code starting in a worker.

Three decisions. `resume`: a person approves the value that they have put in place of one that broke its contract, and
the next step starts. `resume-again`: words to a step that failed, which is tried again. `resume-approval`: an approved
tool call, for which the model call before it is replayed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from escalations import decisions
from escalations.models import Escalation, EscalationState
from opsconsole.bench import drive
from opsconsole.bench.drive import Stamps
from opsconsole.bench.figures import of_rounds, percentile
from opsconsole.bench.flows.contracts import Slip
from opsconsole.bench.order import Order

DECISIONS = 100
Decide = Callable[[Escalation], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """One decision, in milliseconds: until the act returned (it is committed), and until the run's code started."""

    act_ms: float
    ms: float


def measure(order: Order) -> None:
    stamps = Stamps(order.stamps)
    count = order.n or DECISIONS
    kinds: tuple[tuple[str, str, Decide, str], ...] = (
        ("resume", "bench_mends", approve, "the next step's code starts"),
        ("resume-again", "bench_asks", respond, "the same step's next attempt starts"),
        ("resume-approval", "bench_pays", approve, "the approved tool starts, after the replayed model call"),
    )
    for bench, workflow, decide, until in kinds:
        _round(stamps, workflow, 4, decide)
        rounds = [_round(stamps, workflow, count, decide) for _ in range(order.rounds)]
        order.tell(
            of_rounds(
                bench,
                n=count,
                unit="ms",
                values=[percentile([one.ms for one in round_], 50) for round_ in rounds],
                samples_ms=[[one.ms for one in round_] for round_ in rounds],
                detail={
                    "from": "the act called",
                    "until": until,
                    "act_ms": [round(percentile([one.act_ms for one in round_], 50), 1) for round_ in rounds],
                    "one_after_another": True,
                    **drive.machine(),
                },
            )
        )


def _round(stamps: Stamps, workflow: str, count: int, decide: Decide) -> list[Decided]:
    """Decisions one after another, each on a run of its own, when nothing goes on of the one before: what is
    measured is a decision, not what the machine still does for another."""
    marks = [drive.mark() for _ in range(count)]
    ids = drive.started(workflow, count, marks)
    drive.wake(ids)
    waiting = Escalation.objects.filter(run_id__in=ids, state=EscalationState.OPEN)
    drive.until(lambda: waiting.count() == count, f"{count} runs ask")
    if workflow == "bench_asks":
        stamps.wait(*marks)  # of the first attempts
    if workflow == "bench_mends":
        for number, (run_id, mark) in enumerate(zip(ids, marks, strict=True)):
            mended(waiting.get(run_id=run_id), number, mark)
    by_run = {escalation.run_id: escalation for escalation in waiting.all()}
    made = []
    for run_id, mark in zip(ids, marks, strict=True):
        made.append(decided(stamps, by_run[run_id], mark, decide))
        drive.until_quiet()
    return made


def decided(stamps: Stamps, escalation: Escalation, mark: str, decide: Decide) -> Decided:
    """One decision and what it made start."""
    began = time.monotonic_ns()
    decide(escalation)
    returned = time.monotonic_ns()
    return Decided(act_ms=(returned - began) / 1e6, ms=(stamps.wait(mark)[0] - began) / 1e6)


def mended(escalation: Escalation, number: int, mark: str) -> None:
    """A person's draft in place of the value that broke its contract; approving it is the decision."""
    decisions.edit(
        actor=drive.operator(),
        escalation_id=escalation.pk,
        version=escalation.version,
        digest=escalation.digest,
        value=Slip(number=number, mark=mark).model_dump(),
    )


def respond(escalation: Escalation) -> None:
    decisions.respond(
        actor=drive.operator(),
        escalation_id=escalation.pk,
        version=escalation.version,
        digest=escalation.digest,
        text="go on",
    )


def approve(escalation: Escalation) -> None:
    decisions.approve(
        actor=drive.operator(),
        escalation_id=escalation.pk,
        version=escalation.version,
        digest=escalation.digest,
    )
