"""Three small workflows, one a pattern, as a stranger might write them. Not registered: trials do that themselves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from runs.agents.door import ModelReply, ModelRequest
from runs.agents.simulated import calls, given, says, simulated
from runs.definitions import (
    END,
    Agent,
    Approval,
    Ask,
    Check,
    Delegate,
    Edge,
    Effect,
    EffectGate,
    ErrorPolicy,
    Join,
    Node,
    Orchestrated,
    Pipeline,
    Plan,
    Repair,
    Results,
    Retry,
    Supervised,
    Tool,
    Workflow,
)
from runs.errors import DataError

SPENT: list[tuple[str, int]] = []  # what the kit's own tool really did


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Claim(Closed):
    text: str
    amount: int = 10


class Proposal(Closed):
    amount: int
    reason: str = Field(max_length=2000)


class Spend(Closed):
    amount: int = Field(gt=0)
    purpose: str


class Settled(Closed):
    paid: bool
    note: str


class Review(Closed):
    verdict: Literal["good", "again"]
    remark: str


class Topic(Closed):
    name: str


class Topics(Closed):
    names: tuple[str, ...]


class Remark(Closed):
    text: str


class Report(Closed):
    lines: tuple[str, ...]


def agent(name: str, *tools: Tool, **more: Any) -> Agent:
    return Agent(
        name=name,
        model=more.pop("model", f"simulated/{name}-1"),
        prompt=f"You are {name}.",
        prompt_version="1",
        tools=tools,
        max_turns=more.pop("max_turns", 4),
        **more,
    )


def _spend(spend: Spend, gate: EffectGate) -> Mapping[str, Any]:
    gate.hand_over(lambda _: SPENT.append((gate.key, spend.amount)))
    return {"spent": spend.amount}


def _large(spend: Spend, proposal: Proposal) -> Approval | None:
    if spend.amount <= 100 and spend.amount == proposal.amount:
        return None
    same = Check(ok=spend.amount == proposal.amount, title="Spends what was proposed")
    return Approval(reason=f"{spend.amount} are to be spent", evidence=(same,), deadline_seconds=600)


SPEND = Tool(
    name="purse.spend",
    arguments=Spend,
    perform=_spend,
    sentence=lambda spend: f"Spend {spend.amount}",
    effect=Effect.IRREVERSIBLE,
    approval=_large,
    rehearse=lambda spend: {"spent": spend.amount},
)


@simulated("kit_proposer")
def propose(request: ModelRequest) -> ModelReply:
    claim = given(request)
    return says(request, {"amount": claim["amount"], "reason": claim["text"]}, text="This is fair.")


@simulated("kit_payer")
def pay(request: ModelRequest) -> ModelReply:
    last = request.messages[-1]
    if last.role == "tool":
        return says(request, {"paid": "spent" in json.loads(last.text), "note": last.text})
    proposal = given(request)
    return calls(request, "purse.spend", {"amount": proposal["amount"], "purpose": proposal["reason"]})


def not_more(claim: Claim, proposal: Proposal) -> None:
    if proposal.amount > claim.amount:
        raise DataError(f"{proposal.amount} is more than the {claim.amount} claimed", where="amount")


def exactly(claim: Claim, proposal: Proposal) -> None:
    if proposal.amount != claim.amount:
        raise DataError(f"{proposal.amount} is not the {claim.amount} claimed", where="amount")


PATIENT = ErrorPolicy(
    recoverable=Retry(times=2, base_seconds=600.0, cap_seconds=3600.0),
    data=Repair(times=1, then=Ask(deadline_seconds=300)),
)


def paying(**more: Any) -> Workflow:
    """A pipeline with an effect. `more` goes to the first node, `second` to the other."""
    second: dict[str, Any] = {"errors": PATIENT, **more.pop("second", {})}
    first: dict[str, Any] = {"work": agent("kit_proposer"), "errors": PATIENT, **more}
    return Workflow(
        name="kit_paying",
        version=1,
        team="Testers",
        goal=lambda claim: claim.text,
        pattern=Pipeline(
            nodes=(
                Node(name="propose", takes=Claim, gives=Proposal, **first),
                Node(name="pay", work=agent("kit_payer", SPEND), takes=Proposal, gives=Settled, **second),
            )
        ),
        samples=lambda: [{"text": "a lamp", "amount": 10}, {"text": "a desk", "amount": 500}],
    )


@simulated("kit_writer")
def write(request: ModelRequest) -> ModelReply:
    return says(request, {"text": f"About {given(request)['name']}"})


@simulated("kit_reviewer")
def review(request: ModelRequest) -> ModelReply:
    return says(request, {"verdict": "good", "remark": "Well said."})


def reviewing(most: int = 2) -> Workflow:
    """Orchestrated: write, review, and again until it is good or `most` is used up."""
    return Workflow(
        name="kit_reviewing",
        version=1,
        team="Testers",
        goal=lambda topic: topic.name,
        pattern=Orchestrated(
            nodes=(
                Node(name="write", work=agent("kit_writer"), takes=Topic, gives=Remark),
                Node(name="review", work=agent("kit_reviewer"), takes=Remark, gives=Review),
            ),
            edges=(
                Edge(source="write", target="review"),
                Edge(source="review", target=END, when=lambda one: one.verdict == "good", says="good"),
                Edge(
                    source="review",
                    target="write",
                    when=lambda one: one.verdict == "again",
                    hand=lambda trail: Topic(name=trail.last("review").remark),
                    most=most,
                    says="again",
                ),
            ),
        ),
        samples=lambda: [{"name": "rain"}],
    )


def plan(topics: Topics) -> Plan:
    return Plan.model_validate(
        {"tasks": [{"worker": "remark", "input": {"name": name}} for name in topics.names]}
    )


def report(results: Results) -> Report:
    return Report(lines=tuple(one.output["text"] if one.output else one.state for one in results.results))


def surveying(*, need: int | float | None = None, **errors: Any) -> Workflow:
    """Supervised: a remark on every topic, then a report."""
    return Workflow(
        name="kit_surveying",
        version=1,
        team="Testers",
        goal=lambda topics: ", ".join(topics.names),
        pattern=Supervised(
            supervisor=Node(name="plan", work=plan, takes=Topics, gives=Plan),
            workers=(
                Node(
                    name="remark",
                    work=agent("kit_writer"),
                    takes=Topic,
                    gives=Remark,
                    errors=ErrorPolicy(**errors),
                ),
            ),
            then=(Node(name="report", work=report, takes=Results, gives=Report),),
            join=Join(need=need),
        ),
        samples=lambda: [{"names": ["rain", "snow", "hail"]}],
    )


class Question(Closed):
    text: str
    times: int = 1


class Advice(Closed):
    text: str


def advised() -> Workflow:
    """A payer that asks an adviser first, who may spend too."""
    adviser = agent("kit_adviser", SPEND)
    payer = agent(
        "kit_asker",
        delegates=(Delegate(name="ask_adviser", agent=adviser, takes=Question, gives=Advice),),
    )
    return Workflow(
        name="kit_advised",
        version=1,
        team="Testers",
        goal=lambda proposal: proposal.reason,
        pattern=Pipeline(nodes=(Node(name="ask", work=payer, takes=Proposal, gives=Advice),)),
    )
