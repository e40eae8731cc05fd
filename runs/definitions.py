"""What a workflow is: frozen data, written by engineers in `workflows.py` of any installed app.

No database, no effects. `runs.registry` finds the definitions, `runs.checks` refuses those that cannot
work, `runs.routing` decides from them who works next. A run keeps (name, version) of its definition.
"""

from __future__ import annotations

import enum
import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from runs.starts_by import Start

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
    `find(key)` answers after a crash: the recorded result of the effect with this key, or None when it did not
    happen. `repeatable` says that sending twice with the same key is safe. `sentence` renders the action for
    people from its arguments alone.
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
    description: str = ""

    @property
    def effect_class(self) -> Effect:
        return self.effect or Effect.IRREVERSIBLE

    @property
    def acts(self) -> bool:
        """True when a call needs a permit: it changes the world or reaches outside."""
        return self.effect_class is not Effect.NONE or self.egress


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Ask a person; denied at the deadline."""

    priority: int = 50
    deadline_seconds: float = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """End what failed: the run, or under a supervisor the task alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Try again with exponential back-off and full jitter, inside the run's retry budget."""

    times: int = 3
    base_seconds: float = 1.0
    cap_seconds: float = 30.0
    then: Policy = field(default_factory=Ask)


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """Show the agent which value broke the contract and let it answer again."""

    times: int = 1
    then: Policy = field(default_factory=Ask)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallback:
    """The same agent on other models, one attempt each, in this order."""

    models: tuple[str, ...]
    then: Policy = field(default_factory=Ask)

    @property
    def times(self) -> int:
        return len(self.models)


@dataclass(frozen=True, slots=True, kw_only=True)
class Another:
    """Another agent does the step from its input; it is not told what the first one said."""

    agent: Agent
    then: Policy = field(default_factory=Ask)
    times: ClassVar[int] = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairStep:
    """A step of its own mends what was refused: an agent or a function from `RefusedOutput` to the node's `gives`."""

    by: Agent | Callable[[Any], BaseModel]
    then: Policy = field(default_factory=Ask)
    times: ClassVar[int] = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Verify:
    """Somebody independent looks at what was refused and why, and gives the output he stands for: an agent that is
    not the node's own, or a function, from `RefusedOutput` to the node's `gives`."""

    by: Agent | Callable[[Any], BaseModel]
    then: Policy = field(default_factory=Ask)
    times: ClassVar[int] = 1


# A chain ends with a person or with the end; each link before it is used up first.
Policy = Retry | Repair | Fallback | Another | RepairStep | Verify | Ask | End


