"""The cases of the crash matrix: one fault at one failpoint each, and what must come of it. Hurts nobody.

What does it, and looks afterwards, is tests/faults/matrix.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from runs.definitions import Workflow
from tests.faults import workflows

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
    "mid_mark": "while it marks what a pause holds",
    "mid_lift": "while it lets go what a pause held",
    "after_ack": "after an act that is not answered",
    "after_start_before_move": "after the start for a file that is not moved",
    "unread_begin": "before it reads that a run is begun",
    "unread_hand_on": "before it reads that a step is handed on",
    "unread_task_done": "before it reads that a task is done",
    "unread_take_up": "before it reads that an answered run is taken up",
    "unread_given": "before it reads that a run with a person's value is taken up",
    "unread_start": "before it reads that its act is committed",
    "unread_permit": "before it reads that an effect is permitted",
    "unread_record": "before it reads that an effect is recorded",
}
TOOLS: dict[str, tuple[Workflow, str]] = {
    "asks": (workflows.SEND, ""),
    "repeatable": (workflows.SEND_REPEATABLE, ", of a repeatable tool"),
    "looks": (workflows.SEND_LOOK, ", of a tool that can look"),
}
BESIDE = "beside"  # two tasks of one plan side by side, both of a tool that can look
OF_TASKS = ("unread_task_done",)  # which there are in plans alone
ACTS = {
    "start": " (a start)",
    "approve": " (an approval)",
    "pause": " (a pause)",
    "release": " (a release)",
    "drop": "",
}
OF_ACTS = {
    "after_ack": ("start", "approve", "pause", "release"),
    "after_start_before_move": ("drop",),
    "unread_start": ("start",),
    "mid_mark": ("pause",),
    "mid_lift": ("release",),
}
AT_EFFECTS = ("after_permit", "before_effect", "after_effect_before_record")
# The passage that matters: the first permit is a model call's, the first step has no effect.
PASSAGES = {
    "before_permit": 2,
    "after_permit": 2,
    "mid_settle": 2,
    "after_commit_before_wake": 2,
    "unread_hand_on": 2,
    "unread_permit": 2,
    "unread_record": 2,
}
NOTHING_LATE = (
    "after_wake",
    "mid_settle",
)  # nothing was claimed; the transaction is gone with its connection
ANSWERED = ("unread_take_up", "unread_given")  # which there are when a person has answered


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
    def answered(self) -> bool:
        """Whether people agree to its effect beforehand."""
        return self.act == "approve" or self.point in ANSWERED

    @property
    def beside(self) -> bool:
        return self.tool == BESIDE

    @property
    def order(self) -> dict[str, Any]:
        """What its run is started with. Of two tasks the first is done in time only if the other one is under way."""
        if not self.beside:
            return {}
        return {"tasks": ["pass" if self.point in OF_TASKS else "send", "send"]}

    @property
    def nodes(self) -> int:
        """How many steps its run has when it is done."""
        return 4 if self.beside else len(self.workflow.nodes)

    @property
    def keys(self) -> int:
        """How many effects it has."""
        return 2 if self.beside and self.point not in OF_TASKS else 1

    @property
    def workflow(self) -> Workflow:
        match self.act:
            case "drop" | "pause" | "release":
                return workflows.PLAIN
            case _ if self.point == "unread_given":
                return workflows.SEND_MENDED
            case _ if self.answered:
                return workflows.SEND_ASKED
            case _:
                return workflows.CREW if self.beside else TOOLS[self.tool][0]

    @property
    def doubtful(self) -> bool:
        """Whether nobody who lives knows how the effect ended. Who only lost a connection says it on another one."""
        if self.point == "unread_permit":  # not even who was told nothing knows
            return not self.first
        return self.point in AT_EFFECTS and self.fault != "reset" and not self.first

    @property
    def unsent(self) -> bool:
        """Whether the gate was lost with the connection, so that a stop could be engaged: nothing may leave then."""
        return self.fault == "reset" and self.point == "after_permit" and not (self.first or self.beside)

    @property
    def asked(self) -> list[str]:
        """The questions that people get."""
        if self.point == "unread_given":
            return ["contract"]
        if self.answered:
            return ["approval"]
        return ["unknown"] if self.doubtful and self.tool == "asks" else []

    @property
    def hasty(self) -> bool:
        """Whether it stands still with a request that may not have left yet, which must be too late when it wakes."""
        between = self.point in ("after_permit", "before_effect", "unread_permit")
        return self.fault == "freeze" and (between or (self.beside and self.point not in OF_TASKS))

    @property
    def happened(self) -> bool:
        return self.point == "after_effect_before_record"

    @property
    def arrivals(self) -> int:
        """How often its effect reaches the sink."""
        if self.workflow is workflows.PLAIN:
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
            if point in OF_ACTS:
                found += [Case(point=point, fault=fault, act=act) for act in OF_ACTS[point]]
            elif point in OF_TASKS:
                found.append(Case(point=point, fault=fault, tool=BESIDE))
            elif point == "unread_permit" or (point in AT_EFFECTS and fault != "reset"):
                found += [Case(point=point, fault=fault, tool=tool) for tool in TOOLS]
            else:
                found.append(Case(point=point, fault=fault))
    return found


def guarded() -> list[Case]:
    """What is tried once more with limits in force, and with steps side by side."""
    single = [case for case in cases() if case.workflow is not workflows.PLAIN]  # which asks for no permit
    models = [
        Case(point=point, fault=fault, first=True)
        for fault in FAULTS
        for point in ("after_permit", "unread_permit", "unread_record")
    ]
    # Past the plan's two calls of models, of which both are in flight when a heart beats.
    points = ("after_permit", "after_effect_before_record", "mid_heartbeat")
    beside = [Case(point=point, fault=fault, tool=BESIDE) for fault in FAULTS for point in points]
    return single + models + beside
