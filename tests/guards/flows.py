"""A workflow that reads a letter and acts on it, whose agents do what a test tells them, word for word.

What an agent is told is not in the run's input: what it says there a person would have asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any, cast

from pydantic import BaseModel

from runs import registry
from runs.agents.door import ModelReply, ModelRequest
from runs.agents.simulated import answer, calls, given, says, simulated
from runs.definitions import (
    END,
    Agent,
    Approval,
    Check,
    Compact,
    Edge,
    Effect,
    EffectGate,
    ErrorPolicy,
    Node,
    Orchestrated,
    Pattern,
    Pipeline,
    Plan,
    Repair,
    RepairStep,
    Supervised,
    Tool,
    Untrusted,
    Workflow,
)
from runs.definitions import (
    Task as PlannedTask,
)
from runs.errors import DataError, RecoverableError
from runs.plans import Conversation, Summary
from tests.flows import making
from tests.flows.making import Closed

Script = Callable[
    [int], tuple[str, dict[str, Any]] | None
]  # the n-th call that an agent asks for; None: it answers


class Task(Closed):
    """What a person starts it with. `forwarded` came from somebody else."""

    ask: str = "Do what is to be done."
    forwarded: Annotated[str, Untrusted()] = ""


class Letter(Closed):
    sender: str
    body: Annotated[str, Untrusted()]


class Mail(BaseModel):
    """What a tool answers that marks what others have written."""

    sender: str
    reply_to: Annotated[str, Untrusted()]
    links: Annotated[dict[str, str], Untrusted()]
    people: dict[str, str]


class Done(Closed):
    said: str = "done"


class Send(Closed):
    to: str
    text: str = "hello"
    copies: int = 1


class Look(Closed):
    name: str


class World:
    """What agents are told to do, what they find, and what came of it."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.script: Script = lambda number: None
        self.letter = "Nothing of interest."
        self.shelf: Callable[[str, int], Mapping[str, Any]] = lambda name, number: {"name": name}
        self.sent: list[tuple[str, str]] = []
        self.looked: Counter[str] = Counter()
        self.outputs: list[str] = []
        self.asked = 0
        self.away = False
        self.left: list[float] = []  # seconds that looking was let take

    def does(self, *wanted: tuple[str, dict[str, Any]]) -> None:
        self.script = lambda number: wanted[number] if number < len(wanted) else None


WORLD = World()


def _send(send: Send, gate: EffectGate) -> Mapping[str, Any]:
    if send.text == "refuse":
        gate.hand_over(lambda _: None)
        raise DataError("the post office takes no such name", where="to")
    gate.hand_over(lambda _: WORLD.sent.append((gate.key, send.to)))
    return {"sent": True}


def _look(look: Look, gate: EffectGate) -> Mapping[str, Any]:
    WORLD.looked[look.name] += 1
    WORLD.left.append(gate.seconds_left)
    return WORLD.shelf(look.name, WORLD.looked[look.name])


def _asks(send: Send, letter: Any) -> Approval | None:
    if send.text != "costly":
        return None
    return Approval(
        reason="it is costly", evidence=(Check(ok=False, title="It is costly"),), deadline_seconds=600
    )


SEND = Tool(
    name="post.send",
    arguments=Send,
    perform=_send,
    sentence=lambda send: f"Send “{send.text}” to {send.to}",
    effect=Effect.IRREVERSIBLE,
    approval=_asks,
)
LOOK = Tool(
    name="shelf.look",
    arguments=Look,
    perform=_look,
    sentence=lambda look: f"Look for {look.name}",
    effect=Effect.NONE,
    egress=False,
)
MAIL = replace(LOOK, answers=Mail)
FETCH = Tool(
    name="web.fetch",
    arguments=Look,
    perform=lambda look, gate: gate.hand_over(lambda _: WORLD.sent.append((gate.key, look.name))) or {},
    sentence=lambda look: f"Fetch {look.name}",
    effect=Effect.NONE,
)


@simulated("watched_clerk")
def clerk(request: ModelRequest) -> ModelReply:
    WORLD.asked += 1
    number = sum(message.role == "tool" for message in request.messages)
    wanted = WORLD.script(number)
    if wanted is None:
        said = WORLD.outputs.pop(0) if WORLD.outputs else "done"
        return says(request, {"said": said}, text=f"After {number} calls.")
    name, arguments = wanted
    return calls(request, name, arguments)


@simulated("watched_reader")
def reader(request: ModelRequest) -> ModelReply:
    if request.messages[-1].role == "tool":
        return says(request, {"said": "read"})
    return calls(request, "shelf.look", {"name": "letter"})


@simulated("watched_careless")
def careless(request: ModelRequest) -> ModelReply:
    """What it read, in a field that nobody asked it for."""
    read = answer(request)
    return says(request, {"found": read}) if read else calls(request, "shelf.look", {"name": "letter"})


@simulated("watched_secretary")
def secretary(request: ModelRequest) -> ModelReply:
    said = given(request)["said"]
    return says(request, {"text": f"{len(said)} messages"})


