"""Workflows of the tests in which rules and supervisors decide: what each should do stands in the run's own input."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Callable
from typing import Any

from runs import registry
from runs.agents.door import ModelReply, ModelRequest
from runs.agents.simulated import calls, says, simulated
from runs.definitions import (
    END,
    Another,
    Approval,
    Ask,
    Delegate,
    Edge,
    End,
    ErrorPolicy,
    Fallback,
    Join,
    Node,
    Orchestrated,
    Pipeline,
    Plan,
    RefusedOutput,
    Repair,
    RepairStep,
    Rest,
    Results,
    Retry,
    Supervised,
    Task,
    Trail,
    Verify,
    Workflow,
)
from runs.errors import DataError, ReasoningError, RecoverableError
from tests.flows import making
from tests.flows.making import Closed, pipeline, workflow
from tests.runs.flows import agent, tool


class Letter(Closed):
    text: str
    drafts: int = 0


class Verdict(Closed):
    text: str
    drafts: int
    good: bool


class Counted(Closed):
    done: int
    words: str


def _draft(letter: Letter) -> Letter:
    return Letter(text=letter.text, drafts=letter.drafts + 1)


def _judge(letter: Letter) -> Verdict:
    wanted = int(letter.text.partition(" ")[0])
    return Verdict(text=letter.text, drafts=letter.drafts, good=letter.drafts >= wanted)


def _again(trail: Trail) -> Letter:
    return Letter(text=trail.input.text, drafts=trail.last("judge").drafts)


def _strict(verdict: Verdict) -> bool:
    if verdict.text.endswith("rule breaks"):
        raise ZeroDivisionError("a rule that fails")
    return verdict.good


WRITING_ROUND = registry.register(
    workflow(
        "writing_round",
        Orchestrated(
            nodes=(
                Node(name="draft", work=_draft, takes=Letter, gives=Letter),
                Node(name="judge", work=_judge, takes=Letter, gives=Verdict),
            ),
            edges=(
                Edge(source="draft", target="judge"),
                Edge(source="judge", target=END, when=_strict, says="good"),
                Edge(source="judge", target="draft", hand=_again, most=3, says="not yet"),
            ),
        ),
        goal=lambda letter: letter.text,
    )
)


def _unfinished(letter: Letter) -> Any:
    return {**letter.model_dump(), "drafts": "many"}


_UNFINISHED = (
    Node(name="draft", work=_unfinished, takes=Letter, gives=Letter),
    Node(name="judge", work=_judge, takes=Letter, gives=Verdict),
)
MENDED_CHAIN = registry.register(
    workflow("mended_chain", Pipeline(nodes=_UNFINISHED), goal=lambda letter: letter.text)
)
MENDED_ROUND = registry.register(
    workflow(
        "mended_round",
        Orchestrated(
            nodes=_UNFINISHED,
            edges=(Edge(source="draft", target="judge"), Edge(source="judge", target=END)),
        ),
        goal=lambda letter: letter.text,
    )
)


class Chore(Closed):
    """What one task should do: done, fails, ends (asks a person), waits for GO."""

    does: str
    number: int


class Chores(Closed):
    does: tuple[str, ...]
    worker: str = "chore"


GO = threading.Event()
SEEN: set[int] = set()  # threads that were performing tasks
TOGETHER = threading.Barrier(2)


class Crowd:
    """How many were inside at once, at most. Whoever comes in stays until as many are there as may be, or 0.3 s."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self.most = 0

    def __enter__(self) -> None:
        with self._changed:
            self._inside += 1
            self.most = max(self.most, self._inside)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._inside > 2, timeout=0.3)

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._inside -= 1


CROWD = Crowd()


PAY = dataclasses.replace(tool(), approval=lambda payment, _: Approval(reason=f"{payment.amount} is money"))


def _plan(chores: Chores) -> Plan:
    return Plan(
        tasks=tuple(
            Task(worker=chores.worker, input={"does": does, "number": number})
            for number, does in enumerate(chores.does)
        )
    )


def _chore(chore: Chore) -> Counted:
    SEEN.add(threading.get_ident())
    match chore.does:
        case "fails":
            raise DataError("this one cannot be done")
        case "asks":
            raise ReasoningError("somebody should look")
        case "waits":
            assert GO.wait(60)
        case "meets":
            TOGETHER.wait(60)
        case "counts":
            with CROWD:
                pass
    return Counted(done=1, words=f"{chore.number} {chore.does}")


def _count(results: Results) -> Counted:
    done = [one for one in results.results if one.state == "done"]
    words = ", ".join(f"{one.input['number']} {one.state}" for one in results.results)
    return Counted(done=len(done), words=words)


def supervised(name: str, **more: Any) -> Workflow:
    return workflow(
        name,
        Supervised(
            supervisor=Node(
                name="plan", work=_plan, takes=Chores, gives=Plan, errors=ErrorPolicy(data=Ask())
            ),
            workers=(
                Node(
                    name="chore",
                    work=_chore,
                    takes=Chore,
                    gives=Counted,
                    errors=ErrorPolicy(data=End(), recoverable=Retry(times=2, base_seconds=0.0)),
                ),
                Node(
                    name="payer",
                    work=agent("task_payer", PAY),
                    takes=Chore,
                    gives=Counted,
                    errors=ErrorPolicy(data=Ask()),
                ),
            ),
            then=(Node(name="count", work=_count, takes=Results, gives=Counted),),
            **more,
        ),
        goal=lambda chores: ", ".join(chores.does),
    )


CHORES = registry.register(supervised("chores", most_tasks=60))
CHORES_MOST = registry.register(supervised("chores_most", join=Join(need=0.5)))
CHORES_FIRST = registry.register(supervised("chores_first", join=Join(need=1, rest=Rest.END)))
CHORES_TWO_BY_TWO = registry.register(supervised("chores_two_by_two", width=2))
CHORES_ONE_BY_ONE = registry.register(supervised("chores_one_by_one", width=1))


