"""The crash matrix: every failpoint with every fault, many cases side by side, each hurting a process of its own.

A case is one run and one process. First every process is hurt, then two healthy workers do what is left, then the
frozen wake up, people answer, and every process that lives does three things more. What is wrong with a case is said
afterwards by `Storm.wrong`; whether the whole record is right, by tests/faults/history.py.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.test import override_settings

from escalations import decisions
from escalations import starts as starting
from escalations.expected import AlreadyDecided
from escalations.models import Escalation
from opsconsole.embedded import processes
from runs.definitions import Workflow
from runs.dropped import SETTLE_SECONDS
from runs.engine.advance import advance
from runs.engine.runtime import Runtime
from runs.engine.triggers import folders
from runs.models import Attempt, Call, Question, Run, Step
from tests import factories
from tests.faults import acts, healed, history, workflows
from tests.faults.broker import Broker
from tests.faults.fleet import LONG_LEASE, Fleet, Process, SinkProcess
from tests.spend.audit import drifts

FAULTS = {"kill": "killed", "freeze": "frozen past its lease", "reset": "cut off from the database"}
POINTS = {
    "after_wake": "with a hint in its hand",
    "after_claim": "after a claim",
    "before_permit": "before a permit, with the gate in its hands",
    "after_permit": "after a permit",
    "before_effect": "just before a hand-over",
    "after_effect_before_record": "after an effect that is not recorded",
    "mid_settle": "inside a settlement",
    "after_commit_before_wake": "after a settlement",
    "mid_heartbeat": "inside a heartbeat",
    "after_ack": "after an act that is not answered",
    "after_start_before_move": "after the start for a file that is not moved",
}
TOOLS: dict[str, tuple[Workflow, str]] = {
    "asks": (workflows.SEND, ""),
    "repeatable": (workflows.SEND_REPEATABLE, ", of a repeatable tool"),
    "looks": (workflows.SEND_LOOK, ", of a tool that can look"),
}
BESIDE = "beside"  # two tasks of one plan side by side, both of a tool that can look
ACTS = {"start": " (a start)", "approve": " (an approval)", "drop": ""}
AT_EFFECTS = ("after_permit", "before_effect", "after_effect_before_record")
# The passage that matters: the first permit is a model call's, the first step has no effect.
PASSAGES = {
    "before_permit": 2,
    "after_permit": 2,
    "mid_settle": 2,
    "after_commit_before_wake": 2,
    "mid_heartbeat": 4,
}
NOTHING_LATE = (
    "after_wake",
    "mid_settle",
)  # nothing was claimed; the transaction is gone with its connection
PATIENCE = 60.0  # seconds, for what takes a few on a quiet machine
PATIENT_GATE_MS = 20_000  # so that it is not for the time it took that a sender gives up
SHORT_CALL, LONG_CALL = 5.0, 60.0  # seconds of a model call during which the heart beats four times


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One fault at one failpoint."""

    point: str
    fault: str
    tool: str = "asks"
    act: str = ""
    first: bool = False  # at the first passage, where the permit is a model call's

    def __str__(self) -> str:
        more = ACTS[self.act] if self.act else ", of two at once" if self.beside else TOOLS[self.tool][1]
        return f"{FAULTS[self.fault]} {POINTS[self.point]}{more}{' of a model call' if self.first else ''}"

    @property
    def failpoint(self) -> str:
        return f"{self.point}:{self.fault}:{1 if self.first else PASSAGES.get(self.point, 1)}"

    @property
    def beside(self) -> bool:
        return self.tool == BESIDE

    @property
    def order(self) -> dict[str, Any]:
        """What its run is started with."""
        return {"tasks": ["send", "send"]} if self.beside else {}

    @property
    def nodes(self) -> int:
        """How many steps its run has when it is done."""
        return 4 if self.beside else len(self.workflow.nodes)

    @property
    def keys(self) -> int:
        """How many effects it has."""
        return 2 if self.beside else 1

    @property
    def workflow(self) -> Workflow:
        match self.act:
            case "drop":
                return workflows.PLAIN
            case "approve":
                return workflows.SEND_ASKED
            case _:
                return workflows.CREW if self.beside else TOOLS[self.tool][0]

    @property
    def doubtful(self) -> bool:
        """Whether nobody who lives knows how the effect ended. Who only lost a connection says it on another one."""
        return self.point in AT_EFFECTS and self.fault != "reset" and not self.first

    @property
    def unsent(self) -> bool:
        """Whether the gate was lost with the connection, so that a stop could be engaged: nothing may leave then."""
        at_effect = self.point in ("after_permit", "before_effect") and not (self.first or self.beside)
        return self.fault == "reset" and at_effect

    @property
    def asked(self) -> list[str]:
        """The questions that people get."""
        if self.act == "approve":
            return ["approval"]
        return ["unknown"] if self.doubtful and self.tool == "asks" else []

    @property
    def happened(self) -> bool:
        return self.point == "after_effect_before_record"

    @property
    def arrivals(self) -> int:
        """How often its effect reaches the sink."""
        if self.act == "drop":
            return 0
        again = self.doubtful and self.happened and self.tool == "repeatable"
        return 2 if again else self.keys

    @property
    def late(self) -> bool:
        """Whether what it did is said too late."""
        return self.fault == "freeze" and not self.act and self.point not in NOTHING_LATE


