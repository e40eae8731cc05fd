"""What a workflow is: frozen data, written by engineers in `workflows.py` of any installed app.

No database, no effects. `runs.registry` finds the definitions, `runs.checks` refuses those that cannot
work, `runs.routing` decides from them who works next. A run keeps (name, version) of its definition.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel

from runs.claims import Claim, Claims, Quote, ToVerify, Verdict, Verdicts, a_person
from runs.patterns import (
    END,
    Edge,
    Join,
    Orchestrated,
    Pattern,
    Pipeline,
    Rest,
    Supervised,
    Trail,
    Way,
)
from runs.plans import Plan, RefusedOutput, Results, Task, TaskResult, TaskState
from runs.policies import (
    Another,
    Ask,
    End,
    ErrorPolicy,
    Fallback,
    Policy,
    Repair,
    RepairStep,
    Retry,
    Verify,
)
from runs.recorded.pattern import Recorded
from runs.starts_by import Start
from runs.trust import Untrusted, Vouched

__all__ = [
    "END",
    "Agent",
    "Another",
    "Approval",
    "Ask",
    "Check",
    "Claim",
    "Claims",
    "Compact",
    "Delegate",
    "Edge",
    "Effect",
    "EffectGate",
    "End",
    "ErrorPolicy",
    "Fallback",
    "Join",
    "Node",
    "NotKnown",
    "Orchestrated",
    "Pattern",
    "Pipeline",
    "Plan",
    "Policy",
    "Quote",
    "Recorded",
    "RefusedOutput",
    "Repair",
    "RepairStep",
    "Rest",
    "Results",
    "Retry",
    "Supervised",
    "Task",
    "TaskResult",
    "TaskState",
    "ToVerify",
    "Tool",
    "Trail",
    "Untrusted",
    "Verdict",
    "Verdicts",
    "Verifies",
    "Verify",
    "Vouched",
    "Way",
    "Workflow",
    "a_person",
]

Json = dict[str, Any]


class Effect(enum.StrEnum):
    """How far a tool changes the world. A tool that does not say counts as irreversible."""

    NONE = "none"
    REVERSIBLE = "reversible"
    IRREVERSIBLE = "irreversible"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One piece of evidence, established by our code: shown on the card, failed ones first."""

    ok: bool
    title: str
    details: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A person must approve this action. `reason` completes "Asked because ..."."""

    reason: str
    evidence: tuple[Check, ...] = ()
    priority: int = 50  # 0..100, higher is sooner
    deadline_seconds: float = 3600.0  # denied at expiry
    group: str = ""  # escalations with the same cause stand together in the inbox


@dataclass(frozen=True, slots=True, kw_only=True)
class NotKnown:
    """What a tool's `look` returns when it cannot be sure. `seen` says in a sentence what it saw, for the person."""

    seen: str


T = TypeVar("T")