@simulated("task_payer")
def pay_task(request: ModelRequest) -> ModelReply:
    chore = json.loads(request.messages[0].text)
    last = request.messages[-1]
    if last.role == "tool":
        return says(request, {"done": 1, "words": last.text})
    return calls(request, "cashbox.pay", {"amount": 200 + chore["number"]})


class Area(Closed):
    areas: tuple[tuple[str, ...], ...]


class OneArea(Closed):
    does: tuple[str, ...]


def _plan_areas(area: Area) -> Plan:
    return Plan(tasks=tuple(Task(worker="area", input={"does": list(does)}) for does in area.areas))


def _plan_area(area: OneArea) -> Plan:
    tasks = (Task(worker="chore", input={"does": d, "number": n}) for n, d in enumerate(area.does))
    return Plan(tasks=tuple(tasks))


def _count_areas(results: Results) -> Counted:
    done = [one for area in results.results for one in area.results if one.state == "done"]
    return Counted(done=len(done), words=", ".join(one.state for one in results.results))


AREAS = registry.register(
    workflow(
        "areas",
        Supervised(
            supervisor=Node(name="plan", work=_plan_areas, takes=Area, gives=Plan),
            workers=(
                Node(name="area", work=_plan_area, takes=OneArea, gives=Plan, errors=ErrorPolicy(data=Ask())),
                Node(name="chore", work=_chore, takes=Chore, gives=Counted, errors=ErrorPolicy(data=End())),
            ),
            then=(Node(name="count", work=_count_areas, takes=Results, gives=Counted),),
            join=Join(need=0.5),
            depth=2,
        ),
        goal=lambda area: f"{len(area.areas)} areas",
    )
)


# error policies


class Sum(Closed):
    plan: str
    parts: tuple[int, ...] = (1, 2)


class Total(Closed):
    total: int
    by: str = ""


def _adds_up(given: Sum, total: Total) -> None:
    if total.total != sum(given.parts):
        raise ReasoningError(f"{total.total} is not the sum of {list(given.parts)}", where="total")


def _mend(refused: RefusedOutput) -> Total:
    return Total(total=sum(refused.input["parts"]), by=f"mended: {refused.error}")


def _verify(refused: RefusedOutput) -> Total:
    return Total(total=sum(refused.input["parts"]), by=f"verified {refused.output['total']}")


@simulated("adder")
def add(request: ModelRequest) -> ModelReply:
    given = json.loads(request.messages[0].text)
    match given["plan"]:
        case "provider down":
            if request.model == "simulated/adder":
                raise RecoverableError("503 from the provider")
        case "broken":
            return says(request, {"total": "three"})
        case "wrong":
            return says(request, {"total": 99})
    return says(request, {"total": sum(given["parts"]), "by": request.model})


@simulated("second_adder")
def add_again(request: ModelRequest) -> ModelReply:
    given = json.loads(request.messages[0].text)
    return says(request, {"total": sum(given["parts"]), "by": "second"})


def _adds_up_data(given: Sum, total: Total) -> None:
    if total.by == "a check that fails":
        raise ZeroDivisionError("nobody foresaw this")
    if total.total != sum(given.parts):
        raise DataError(f"{total.total} is not the sum of {list(given.parts)}", where="total")


def adding(name: str, accept: Callable[[Sum, Total], None] = _adds_up, **policy: Any) -> Workflow:
    node = Node(
        name="add",
        work=agent("adder"),
        takes=Sum,
        gives=Total,
        accept=accept,
        errors=ErrorPolicy(**policy),
    )
    return pipeline(name, node, goal=lambda given: given.plan)


ADDING = registry.register(
    adding(
        "adding",
        recoverable=Retry(
            times=1, base_seconds=0.0, then=Fallback(models=("simulated/adder-b",), then=Ask())
        ),
        data=RepairStep(by=_mend),
        reasoning=Verify(by=_verify),
    )
)
ADDING_CHECKED = registry.register(adding("adding_checked", _adds_up_data, data=Ask()))
ADDING_TOLD = registry.register(
    adding("adding_told", data=Repair(then=Another(agent=agent("second_adder"))), reasoning=Ask())
)
ADDING_ANOTHER = registry.register(
    adding(
        "adding_another",
        reasoning=Another(agent=agent("second_adder")),
        data=Another(agent=agent("second_adder")),
    )
)


# delegates


class Wish(Closed):
    amount: int


class Granted(Closed):
    said: str


@simulated("manager")
def manage(request: ModelRequest) -> ModelReply:
    wish = json.loads(request.messages[0].text)
    last = request.messages[-1]
    if last.role == "tool":
        return says(request, {"said": f"clerk: {json.loads(last.text)['said']}"})
    return calls(request, "ask_clerk", {"amount": wish["amount"]}, text="The clerk will do it.")


@simulated("clerk")
def clerk(request: ModelRequest) -> ModelReply:
    wish = json.loads(request.messages[0].text)
    last = request.messages[-1]
    if last.role == "tool":
        return says(request, {"said": last.text})
    return calls(request, "cashbox.pay", {"amount": wish["amount"]})


def _delegating() -> Workflow:
    clerk_agent = agent("clerk", PAY)
    delegate = Delegate(name="ask_clerk", agent=clerk_agent, takes=Wish, gives=Granted)
    manager = making.agent("manager", delegates=(delegate,))
    return pipeline(
        "delegating",
        Node(name="manage", work=manager, takes=Wish, gives=Granted),
        goal=lambda wish: f"{wish.amount}",
    )


DELEGATING = registry.register(_delegating())
