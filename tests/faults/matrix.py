"""The crash matrix: every failpoint with every fault, many cases side by side, each hurting a process of its own.

A case is one run and one process. First every process is hurt, then two healthy workers do what is left, then the
frozen wake up, people answer, and every process that lives does three things more. What is wrong with a case is said
afterwards by `Storm.wrong`; whether the whole record is right, by tests/faults/history.py.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.test import override_settings

from escalations import controls, decisions
from escalations import starts as starting
from escalations.expected import AlreadyDecided, IllegalMove
from escalations.models import Escalation
from opsconsole.embedded import processes
from runs.dropped import SETTLE_SECONDS
from runs.engine.advance import advance
from runs.engine.triggers import folders
from runs.engine.worker.runtime import Runtime
from runs.models import Attempt, Call, Control, Question, Run, Step
from tests import factories
from tests.faults import acknowledged, acts, healed, workflows
from tests.faults.broker import Broker
from tests.faults.cases import Case
from tests.faults.fleet import LONG_LEASE, Fleet, Process, SinkProcess
from tests.faults.retold import retold
from tests.spend.audit import drifts

PATIENCE = 180.0  # seconds, for what takes a few on a quiet machine: two dozen processes do it at once
HINT_AGAIN_SECONDS = 1.0
PATIENT_GATE_MS = 20_000  # so that it is not for the time it took that a sender gives up


def misbooked() -> Iterator[str]:
    """What accounts say otherwise than the calls, and what is reserved for a call whose usage is known: one that was
    cut, as one of a worker that died, may have used all it might."""
    yield from (
        said for said in drifts() if ": requests is " not in said
    )  # which are dropped after two minutes
    for call in Call.objects.filter(reserved__isnull=False).exclude(
        state__in=("permitted", "unknown", "cut")
    ):
        yield f"{call} of run {call.run_id} is {call.state}, and has {call.reserved} reserved"


@dataclass(slots=True, kw_only=True)
class Hurt:
    """A case under way."""

    case: Case
    name: str
    process: Process
    run_id: int = 0  # of a start: known afterwards
    folder: Path | None = None
    fence: int = 0  # when it was hurt
    moments: dict[str, datetime] = field(default_factory=dict)  # what was done to it, and when
    voided: list[str] = field(default_factory=list)

    @property
    def run(self) -> Run:
        return Run.objects.get(pk=self.run_id)


@dataclass(slots=True, kw_only=True)
class Storm:
    """Some cases at once."""

    fleet: Fleet
    broker: Broker
    sink: SinkProcess
    marta: User
    lease: int = 0  # seconds, waited for; 0: leases are long, and ended as if their time had passed
    hurt: list[Hurt] = field(default_factory=list)
    unhurt: list[Hurt] = field(default_factory=list)

    def pass_over(self, some: Sequence[Case]) -> None:
        """Fails when a process that lives does not work. A failpoint that is not reached and a run that does not come
        to its end are no reason to stop: `wrong` says so."""
        self._hurt(
            [case for case in some if case.act]
        )  # first: what people answer is heard by every worker there is
        self._hurt([case for case in some if not case.act])
        for one in self.hurt:
            self._asked_again(one)
        for name in ("healthy-left", "healthy-right"):
            self.fleet.agents(name, RUNS_LEASE_SECONDS=LONG_LEASE)
        processes.wait_until(self._at_rest, PATIENCE)
        self._thaw()
        self._answer()
        processes.wait_until(self._all_final, PATIENCE)
        healed.heal(self.fleet, self.broker, seconds=PATIENCE)

    # hurting

    def _hurt(self, some: Sequence[Case]) -> None:
        runs = [None if case.act else self._prepared(case) for case in some]
        begun = [self._begun(case, run) for case, run in zip(some, runs, strict=True)]
        for one in begun:
            (self.hurt if self._is_hurt(one) else self.unhurt).append(one)

    def _prepared(self, case: Case) -> Run:
        """Its run. What people answer is answered before there is a worker that hears it."""
        if not case.answered:
            return acts.start(case.workflow.name, **case.order)
        run = self._parked(case)
        if case.point == "unread_given":
            acts.mend(run, by=self.marta, effects="1")
        else:
            acts.answer(run, "approve", by=self.marta)
        return run

    def _parked(self, case: Case) -> Run:
        run = acts.start(case.workflow.name)
        with override_settings(SIMULATED_SECONDS=0.0):
            advance(run.pk, Runtime("parking", "agents"))
        return run

    def _begun(self, case: Case, run: Run | None) -> Hurt:
        name = f"{self.fleet.folder.name}-doomed{len(self.fleet.processes)}"
        if run is None:
            return self._begun_act(case, name)
        process = self.fleet.alone(name, failpoint=case.failpoint, **self._settings(case))
        self.broker.hint(run.pk, queue=name)
        return Hurt(case=case, name=name, process=process, run_id=run.pk)

    def _settings(self, case: Case) -> dict[str, Any]:
        """A slow worker must neither lose its lease nor give up a sending before it is hurt: see `_end_leases`."""
        patient = {} if case.hasty else {"RUNS_GATE_HOLD_MS": PATIENT_GATE_MS}
        return {"RUNS_LEASE_SECONDS": self.lease or LONG_LEASE, **patient}

    def _begun_act(self, case: Case, name: str) -> Hurt:
        match case.act:
            case "start":
                acts.put_on_record(case.workflow)
                process = self._acting(case, name, "start", "marta", case.workflow.name, name)
                return Hurt(case=case, name=name, process=process)
            case "approve":
                run = self._parked(case)
                number = str(Escalation.objects.get(run=run).pk)
                process = self._acting(case, name, "approve", "marta", number)
                return Hurt(case=case, name=name, process=process, run_id=run.pk)
            case "pause":
                run = acts.start(case.workflow.name)
                process = self._acting(case, name, "pause", "marta", str(run.pk))
                return Hurt(case=case, name=name, process=process, run_id=run.pk)
            case "release":
                run = acts.start(case.workflow.name)
                paused = self._paused(run.pk)
                process = self._acting(case, name, "release", "marta", str(paused.pk))
                return Hurt(case=case, name=name, process=process, run_id=run.pk)
            case _:
                folder = self.fleet.folder / name
                folder.mkdir()
                (folder / f"{name}.json").write_text('{"effects": 1}')
                process = self._acting(case, name, "drop", str(folder))
                return Hurt(case=case, name=name, process=process, folder=folder)

    def _paused(self, run_id: int) -> Control:
        """By the act, which says what is engaged already when it is done again."""
        scope = str(run_id)
        control = controls.engage(actor=self.marta, kind="pause", scope_kind="run", scope=scope)
        acknowledged.engaged(control.pk, "pause", "run", scope)
        return control

    def _acting(self, case: Case, name: str, *words: str) -> Process:
        return self.fleet.acting(name, *words, failpoint=case.failpoint)

    def _is_hurt(self, one: Hurt) -> bool:
        if not self._reaches(one):
            return False
        match one.case.fault:
            case "kill":
                one.process.wait_killed()
            case "freeze":
                one.process.wait_frozen()
        one.run_id = one.run_id or self._run_of_act(one)
        one.fence = one.run.fence
        one.moments["seen to be hurt"] = datetime.now(UTC)
        return True

    def _reaches(self, one: Hurt) -> bool:
        """Until it has reached its failpoint. What it gave up on its way, for the time that it took, it tries again
        when it is told to look: it does not poll."""
        told = time.monotonic()

        def reached() -> bool:
            nonlocal told
            if one.process.hurt():
                return True
            if not one.case.act and time.monotonic() - told > HINT_AGAIN_SECONDS:
                told = time.monotonic()
                due = healed.due().filter(pk=one.run_id).exclude(state="running")
                self.broker.hint(*due.values_list("pk", flat=True), queue=one.name)
            return False

        return processes.wait_until(reached, PATIENCE)

    def _run_of_act(self, one: Hurt) -> int:
        if one.case.act == "start":
            return Run.objects.get(start_key=one.name).pk
        return Run.objects.get(start_key__endswith=f":{one.name}.json").pk

    def _asked_again(self, one: Hurt) -> None:
        """Whoever got no answer does it again, and is told what there is already."""
        match one.case.act:
            case "start":
                again = starting.start_run(
                    actor=self.marta,
                    workflow=one.case.workflow.name,
                    raw_input={"effects": 1},
                    start_key=one.name,
                )
                assert (again.created, again.run.pk) == (False, one.run_id)
                acknowledged.started(again.run)
            case "approve":
                escalation = Escalation.objects.get(run_id=one.run_id)
                with pytest.raises(AlreadyDecided):
                    decisions.approve(actor=self.marta, **factories.shown(escalation))
                acknowledged.answered(escalation.question_id, "approve")
            case "pause":
                paused = self._paused(one.run_id)
                assert Control.objects.get(scope_kind="run", scope=str(one.run_id)) == paused
                controls.release(actor=self.marta, control_id=paused.pk, reason="seen")
                acknowledged.released(paused.pk)
            case "release":
                paused = Control.objects.get(scope_kind="run", scope=str(one.run_id))
                with pytest.raises(IllegalMove):
                    controls.release(actor=self.marta, control_id=paused.pk, reason="seen")
                acknowledged.released(paused.pk)
            case "drop":
                assert one.folder is not None
                with override_settings(WATCHED_FOLDERS={f"{workflows.PLAIN.name}/dropped": one.folder}):
                    later = max(file.stat().st_ctime for file in one.folder.iterdir()) + 2 * SETTLE_SECONDS
                    assert folders.look(later) == 0

    # healing

    def _open(self) -> QuerySet[Run]:
        return Run.objects.filter(pk__in=[one.run_id for one in self.hurt]).exclude(
            state__in=("done", "failed", "ended")
        )

    def _all_final(self) -> bool:
        self.broker.hint(*self._open().filter(pk__in=healed.due()).values_list("pk", flat=True))
        return not self._open().exists()

    def _at_rest(self) -> bool:
        self._end_leases()
        busy = self._open().exclude(state="waiting", questions__state="open")
        self.broker.hint(*busy.filter(pk__in=healed.due()).values_list("pk", flat=True))
        return not busy.exists()

    def _end_leases(self) -> None:
        """As if the time of their leases had passed, for whoever extends them no more. Leases so short as to be waited
        for would be lost by who is only slow, before it is hurt."""
        for one in self.hurt:
            if self.lease or one.case.act or not self._extends_no_more(one):
                continue
            with transaction.atomic():  # a frozen process may have the row, until its transaction is ended
                held = Run.objects.filter(pk=one.run_id, state="running", lease_until__gt=Now())
                mine = held.filter(lease_owner=one.process.worker).select_for_update(skip_locked=True)
                Run.objects.filter(pk__in=[run.pk for run in mine]).update(lease_until=Now(), due_at=Now())

    def _extends_no_more(self, one: Hurt) -> bool:
        if one.case.fault != "reset":
            return True
        # What it knows to be permitted, and not how that ended, it does not give back: it leaves it to its lease.
        return one.case.point == "unread_permit" and one.run.events.filter(kind="voided").exists()

    def _thaw(self) -> None:
        frozen = [one for one in self.hurt if one.case.fault == "freeze"]
        for one in frozen:
            one.moments["thawed"] = datetime.now(UTC)
            one.process.thaw()
        for one in frozen:
            if one.case.late:
                processes.wait_until(lambda one=one: self._voided(one), PATIENCE)  # type: ignore[misc]

    def _voided(self, one: Hurt) -> bool:
        one.voided = [data.get("why", "") for data in _data(one, "voided")]
        return bool(one.voided)

    def _answer(self) -> None:
        """People look into the world and say what they found."""
        for one in self.hurt:
            question = Question.objects.filter(run_id=one.run_id, state="open").first()
            if question is not None:
                verb = "respond" if one.case.happened else "approve"
                with contextlib.suppress(
                    Escalation.DoesNotExist, AlreadyDecided
                ):  # who came back late has just said so
                    acts.answer(one.run, verb, text="I looked", by=self.marta)
                self.broker.hint(one.run_id)

    # what came of it

    def wrong(self, one: Hurt) -> list[str]:
        """One sentence for each thing that is not as it must be, the same for all cases; then all that is on record."""
        wrong = list(self._wrong(one))
        if not wrong:
            return []
        return [*wrong, retold(one.run_id, self.sink.arrivals(), one.process.log, one.moments)]

    def _wrong(self, one: Hurt) -> Iterator[str]:
        if one in self.unhurt:
            yield f"{one.case.failpoint} was not reached; see {one.process.log}"
            return
        run, case = one.run, one.case
        if run.state != "done":
            yield f"{run} is {run.state}: {run.ending}"
        nodes = case.nodes
        steps = list(Step.objects.filter(run=run).order_by("seq").values_list("seq", "state"))
        if steps != [(seq, "done") for seq in range(1, nodes + 1)]:
            yield f"{run}: its steps are {steps}"
        by_people = Step.objects.filter(run=run).exclude(answered_by="").count()
        if Attempt.objects.filter(step__run=run, state="done").count() + by_people != nodes:
            yield f"{run}: not one record a step"
        yield from self._wrong_effects(one)
        asked = list(Question.objects.filter(run=run).order_by("pk").values_list("kind", flat=True))
        if asked != case.asked:
            yield f"{run}: people were asked {asked}, not {case.asked}"
        closed = (
            "withdrawn" if case.late and not case.answered else "answered"
        )  # who wakes up says how it ended, and nobody need answer
        if Question.objects.filter(run=run).exclude(state=closed).exists():
            yield f"{run}: its question was not {closed}"
        if case.late and not all(one.voided or [""]):
            yield f"{run}: a late outcome that is not voided, or without a reason: {one.voided}"
        if case.fault in ("kill", "freeze") and not case.act and run.fence <= one.fence:
            yield f"{run}: nobody else took it, its fence is {run.fence} as it was"
        if one.folder is not None and not (one.folder / "done" / f"{one.name}.json").exists():
            yield f"{run}: its file was not moved"

    def _wrong_effects(self, one: Hurt) -> Iterator[str]:
        run, case = one.run, one.case
        arrived = self.sink.keys()
        keys = [key for key in arrived if key.startswith(f"run-{run.pk}-")]
        if len(keys) != case.arrivals or len(set(keys)) > case.keys:
            yield f"{run}: its effect arrived {len(keys)} times, with {len(set(keys))} keys"
        doubts = [data for data in _data(one, "call") if data["state"] == "unknown"]
        if bool(doubts) != (case.asked == ["unknown"]):
            yield f"{run}: its call was unknown {len(doubts)} times"
        first = Call.objects.filter(run=run, kind="tool", send=1, state="refused", error__contains="is gone")
        if case.unsent and not first.exists():
            yield f"{run}: its first sending was not given up when the gate was lost"
        open_calls = Call.objects.filter(run=run, kind="tool", state__in=("permitted", "unknown"))
        if open_calls.exists():
            yield f"{run}: nobody says how {open_calls[0]} ended"


def _data(one: Hurt, kind: str) -> list[dict[str, str]]:
    return list(one.run.events.filter(kind=kind).order_by("seq").values_list("data", flat=True))