def agent(name: str = "watched_clerk", *tools: Tool, **more: Any) -> Agent:
    tools = tools or (SEND, LOOK, FETCH)
    return making.agent(name, *tools, prompt="You are a clerk.", max_turns=12, **more)


def fetch(task: Task) -> Letter:
    return Letter(sender="anna@friends.example", body=WORLD.letter)


def compact(given: Conversation) -> Summary:
    if WORLD.away:
        raise RecoverableError("the archive is down")
    return Summary(text=f"{len(given.said)} messages about {given.given[:20]}")


def workflow(name: str, pattern: Pattern, **more: Any) -> Workflow:
    return registry.register(making.workflow(name, pattern, goal=lambda task: task.ask, **more))


STUBBORN = ErrorPolicy(data=Repair(times=6))
FETCHED = Node(name="fetch", work=fetch, takes=Task, gives=Letter)
WATCHED = workflow(
    "watched", Pipeline(nodes=(FETCHED, Node(name="act", work=agent(), takes=Letter, gives=Done)))
)
STUBBORN_ONE = workflow(
    "watched_stubborn",
    Pipeline(nodes=(FETCHED, Node(name="act", work=agent(), takes=Letter, gives=Done, errors=STUBBORN))),
)
GIVEN = workflow("watched_given", Pipeline(nodes=(Node(name="act", work=agent(), takes=Task, gives=Done),)))
COMPACTING = workflow(
    "watched_compacting",
    Pipeline(
        nodes=(
            FETCHED,
            Node(name="act", work=agent(when_full=Compact(by=compact)), takes=Letter, gives=Done),
        )
    ),
)
COMPACTED_BY_AGENT = workflow(
    "watched_compacted",
    Pipeline(
        nodes=(
            FETCHED,
            Node(
                name="act",
                work=agent(when_full=Compact(by=agent("watched_secretary"))),
                takes=Letter,
                gives=Done,
            ),
        )
    ),
)
COMPACTED_STUBBORN = workflow(
    "watched_compacted_stubborn",
    Pipeline(
        nodes=(replace(cast(Pipeline, COMPACTED_BY_AGENT.pattern).nodes[1], takes=Task, errors=STUBBORN),)
    ),
)
REPAIRED = workflow(
    "watched_repaired",
    Pipeline(
        nodes=(
            Node(
                name="act",
                work=agent("watched_careless"),
                takes=Task,
                gives=Done,
                errors=ErrorPolicy(data=RepairStep(by=agent())),
            ),
        )
    ),
)
READ_FIRST = workflow(
    "watched_read_first",
    Pipeline(
        nodes=(
            Node(name="read", work=agent("watched_reader"), takes=Task, gives=Done),
            Node(name="act", work=agent(), takes=Done, gives=Done),
        )
    ),
)
ROUND = workflow(
    "watched_round",
    Orchestrated(
        nodes=(
            Node(name="act", work=agent(), takes=Task, gives=Done),
            Node(name="again", work=lambda done: Task(ask=done.said), takes=Done, gives=Task),
        ),
        edges=(
            Edge(source="act", target=END, when=lambda done: done.said == "done"),
            Edge(source="act", target="again", most=20),
            Edge(source="again", target="act"),
        ),
    ),
)


def plan(task: Task) -> Plan:
    return Plan(tasks=tuple(PlannedTask(worker="act", input={"ask": f"{n}"}) for n in range(4)))


PLANNED = workflow(
    "watched_planned",
    Supervised(
        supervisor=Node(name="plan", work=plan, takes=Task, gives=Plan),
        workers=(Node(name="act", work=lambda task: Done(), takes=Task, gives=Done),),
    ),
)


def plan_plans(task: Task) -> Plan:
    return Plan(tasks=tuple(PlannedTask(worker="further", input={"ask": f"{n}"}) for n in range(2)))


PLANNED_DEEP = workflow(
    "watched_planned_deep",
    Supervised(
        supervisor=Node(name="plan", work=plan_plans, takes=Task, gives=Plan),
        workers=(
            Node(name="further", work=plan, takes=Task, gives=Plan),
            Node(name="act", work=lambda task: Done(), takes=Task, gives=Done),
        ),
        depth=2,
    ),
)
TOO_DEEP = workflow("watched_too_deep", replace(cast(Supervised, PLANNED_DEEP.pattern), depth=1))
TOO_WIDE = workflow("watched_too_wide", replace(cast(Supervised, PLANNED.pattern), most_tasks=3))
ONE_RETRY = workflow("watched_one_retry", STUBBORN_ONE.pattern, retry_budget=1)
MARKED = workflow(
    "watched_marked",
    Pipeline(nodes=(Node(name="act", work=agent("watched_clerk", SEND, MAIL), takes=Task, gives=Done),)),
)
MARKED_FIRST = workflow(
    "watched_marked_first",
    Pipeline(
        nodes=(
            Node(name="read", work=agent("watched_reader", MAIL), takes=Task, gives=Done),
            Node(name="act", work=agent(), takes=Done, gives=Done),
        )
    ),
)
