"""A small research desk: an agent reads papers and claims, somebody independent verifies, a letter is written.

`desk` is not registered, trials do that themselves; `verifying` and `verifying_again` are, for people's acts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from escalations.models import Escalation
from runs.agents.door import ModelReply, ModelRequest
from runs.agents.simulated import answer, calls, given, says, simulated
from runs.definitions import (
    Agent,
    Ask,
    Claim,
    Claims,
    Effect,
    ErrorPolicy,
    Node,
    Quote,
    Retry,
    Tool,
    ToVerify,
    Verdict,
    Verdicts,
    Verifies,
    Workflow,
)
from runs.registry import register
from tests import factories
from tests.flows import making
from tests.flows.making import Closed

PAPERS = {
    "bridge": "The bridge was opened in 1931.\nIts span is 503 metres, its weight 39,000 tonnes.",
    "ferry": "The ferry left service in June 1932, because the bridge had been opened.",
}
WRITTEN: list[str] = []
INVENT = "invent something"  # told to the researcher, it invents


class Topic(Closed):
    name: str
    told: str = ""


class Found(Claims):
    """What the researchers claim."""


class Letter(Closed):
    lines: tuple[str, ...]


class Paper(Closed):
    name: str


class Note(Closed):
    text: str


READ = Tool(
    name="paper.read",
    arguments=Paper,
    perform=lambda paper, gate: {"name": paper.name, "text": PAPERS.get(paper.name, "")},
    sentence=lambda paper: f"Read {paper.name}",
    effect=Effect.NONE,
    egress=False,
)
KEEP = Tool(
    name="note.keep",
    arguments=Note,
    perform=lambda note, gate: {"kept": note.text},
    sentence=lambda note: f"Keep the note {note.text}",
    effect=Effect.NONE,
    egress=False,
)

OPENED = {
    "text": "The bridge was opened in 1931.",
    "quotes": [{"source": "paper.read", "text": "opened in 1931"}],
}
SPAN = {"text": "It spans 503 m.", "quotes": [{"source": "paper.read", "text": "Its span is 503 metres"}]}
INVENTED = {
    "text": "It was painted green in 1949.",
    "quotes": [{"source": "paper.read", "text": "was painted green in 1949"}],
}


@simulated("verify_researcher")
def research(request: ModelRequest) -> ModelReply:
    if answer(request) is None:
        return calls(request, "paper.read", {"name": given(request)["name"]})
    claims = [OPENED, SPAN, *([INVENTED] if given(request)["told"] == INVENT else [])]
    return says(request, {"claims": claims})


@simulated("verify_second")
def second(request: ModelRequest) -> ModelReply:
    """Agrees with whatever the first has said."""
    return says(request, given(request))


@simulated("verify_checker")
def check(request: ModelRequest) -> ModelReply:
    statements = given(request)["statements"]
    return says(request, {"verdicts": [{"number": one["number"], "holds": True} for one in statements]})


@simulated("verify_other")
def other(request: ModelRequest) -> ModelReply:
    if answer(request) is None:
        return calls(request, "paper.read", {"name": "bridge"})
    return says(request, {"claims": [OPENED]})


def agent(name: str, *tools: Tool, model: str = "") -> Agent:
    return making.agent(name, *tools, model=model or f"simulated/{name}-1", max_turns=6)


RESEARCHER = agent("verify_researcher", READ, KEEP)
SECOND = agent("verify_second")
CHECKER = agent("verify_checker")
OTHER = agent("verify_other", READ)


def all_hold(asked: ToVerify) -> Verdicts:
    return Verdicts(verdicts=tuple(Verdict(number=one.number, holds=True) for one in asked.statements))


def write(found: Found) -> Letter:
    lines = tuple(claim.text for claim in found.claims)
    WRITTEN.extend(lines)
    return Letter(lines=lines)


def desk(
    work: Any = all_hold,
    *,
    verifies: Mapping[str, Any] | None = None,
    nodes: tuple[Node, ...] = (),
    **node: Any,
) -> Workflow:
    """Research, verify, write. `nodes` come between the first two; `node` changes the verify step."""
    between = tuple(one.name for one in nodes if one.agents)
    rule = {"nodes": ("research", *between), **(verifies or {})}
    verify = Node(name="verify", work=work, takes=Found, gives=Found, verifies=Verifies(**rule))
    patient = ErrorPolicy(recoverable=Retry(times=1, then=Ask()))
    return making.pipeline(
        "verify_desk",
        Node(name="research", work=RESEARCHER, takes=Topic, gives=Found, errors=patient),
        *nodes,
        replace(verify, **node),
        Node(name="write", work=write, takes=Found, gives=Letter),
        goal=lambda topic: topic.name,
        samples=lambda: [{"name": "bridge"}],
    )


def agreeing() -> Node:
    """A second agent that is given what the first one claimed, and says the same."""
    return Node(name="agree", work=SECOND, takes=Found, gives=Found)


def claim(text: str, *quotes: tuple[str, str]) -> Claim:
    return Claim(text=text, quotes=tuple(Quote(source=source, text=words) for source, words in quotes))


VERIFYING = register(replace(desk(), name="verifying"))
VERIFYING_AGAIN = register(replace(desk(verifies={"back_to": OTHER}), name="verifying_again"))


def doubted(workflow: str = "verifying") -> Escalation:
    """An escalation about one invented claim beside two that stand."""
    return factories.escalation_of(
        factories.advanced(factories.started(workflow, name="bridge", told=INVENT))
    )
