"""What the engine should do, said once more and shortly: one thread, a clock of numbers; no row, event, lock, gate."""

from typing import Any

from tests.model import BUDGET, DEADLINE, LEASE, POISON, SETTLES, SUSPECT, TO_ANSWER, TO_APPROVE
from tests.model.flows import WIDTH, after

OVER, GOES_ON, AFRESH = ("done", "failed", "ended"), ("running", "asked", "cut"), ("error", "contract")


class Thing:  # a run, step, question, control or claim
    state, hold, owner, verb, says, fence, retries, losses, version = "ready", "", "", "", "", 0, 0, 0, 1
    due = lease = since = by = step = question = spoiled = None
    asked = property(lambda s: s.question if s.state == "waiting" and s.question.state != "open" else None)
    told = property(lambda s: s.asked and SETTLES.get((s.asked.kind, s.asked.verb)))
    performed = property(lambda run: [s for s in run.steps if (s.state, s.fence) == ("running", run.fence)])

    def __init__(self, **given: Any) -> None:
        self.__dict__.update({"at": 0, "steps": [], "questions": []} | given)


class Model:
    def __init__(self) -> None:
        self.now, self.runs, self.controls, self.claims = 0.0, list[Any](), list[Any](), list[Any]()

    def start(self, flow: str) -> Any:
        run = Thing(flow=flow, at=self.now, due=self.now, deadline=self.now + DEADLINE)
        self.runs += (new := [] if self.is_held(run) and run.hold == "stop" else [run])
        return new

    def claim(self, run: Any, worker: str) -> list[Any]:
        mine = run.owner == worker and run.lease > self.now
        due = WIDTH[run.flow] > 1 if mine else run.due is not None and run.due <= self.now
        if run.state in OVER or not due or run.hold or self.covering(run):
            return []
        for step in run.performed if run.owner and not mine else ():
            step.losses += 1
        run.fence += not mine
        return self.choose(run, worker)

    def choose(self, run: Any, worker: str) -> list[Any]:
        run.state, run.owner, run.lease, run.due = "running", worker, self.now + LEASE, self.now + LEASE
        self.claims, nodes, first = [], tuple("-"), run.flow == "crew"  # which decides before it takes up
        denied = any(q.state == "expired" or q.verb == "reject" for q in run.questions[-1:] if not q.step)
        if denied or run.deadline <= self.now:
            self.end(run, None, "ended" if denied else "failed")
        while nodes and run.state == "running":
            steps = [step for step in run.steps if step.told or not first]
            for step in sorted(steps, key=lambda s: (s.state == "ready", s.losses)):
                self.take_up(run, step)
            then, nodes = after(run) if run.state == "running" else ("wait", ())
            self.drop(run if then == "node" else Thing())
            run.steps += [Thing(node=node, task=then == "tasks", attempts=[], errors=[]) for node in nodes]
            if then in (*OVER, "nobody"):
                self.ask(run, None, "error") if then == "nobody" else self.end(run, None, then)
            nodes, first = (nodes or ("-",) if first else nodes), False
        return self.rest(run) or [claim for claim in self.claims if claim.step in run.performed]

    def take_up(self, run: Any, step: Any) -> None:
        lost = step.state == "running" and step.fence != run.fence
        awake = step.state == "ready" or (step.state == "sleeping" and step.due <= self.now)
        alone = any(one.losses >= SUSPECT for one in (step, *run.performed))
        if step.told:
            step.says = "on" if step.told == "done" else step.says
            self.end(run, step, step.told)
        elif lost and step.losses >= POISON:
            step.attempts[-1] = "failed"
            self.ask(run, step, "error")
        elif (step.asked or lost or awake) and len(run.performed) < (1 if alone else WIDTH[run.flow]):
            afresh = step.asked is not None and step.asked.kind in AFRESH
            step.attempts += [""] if afresh or not step.attempts or step.attempts[-1] not in GOES_ON else []
            step.losses, step.attempts[-1] = 0 if afresh else step.losses, "running"
            step.state, step.fence, step.due = "running", run.fence, None
            self.claims += [Thing(run=run, step=step, by=run.owner, what=(run.fence, len(step.attempts)))]

    def rest(self, run: Any) -> list[Any]:
        if run.state not in OVER and not run.performed:
            waits = any(question.state == "open" for question in run.questions)
            run.due = min((step.due for step in run.steps if step.state == "sleeping"), default=None)
            run.state, run.owner, run.lease = "waiting" if waits or run.due is None else "sleeping", "", None
            run.state, run.due = ("ready", self.now) if self.is_held(run) else (run.state, run.due)
        return []

    def settle(self, claim: Any, how: str, what: str = "", wait: float = 0.0) -> list[Any]:
        run, step = claim.run, claim.step
        if how == "lost" or claim.what != (run.fence, len(step.attempts)) or step not in run.performed:
            return []
        step.losses, step.attempts[-1], step.says, error = 0, how, what, {"contract": "data"}.get(what, what)
        again = error in ("recoverable", "data") and error not in step.errors and run.retries < BUDGET
        step.errors, run.retries = [*step.errors, error], run.retries + again
        if how == "done" or error == "reasoning":
            self.end(run, step, "done" if how == "done" else "failed")
        elif how == "cut" and self.is_held(run):
            step.fence = 0
        elif how == "cut" or again:
            left = max(0.0, run.deadline - self.now) if again else wait
            step.state, step.fence, step.due = "sleeping", 0, self.now + min(wait, left)
        else:
            self.ask(run, step, what if how == "asked" or what == "contract" else "error")
        return self.rest(run) if run.state != "running" or self.is_held(run) else self.choose(run, claim.by)

    def ask(self, run: Any, step: Any, kind: str) -> None:
        until = min(self.now + (TO_APPROVE if kind == "approval" else TO_ANSWER), run.deadline)
        run.questions.append(Thing(run=run, step=step, kind=kind, state="open", due=until, at=self.now))
        vars(step or Thing()).update(state="waiting", fence=0, question=run.questions[-1])

    def end(self, run: Any, step: Any, state: str) -> None:
        vars(step or Thing()).update(state=state, fence=0)
        if not step or (state != "done" and not step.task):
            run.state, run.due, run.owner, run.lease = state, None, "", None
            self.drop(run)

    def drop(self, run: Any) -> None:
        for step in [step for step in run.steps if step.state not in OVER]:
            step.state, step.fence, step.due = "ended", 0, None
            step.attempts[-1:] = ["voided" if one in GOES_ON else one for one in step.attempts[-1:]]
        for question in [q for q in run.questions if q.state == "open" and (q.step or run).state in OVER]:
            question.state = "withdrawn"

    def covering(self, run: Any) -> list[Any]:
        found = [c for c in self.controls if not c.released and c.scope in ("", run.flow, run)]
        return sorted(found, key=lambda control: control.kind != "stop")

    def is_held(self, run: Any, *controls: Any) -> bool:  # by now, if anything covers it
        for control in (controls or self.covering(run))[:1] if not run.hold else ():
            run.hold, run.by, first = control.kind, control, min(one.at for one in self.covering(run))
            run.since = max(run.at, first) if run.since is None else run.since
        return bool(run.hold)

    def mark(self, control: Any) -> None:
        for run in [run for run in self.runs if run.state not in OVER and control in self.covering(run)]:
            run.hold = "" if (control.kind, run.hold) == ("stop", "pause") else run.hold
            self.is_held(run, control)

    def let_go(self, resumed: Any = None) -> None:
        for run in [run for run in self.runs if run is resumed or (run.hold == "pause" and run.by.released)]:
            run.hold = ""
            if not self.is_held(run):
                for it in [it for it in (*run.questions, *run.steps, run) if it.due is not None]:
                    it.due += self.now - max(run.since, it.at) if it.state in "open sleeping waiting" else 0
                run.deadline, run.since = run.deadline + self.now - run.since, None

    def answer(self, question: Any, verb: str = "") -> bool:  # whether it is taken; "": it expires
        run, late = question.run, question.due <= self.now and not question.run.hold
        can = {"": late and not self.covering(run), "reject": True, "approve": not late}
        if question.state != "open" or not can.get(verb, bool(question.step) and not late):
            return False
        question.state, question.verb = "answered" if verb else "expired", verb
        run.state, run.due = ("ready", self.now) if run.state != "running" else (run.state, run.due)
        return True
