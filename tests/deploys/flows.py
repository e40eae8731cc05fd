"""Versions of workflows as deploys leave them: definitions made on the spot, and which of them are installed."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from django.db import transaction
from pydantic import BaseModel

from escalations.models import Escalation
from runs import registry
from runs.agents.door import ModelReply, ModelRequest
from runs.agents.simulated import calls, says, simulated
from runs.definitions import (
    END,
    Agent,
    Edge,
    Node,
    Orchestrated,
    Plan,
    Results,
    Supervised,
    Task,
    Trail,
    Workflow,
)
from runs.engine import answers
from runs.engine.places import places
from runs.models import Question, Run
from tests import factories
from tests.flows import making
from tests.flows.making import Closed
from tests.runs import flows
from tests.runs.flows import Draft, Order, Paid


class Strict(Closed):
    """What a later version asks for: it does not take what the earlier one gave."""

    text: str
    plan: str
    amount: int
    currency: str


class Crew(Closed):
    texts: tuple[str, ...]


def draft(order: Order) -> Draft:
    return Draft(text=order.text, plan=order.plan, amount=order.amount)


def review(given: Draft) -> Draft:
    return given


def strictly(given: Strict) -> Draft:
    return Draft(text=given.text, plan=given.plan, amount=given.amount)


def close(paid: Paid) -> Paid:
    return paid


@simulated("deployed_payer")
def pay(request: ModelRequest) -> ModelReply:
    """Pays once, then says how it ended."""
    given = json.loads(request.messages[0].text)
    last = request.messages[-1]
    if last.role == "tool":
        answer = json.loads(last.text)
        return says(request, {"done": "paid" in answer, "answer": json.dumps(answer)})
    return calls(request, "cashbox.pay", {"amount": given["amount"], "note": ""})


def payer(prompt: str = "Pay the bill.") -> Agent:
    return replace(flows.agent("deployed_payer", flows.tool(find=flows.CASHBOX.find)), prompt=prompt)


def close_otherwise(paid: Paid) -> Paid:
    return Paid(done=paid.done, answer="closed otherwise")


def _by(name: str, work: Any, takes: type[BaseModel], gives: type[BaseModel]) -> Node:
    return Node(name=name, work=work, takes=takes, gives=gives)


DRAFT = _by("draft", draft, Order, Draft)
REVIEW = _by("review", review, Draft, Draft)
STRICT = _by("review", strictly, Strict, Draft)
CLOSE = _by("close", close, Paid, Paid)


def paying(prompt: str = "Pay the bill.", name: str = "pay") -> Node:
    return _by(name, payer(prompt), Draft, Paid)


def pipeline(version: int, *nodes: Node, name: str = "deployed", **more: Any) -> Workflow:
    nodes = nodes or (DRAFT, REVIEW, paying(), CLOSE)
    return making.pipeline(name, *nodes, version=version, **more)


ONE, TWO = pipeline(1), pipeline(2)


def _handed(trail: Trail) -> Draft:
    first: Draft = trail.last("draft")
    return first


def machine(
    version: int, *, first: Node = DRAFT, hands: bool = True, name: str = "deployed_machine"
) -> Workflow:
    """draft -> review -> pay; what is paid is what was drafted, or what was reviewed."""
    edges = (
        Edge(source=first.name, target="review"),
        Edge(source="review", target="pay", hand=_handed if hands else None),
        Edge(source="pay", target=END),
    )
    pattern = Orchestrated(nodes=(first, REVIEW, paying()), edges=edges)
    return making.workflow(name, pattern, version=version)


def _planner(worker: str) -> Callable[[Crew], Plan]:
    return lambda crew: Plan(tasks=tuple(Task(worker=worker, input=_task(text)) for text in crew.texts))


def _task(text: str) -> dict[str, Any]:
    return {"text": text, "plan": "crash" if text == "asks" else "well", "amount": 1}


def _tally(results: Results) -> Crew:
    return Crew(texts=tuple(str(one.state) for one in results.results))


def team(version: int, *, worker: str = "write", name: str = "deployed_team") -> Workflow:
    """A plan of tasks for one worker; a task whose text is "asks" ends with a person."""
    pattern = Supervised(
        supervisor=_by("plan", _planner(worker), Crew, Plan),
        workers=(_by(worker, flows.agent("writer"), Order, Draft),),
        then=(_by("tally", _tally, Results, Crew),),
    )
    return making.workflow(name, pattern, version=version)


@contextlib.contextmanager
def installed(*workflows: Workflow) -> Iterator[None]:
    """While inside, these are the only versions of their names, as after a deploy."""
    names = {one.name for one in workflows}
    put_back: list[Callable[[], None]] = [
        registry.forget(one) for one, _ in registry.versions() if one.name in names
    ]
    for one in workflows:
        registry.register(one)
    try:
        yield
    finally:
        for one in workflows:
            registry.forget(one)
        for back in put_back:
            back()


def without_its_version() -> Escalation:
    """The question about a run of v1 that stands at its payment, after v1 has gone."""
    with installed(ONE):
        run = factories.advanced(factories.started("deployed", amount=500))
        _approved(run)
    with installed(TWO):
        factories.advanced(run)
    rows = Escalation.objects.select_related("question", "run", "team")
    return rows.get(run=run, question__kind="missing")


def _approved(run: Run) -> None:
    """By the engine alone; what the people's side keeps of it is closed with it."""
    with transaction.atomic():
        question = answers.lock(Question.objects.get(run=run, state="open").pk)
        answers.answer(question, verb="approve", answer=question.action, by="Marta")
        Escalation.objects.filter(question=question).update(state="decided")


def suggested(run: Run) -> str:
    """What a form sends back of the place that is suggested."""
    return next(place.key for place in places(run) if place.suggested)