def cases() -> list[Case]:
    """Each failpoint with each fault; at effects with each kind of tool, where that makes a difference."""
    found = []
    for fault in FAULTS:
        for point in POINTS:
            if point == "after_ack":
                found += [Case(point=point, fault=fault, act=act) for act in ("start", "approve")]
            elif point == "after_start_before_move":
                found.append(Case(point=point, fault=fault, act="drop"))
            elif point in AT_EFFECTS and fault != "reset":
                found += [Case(point=point, fault=fault, tool=tool) for tool in TOOLS]
            else:
                found.append(Case(point=point, fault=fault))
    return found


def guarded() -> list[Case]:
    """What is tried once more with limits in force, and with steps side by side."""
    single = [case for case in cases() if case.point != "after_start_before_move"]
    models = [Case(point="after_permit", fault=fault, first=True) for fault in FAULTS]
    # Past the plan's two calls of models, of which both are in flight when a heart beats.
    points = ("after_permit", "after_effect_before_record", "mid_heartbeat")
    beside = [Case(point=point, fault=fault, tool=BESIDE) for fault in FAULTS for point in points]
    return single + models + beside


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
        begun = [self._begun(case) for case in some]
        for one in begun:
            (self.hurt if self._is_hurt(one) else self.unhurt).append(one)

    def _begun(self, case: Case) -> Hurt:
        name = f"{self.fleet.folder.name}-doomed{len(self.fleet.processes)}"
        if case.act:
            return self._begun_act(case, name)
        run = acts.start(case.workflow.name, **case.order)
        process = self.fleet.alone(name, failpoint=case.failpoint, **self._settings(case))
        self.broker.hint(run.pk, queue=name)
        return Hurt(case=case, name=name, process=process, run_id=run.pk)

    def _settings(self, case: Case) -> dict[str, Any]:
        if case.unsent:
            return {"RUNS_GATE_HOLD_MS": PATIENT_GATE_MS}
        if case.point != "mid_heartbeat":
            return {}
        return {"SIMULATED_SECONDS": SHORT_CALL if case.fault == "reset" else LONG_CALL}

    def _begun_act(self, case: Case, name: str) -> Hurt:
        match case.act:
            case "start":
                process = self._acting(case, name, "start", "marta", case.workflow.name, name)
                return Hurt(case=case, name=name, process=process)
            case "approve":
                run = acts.start(case.workflow.name)
                with override_settings(SIMULATED_SECONDS=0.0):
                    advance(run.pk, Runtime("parking", "agents"))
                number = str(Escalation.objects.get(run=run).pk)
                process = self._acting(case, name, "approve", "marta", number)
                return Hurt(case=case, name=name, process=process, run_id=run.pk)
            case _:
                folder = self.fleet.folder / name
                folder.mkdir()
                (folder / f"{name}.json").write_text('{"effects": 1}')
                process = self._acting(case, name, "drop", str(folder))
                return Hurt(case=case, name=name, process=process, folder=folder)

    def _acting(self, case: Case, name: str, *words: str) -> Process:
        return self.fleet.acting(name, *words, failpoint=case.failpoint)

    def _is_hurt(self, one: Hurt) -> bool:
        if not processes.wait_until(one.process.hurt, PATIENCE):
            return False
        match one.case.fault:
            case "kill":
                one.process.wait_killed()
            case "freeze":
                one.process.wait_frozen()
        one.run_id = one.run_id or self._run_of_act(one)
        one.fence = one.run.fence
        return True

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
                history.started(again.run)
            case "approve":
                escalation = Escalation.objects.get(run_id=one.run_id)
                with pytest.raises(AlreadyDecided):
                    decisions.approve(actor=self.marta, **factories.shown(escalation))
                history.answered(escalation.question_id, "approve")
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
        busy = self._open().exclude(state="waiting", questions__state="open")
        self.broker.hint(*busy.filter(pk__in=healed.due()).values_list("pk", flat=True))
        return not busy.exists()

    def _thaw(self) -> None:
        frozen = [one for one in self.hurt if one.case.fault == "freeze"]
        for one in frozen:
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

    def wrong(self, one: Hurt) -> Iterator[str]:
        """One sentence for each thing that is not as it must be. The same for all cases."""
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
        if Attempt.objects.filter(step__run=run, state="done").count() != nodes:
            yield f"{run}: not one record a step"
        yield from self._wrong_effects(one)
        asked = list(Question.objects.filter(run=run).order_by("pk").values_list("kind", flat=True))
        if asked != case.asked:
            yield f"{run}: people were asked {asked}, not {case.asked}"
        closed = (
            "withdrawn" if case.late else "answered"
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