class EffectGate(Protocol):
    """What a tool gets beside its arguments. The tool prepares (connects, opens), then hands over once.

    `hand_over(send)` takes the gate, asks for the permit and calls `send(seconds)` at once; `send` only puts
    the request on its way (a `sendall`, one `write`) within `seconds`; what it returns is returned.
    It raises `Refused` when a control, a lost fence or a missing approval forbids it: then nothing was sent.
    A tool with effect none and no egress need not call it.
    """

    @property
    def key(self) -> str:
        """Idempotency key, the same over all retries of this effect."""
        ...

    @property
    def seconds_left(self) -> float:
        """What remains of the run's deadline, for connects and replies."""
        ...

    def hand_over(self, send: Callable[[float], T]) -> T: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """Something an agent may call. Arguments are checked against `arguments` before anything happens.

    `perform(arguments, gate)` returns a JSON-able mapping, or raises an error of `runs.errors`.
    `approval(arguments, step_input)` returns an Approval when a person must agree, else None; every tool with an
    effect states one (a function that returns None says "never ask" in so many words).
    `look(arguments, key)` answers when nobody recorded how an effect ended: a mapping, what `perform` would have
    returned, when it happened; None when it surely did not happen and will not any more; NotKnown when it cannot be
    sure. It only reads. It is asked before a person is, and again when a person says so. `find(key)` is the same for
    those who always know and need no arguments. `repeatable` says that sending twice with the same key is safe.
    `sentence` renders the action for people from its arguments alone. `rehearse(arguments)` gives the answer that
    `perform` would, doing nothing: trials of the workflow take it instead of acting. `answers` is a model of its answer
    that marks what others have written there (Untrusted); nothing is refused by it.
    """

    name: str
    arguments: type[BaseModel]
    perform: Callable[[Any, EffectGate], Mapping[str, Any]]
    sentence: Callable[[Any], str]
    effect: Effect | None = None
    egress: bool = True
    repeatable: bool = False
    approval: Callable[[Any, Any], Approval | None] | None = None
    find: Callable[[str], Mapping[str, Any] | None] | None = None
    look: Callable[[Any, str], Mapping[str, Any] | NotKnown | None] | None = None
    rehearse: Callable[[Any], Mapping[str, Any]] | None = None
    answers: type[BaseModel] | None = None
    description: str = ""

    @property
    def effect_class(self) -> Effect:
        return self.effect or Effect.IRREVERSIBLE

    @property
    def acts(self) -> bool:
        """True when a call needs a permit: it changes the world or reaches outside."""
        return self.effect_class is not Effect.NONE or self.egress

    @property
    def looks(self) -> bool:
        """Whether it can tell by itself how an effect ended."""
        return self.look is not None or self.find is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delegate:
    """An agent that another agent may ask, like a tool with arguments `takes` and the answer `gives`.

    Its tools pass the same gates, approvals and records as those of the agent that asked it.
    """

    name: str
    agent: Agent
    takes: type[BaseModel]
    gives: type[BaseModel]
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compact:
    """When a conversation would be longer than its limit, `by` says it again in fewer words, and the agent goes on.

    `by` is an agent without tools, asked as one (a call of its own on record), or a function; either gets a
    `runs.plans.Conversation` and gives a `runs.plans.Summary`. What the agent was given first is always kept. Where
    that is not short enough a person is asked.
    """

    by: Agent | Callable[[Any], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """A role behind the model door. `model` is "provider/model"; `simulated/...` is the stand-in. `when_full` says what
    follows when its conversation would cross a limit of context tokens; None: a person is asked."""

    name: str
    model: str
    prompt: str
    prompt_version: str
    tools: tuple[Tool, ...] = ()
    delegates: tuple[Delegate, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    max_turns: int = 8
    when_full: Compact | None = None

    @property
    def simulated(self) -> bool:
        return self.model.startswith("simulated/")

    @property
    def with_delegates(self) -> tuple[Agent, ...]:
        """This agent, and everybody it may ask, directly or through others."""
        asked = [delegate.agent for delegate in self.delegates]
        if self.when_full is not None and isinstance(self.when_full.by, Agent):
            asked.append(self.when_full.by)
        return (self, *(one for agent in asked for one in agent.with_delegates))


@dataclass(frozen=True, slots=True, kw_only=True)
class Verifies:
    """What makes a node a verify step: it looks at what agents before it claimed, and none of them has a part in it.

    `nodes`: those whose agents are checked. What they quote must stand in the inputs or tool results of their steps;
    what an agent has said is no evidence, however many agents agree. `sources`: nodes whose work is a function that
    reads records; their outputs may be quoted too, by the node's name.
    `back_to`: the agent that a person may send claims back to; without one nobody can.
    """

    nodes: tuple[str, ...]
    sources: tuple[str, ...] = ()
    back_to: Agent | None = None
    priority: int = 60  # of the card; 0..100, higher is sooner
    deadline_seconds: float = 3600.0  # denied at expiry


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One place in a workflow. `work` is an Agent, or a function from a `takes` to a `gives`.

    The contract of the edge into a node is `takes`, of the edge out of it `gives`: checked on every passage.
    A function does no effects and is quick; it may be executed again after a crash. One that blocks or
    computes is `isolated`: it runs in a child process that a stop kills, at most `seconds` long.
    `accept(given, output)` looks at an output that meets its contract and raises DataError or ReasoningError when
    it is wrong all the same (a total that does not add up, a quotation that does not occur).
    With `verifies` it is a verify step: it takes Claims and gives the same contract with those that stand; its work
    is a function or an agent from ToVerify to Verdicts, or `a_person`.
    """

    name: str
    work: Agent | Callable[[Any], BaseModel]
    takes: type[BaseModel]
    gives: type[BaseModel]
    errors: ErrorPolicy = field(default_factory=ErrorPolicy)
    title: str = ""
    isolated: bool = False
    seconds: float = 300.0
    accept: Callable[[Any, Any], None] | None = None
    verifies: Verifies | None = None

    @property
    def agents(self) -> tuple[Agent, ...]:
        """Every agent that may act at this node: its own, its policy's stand-ins, and whom those may ask."""
        back_to = self.verifies.back_to if self.verifies else None
        works = (self.work, *self.errors.stand_ins, back_to)
        first = [work for work in works if isinstance(work, Agent)]
        return tuple(one for agent in first for one in agent.with_delegates)

    @property
    def plans(self) -> bool:
        """Whether its output is a plan that the engine fans out."""
        return isinstance(self.gives, type) and issubclass(self.gives, Plan)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """One version of a workflow. `goal(input)` names a run in one line for people; `samples()` gives inputs to try
    it with, the most telling first.

    `replaces`: digests of what this version was before (their first 12 characters do), whose runs may go on with it as
    it is now, because the change only mends an error. Every other change needs a new `version`.
    """

    name: str
    version: int
    team: str
    pattern: Pattern
    goal: Callable[[Any], str]
    title: str = ""
    description: str = ""
    deadline_seconds: float = 24 * 3600.0
    retry_budget: int = 10  # retries of all steps of one run together
    samples: Callable[[], Sequence[Mapping[str, Any]]] | None = None
    starts: tuple[Start, ...] = ()  # what starts it without a person; only the newest version's count
    replaces: tuple[str, ...] = ()

    @property
    def nodes(self) -> tuple[Node, ...]:
        return self.pattern.nodes

    @property
    def takes(self) -> type[BaseModel]:
        return self.nodes[0].takes

    @property
    def ways(self) -> tuple[Way, ...]:
        return self.pattern.ways

    @property
    def width(self) -> int:
        """How many steps of one run may be performed at once."""
        return self.pattern.width if isinstance(self.pattern, Supervised) else 1

    @property
    def simulated(self) -> bool:
        return any(agent.simulated for node in self.nodes for agent in node.agents)

    @property
    def recorded(self) -> bool:
        """Whether its runs were recorded elsewhere and are played here."""
        return isinstance(self.pattern, Recorded)

    def has(self, name: str) -> bool:
        """Whether this version has a node of that name."""
        return self.recorded or name in [node.name for node in self.nodes]

    def node(self, name: str) -> Node:
        """The node of that name. Raises LookupError when this version has none."""
        if isinstance(self.pattern, Recorded):
            return self.pattern.node(name)
        for node in self.nodes:
            if node.name == name:
                return node
        raise LookupError(f"{self.name} v{self.version} has no node {name!r}")