class RefusedOutput(BaseModel):
    """What a repair step or a verifier is given. `output` is None when there was none, only an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    input: dict[str, Any]
    output: Any = None
    error: str
    where: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorPolicy:
    """What follows an error, by class. What nobody foresaw always goes to a person."""

    recoverable: Policy = field(default_factory=Retry)
    data: Policy = field(default_factory=Repair)
    reasoning: Policy = field(default_factory=Ask)


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
class Agent:
    """A role behind the model door. `model` is "provider/model"; `simulated/...` is the stand-in."""

    name: str
    model: str
    prompt: str
    prompt_version: str
    tools: tuple[Tool, ...] = ()
    delegates: tuple[Delegate, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    max_turns: int = 8

    @property
    def simulated(self) -> bool:
        return self.model.startswith("simulated/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One place in a workflow. `work` is an Agent, or a function from a `takes` to a `gives`.

    The contract of the edge into a node is `takes`, of the edge out of it `gives`: checked on every passage.
    A function does no effects and is quick; it may be executed again after a crash. One that blocks or
    computes is `isolated`: it runs in a child process that a stop kills, at most `seconds` long.
    `accept(given, output)` looks at an output that meets its contract and raises DataError or ReasoningError when
    it is wrong all the same (a total that does not add up, a quotation that does not occur).
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

    @property
    def plans(self) -> bool:
        """Whether its output is a plan that the engine fans out."""
        return isinstance(self.gives, type) and issubclass(self.gives, Plan)


END = "end"  # where the last edge of an orchestrated workflow leads


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A line from node to node, for drawings: what may follow what, and what it says."""

    source: str
    target: str
    says: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """Each node transforms and hands on to the next."""

    nodes: tuple[Node, ...]

    @property
    def ways(self) -> tuple[Way, ...]:
        return _chain(self.nodes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trail:
    """What a rule may look at: the run's input and every output so far, oldest first, as their contracts."""

    input: Any
    outputs: Mapping[str, tuple[Any, ...]]

    def last(self, node: str) -> Any:
        """The newest output of a node. Raises LookupError when it has none."""
        found = self.outputs.get(node)
        if not found:
            raise LookupError(f"{node} has given nothing yet")
        return found[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """A transition. The edges out of a node are tried in their order; the first that holds is taken.

    `when(output)` looks at the source's validated output; without it the edge always holds. `hand(trail)` makes the
    target's input; without it the source's output is handed on. `most`: how often a run may take this edge; every
    circle needs one edge that has it. `says` names the condition on drawings.
    """

    source: str
    target: str  # a node, or END
    when: Callable[[Any], bool] | None = None
    hand: Callable[[Trail], BaseModel] | None = None
    most: int | None = None
    says: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Orchestrated:
    """A state machine: it begins at the first node, and rules over validated outputs decide every transition."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    @property
    def ways(self) -> tuple[Way, ...]:
        return tuple(
            Way(source=e.source, target=e.target, says=e.says) for e in self.edges if e.target != END
        )


class Task(BaseModel):
    """One piece of a plan: which worker, and its input (checked against the worker's contract)."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    worker: str
    input: dict[str, Any]


class Plan(BaseModel):
    """What a supervisor gives: data that the engine checks against the pattern before anybody acts on it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    tasks: tuple[Task, ...] = Field(min_length=1)


class TaskState(enum.StrEnum):
    DONE = "done"
    FAILED = "failed"  # its error policy ended it
    ENDED = "ended"  # a person ended it, or it was not needed any more


class TaskResult(BaseModel):
    """How one task ended. `results` are those of its own plan, when it was one for a worker that plans."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    worker: str
    input: dict[str, Any]
    state: TaskState
    output: dict[str, Any] | None = None
    results: tuple[TaskResult, ...] = ()


class Results(BaseModel):
    """What the node after the join takes: the run's input and every task of the plan, in the plan's order."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    input: dict[str, Any]
    results: tuple[TaskResult, ...]


class Rest(enum.StrEnum):
    """What happens to the tasks still open when enough are done."""

    WAIT = "wait"  # everything settles first
    END = "end"  # they are ended, their questions withdrawn


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    """When a plan is joined. `need`: all tasks (None), a number of them, or a share (a float above 0, up to 1)."""

    need: int | float | None = None
    rest: Rest = Rest.WAIT

    def needed(self, tasks: int) -> int:
        """How many of so many tasks must be done; may be more than there are."""
        if self.need is None:
            return tasks
        if isinstance(self.need, float):
            return max(1, math.ceil(self.need * tasks - 1e-9))
        return self.need


@dataclass(frozen=True, slots=True, kw_only=True)
class Supervised:
    """A supervisor returns a plan, the engine fans out to workers on the list and joins, then `then` follow in order.

    `most_tasks` bounds each plan, `depth` how deep plans of workers may stand in plans (1: the supervisor's only),
    `width` how many steps of one run are performed at once. The supervisor performs nothing itself: it has no tool
    that acts. The first node of `then` takes `Results`; without one they are the run's output.
    """

    supervisor: Node
    workers: tuple[Node, ...]
    then: tuple[Node, ...] = ()
    join: Join = field(default_factory=Join)
    most_tasks: int = 50
    depth: int = 1
    width: int = 8

    @property
    def nodes(self) -> tuple[Node, ...]:
        return (self.supervisor, *self.workers, *self.then)

    @property
    def ways(self) -> tuple[Way, ...]:
        planners = [self.supervisor, *(worker for worker in self.workers if worker.plans and self.depth > 1)]
        out = [Way(source=one.name, target=worker.name) for one in planners for worker in self.workers]
        if self.then:
            out += [Way(source=worker.name, target=self.then[0].name) for worker in self.workers]
        return (*out, *_chain(self.then))


def _chain(nodes: tuple[Node, ...]) -> tuple[Way, ...]:
    return tuple(Way(source=one.name, target=after.name) for one, after in itertools.pairwise(nodes))


Pattern = Pipeline | Orchestrated | Supervised


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """One version of a workflow. `goal(input)` names a run in one line for people."""

    name: str
    version: int
    team: str
    pattern: Pattern
    goal: Callable[[Any], str]
    title: str = ""
    description: str = ""
    deadline_seconds: float = 24 * 3600.0
    retry_budget: int = 10  # retries of all steps of one run together
    starts: tuple[Start, ...] = ()  # what starts it without a person; only the newest version's count

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
        return any(isinstance(node.work, Agent) and node.work.simulated for node in self.nodes)

    def node(self, name: str) -> Node:
        """The node of that name. Raises LookupError when this version has none."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise LookupError(f"{self.name} v{self.version} has no node {name!r}")
