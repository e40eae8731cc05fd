"""Generated definitions, generated outputs and generated orders, through routing and verdicts alone: no database.

The simulation does with an output what the engine does: one that breaks its contract or the pattern's bounds is the
end of its step, and what was dropped is over. Agents are as hostile as hypothesis can make them.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from pydantic import BaseModel, ValidationError

from runs.agents.simulated import simulated
from runs.canonical import canonical, plain
from runs.definitions import (
    END,
    Agent,
    Another,
    Ask,
    Edge,
    End,
    ErrorPolicy,
    Fallback,
    Join,
    Node,
    Orchestrated,
    Pattern,
    Pipeline,
    Plan,
    Policy,
    Repair,
    RepairStep,
    Rest,
    Results,
    Retry,
    Supervised,
    Trail,
    Verify,
    Workflow,
)
from runs.engine.contracts import as_contract
from runs.errors import ContractBroken, ErrorClass
from runs.policies import links
from runs.routing import (
    GOING,
    Fail,
    Finish,
    Go,
    Joined,
    NoWay,
    Route,
    Visit,
    Visited,
    Wait,
    check_plan,
    route,
    verdict_of,
)
from runs.verdicts import Escalate, Failure, Stop, TryAgain, judge, stand_in
from tests.flows.making import Closed

many = settings(deadline=None, max_examples=150)  # a busy machine is no failure

Json = Any
KINDS = ("done", "failed", "ended")


class Pick(Closed):
    """What rules look at."""

    pick: int = 0


class Other(Closed):
    """Not what a node takes that takes Pick, unless somebody hands it over."""

    text: str = ""


class Area(Closed):
    size: int


def _nothing(_: Any) -> BaseModel:
    raise AssertionError("a simulation performs nothing")


def node(name: str, takes: type[BaseModel] = Pick, gives: type[BaseModel] = Pick) -> Node:
    return Node(name=name, work=_nothing, takes=takes, gives=gives)


def workflow(pattern: Pattern) -> Workflow:
    return Workflow(name="made", version=1, team="Testers", goal=lambda _: "made", pattern=pattern)


json_values: SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
hostile = json_values | st.fixed_dictionaries(
    {"next": st.sampled_from(["n0", "n3", "worker", END]), "pick": json_values}
)


# the simulation


@dataclass(slots=True, kw_only=True)
class World:
    """One run of a definition in memory. `says(visit, id)` gives (outcome, output); `chooses(n)` whose turn it is."""

    workflow: Workflow
    says: Callable[[Visit, int], tuple[str, Json]]
    chooses: Callable[[int], int]
    most_steps: int
    input: Json = field(default_factory=lambda: {"pick": 0})
    history: list[Visited] = field(default_factory=list)
    visits: dict[int, Visit] = field(default_factory=dict)
    dropped: set[int] = field(default_factory=set)
    joined_with: Json = None

    def run(self) -> Route | str:
        """How it ends: Finish, Fail, or "ended" when a step ended its run; "nobody" when a person is asked."""
        while True:
            try:
                found = self._route()
            except (NoWay, ContractBroken):
                return "nobody"
            match found:
                case Go():
                    self._go(found)
                case Wait():
                    if not self._settle_one():
                        return "ended"
                case _:
                    return found

    def _route(self) -> Route:
        before = copy.deepcopy(self.history)
        found = route(self.workflow, self.input, self.history)
        assert self.history == before, "routing changed the history"
        assert route(self.workflow, self.input, before) == found, "routing is a function of the history"
        return found

    def _go(self, go: Go) -> None:
        assert go.visits or go.drop, "nothing is no move"
        for step in go.drop:
            self._end(step)
        for visit in go.visits:
            self._begin(visit)
        assert len(self.history) <= self.most_steps, "it went on beyond its bounds"

    def _end(self, step: int) -> None:
        place = step - 1
        assert self.history[place].outcome == GOING, "what has settled stays as it is"
        self.history[place] = replace(self.history[place], outcome="ended")
        self.dropped.add(step)

    def _begin(self, visit: Visit) -> None:
        contract = self.workflow.node(visit.node).takes  # raises LookupError for a node that is not there
        contract.model_validate_json(canonical(visit.input))
        known = [(one.parent, one.place) for one in self.history if one.parent is not None]
        assert visit.parent is None or (visit.parent, visit.place) not in known, "a task is visited once"
        step = len(self.history) + 1
        self.visits[step] = visit
        if contract is Results:
            self.joined_with = visit.input
        self.history.append(
            Visited(node=visit.node, id=step, outcome=GOING, parent=visit.parent, place=visit.place)
        )

    def _settle_one(self) -> bool:
        """Settle one of the steps that are going. False when a step took its run with it."""
        going = [one for one in self.history if one.outcome == GOING]
        assert going, "it waits, and nothing is going"
        one = going[self.chooses(len(going))]
        outcome, output = self.says(self.visits[one.id], one.id)
        if outcome == "done":
            outcome, output = self._judged(one, output)
        if outcome != "done" and one.parent is None:
            return False
        self.history[one.id - 1] = replace(one, outcome=outcome, output=output if outcome == "done" else None)
        return True

    def _judged(self, one: Visited, output: Json) -> tuple[str, Json]:
        try:
            value = as_contract(self.workflow.node(one.node).gives, output)
            if isinstance(value, Plan) and isinstance(self.workflow.pattern, Supervised):
                check_plan(self.workflow.pattern, value, self.depth(one))
        except ContractBroken:
            return "failed", None
        return "done", plain(value)

    def depth(self, one: Visited) -> int:
        found = 1
        while one.parent is not None:
            found, one = found + 1, self.history[one.parent - 1]
        return found


def choosing(data: st.DataObject) -> Callable[[int], int]:
    def chosen(number: int) -> int:
        place: int = data.draw(st.integers(0, number - 1))
        return place

    return chosen


# pipeline


@many
@given(length=st.integers(1, 8), data=st.data())
def test_a_pipeline_visits_its_nodes_in_their_order_whatever_they_give(
    length: int, data: st.DataObject
) -> None:
    names = [f"n{n}" for n in range(length)]
    world = World(
        workflow=workflow(Pipeline(nodes=tuple(node(name) for name in names))),
        says=lambda visit, step: (
            "done",
            data.draw(hostile | st.builds(lambda n: {"pick": n}, st.integers())),
        ),
        chooses=choosing(data),
        most_steps=length,
    )
    ended = world.run()
    visited = [one.node for one in world.history]
    assert visited == names[: len(visited)]
    if isinstance(ended, Finish):
        assert visited == names
        assert ended.output == world.history[-1].output


# orchestrated


def _handed(trail: Trail) -> Pick:
    return Pick(pick=sum(len(outputs) for outputs in trail.outputs.values()))


def _is(pick: int) -> Callable[[Any], bool]:
    return lambda output: getattr(output, "pick", 0) == pick


@st.composite
def machines(draw: st.DrawFn, *, complete: bool) -> Orchestrated:
    """Forward edges as they like, backward ones with a bound. `complete`: every node has a way that always holds."""
    size = draw(st.integers(1, 6))
    others = [draw(st.integers(0, 2)) == 0 for _ in range(size)]
    nodes = [node(f"n{n}", gives=Other if others[n] else Pick) for n in range(size)]
    edges: list[Edge] = []
    for place, one in enumerate(nodes):
        for _ in range(draw(st.integers(0, 3))):
            target = draw(st.integers(0, size - 1))
            back = target <= place
            when = _is(draw(st.integers(0, 2))) if draw(st.booleans()) else None
            fits = complete and one.gives is Other  # else what is handed on may not be what is taken
            hand = _handed if fits or draw(st.booleans()) else None
            most = draw(st.integers(1, 3)) if back else draw(st.none() | st.integers(1, 3))
            edges.append(Edge(source=one.name, target=f"n{target}", when=when, hand=hand, most=most))
        if complete:
            onward = draw(st.integers(place + 1, size))
            target_name = END if onward == size else f"n{onward}"
            hand = _handed if one.gives is Other or draw(st.booleans()) else None
            edges.append(Edge(source=one.name, target=target_name, hand=hand))
    return Orchestrated(nodes=tuple(nodes), edges=tuple(edges))


def longest(machine: Orchestrated) -> int:
    """Between two backward moves at most every node is passed once."""
    return len(machine.nodes) * (1 + sum(edge.most or 0 for edge in machine.edges))


picks = st.builds(lambda n: {"pick": n}, st.integers(0, 2)) | st.builds(
    lambda t: {"text": t}, st.text(max_size=5)
)


@many
@given(machine=machines(complete=True), data=st.data())
def test_a_state_machine_whose_circles_are_bounded_comes_to_its_end(
    machine: Orchestrated, data: st.DataObject
) -> None:
    made = workflow(machine)

    def fitting(visit: Visit, step: int) -> tuple[str, Json]:
        if made.node(visit.node).gives is Other:
            return "done", {"text": "t"}
        return "done", {"pick": data.draw(st.integers(0, 2))}

    world = World(workflow=made, says=fitting, chooses=choosing(data), most_steps=longest(machine))
    assert isinstance(world.run(), Finish)
    _moved_along_edges(machine, world.history)


@many
@given(machine=machines(complete=False), data=st.data())
def test_no_output_moves_a_state_machine_where_no_edge_leads(
    machine: Orchestrated, data: st.DataObject
) -> None:
    world = World(
        workflow=workflow(machine),
        says=lambda visit, step: ("done", data.draw(picks | hostile)),
        chooses=choosing(data),
        most_steps=longest(machine),
    )
    world.run()
    _moved_along_edges(machine, world.history)


def _moved_along_edges(machine: Orchestrated, history: list[Visited]) -> None:
    taken: dict[tuple[str, str], int] = {}
    for one, after in itertools.pairwise(history):
        pair = (one.node, after.node)
        taken[pair] = taken.get(pair, 0) + 1
    for pair, times in taken.items():
        edges = [edge for edge in machine.edges if (edge.source, edge.target) == pair]
        assert edges, f"no edge leads {pair}"
        if all(edge.most is not None for edge in edges):
            assert times <= max(edge.most or 0 for edge in edges)


# supervised


joins = st.builds(
    Join,
    need=st.none() | st.integers(1, 4) | st.floats(0.01, 1.0),
    rest=st.sampled_from(list(Rest)),
)


@st.composite
def teams(draw: st.DrawFn, rest: Rest | None = None) -> Supervised:
    depth = draw(st.integers(1, 3))
    join = draw(joins)
    then = (node("gather", Results, Pick), node("close"))[: draw(st.integers(0, 2))]
    return Supervised(
        supervisor=node("boss", Pick, Plan),
        workers=(
            node("worker"),
            node("counter", Other, Other),
            *((node("area", Area, Plan),) if depth > 1 else ()),
        ),
        then=then,
        join=replace(join, rest=rest) if rest else join,
        most_tasks=draw(st.integers(1, 5)),
        depth=depth,
    )


@st.composite
def plans(draw: st.DrawFn, *, hostile_too: bool = True, deeper: bool = True) -> Json:
    good = [
        st.builds(lambda n: {"worker": "worker", "input": {"pick": n}}, st.integers(0, 9)),
        st.builds(lambda t: {"worker": "counter", "input": {"text": t}}, st.text(max_size=4)),
    ]
    if deeper:
        good.append(st.builds(lambda n: {"worker": "area", "input": {"size": n}}, st.integers(0, 9)))
    bad = st.fixed_dictionaries(
        {
            "worker": st.sampled_from(["worker", "counter", "boss", "gather", "root", "worker\x00"])
            | json_values,
            "input": st.sampled_from([{"pick": "x"}, {"text": 1}, {"pick": 1, "more": 2}]) | json_values,
        }
    )
    tasks = draw(st.lists(st.one_of(*good), min_size=1, max_size=5))
    if hostile_too and draw(st.integers(0, 3)) == 0:
        tasks.insert(draw(st.integers(0, len(tasks))), draw(bad | json_values))
    return {"tasks": tasks}


def most_steps(pattern: Supervised) -> int:
    tasks: int = sum(pattern.most_tasks**level for level in range(1, pattern.depth + 1))
    return 1 + tasks + len(pattern.then)


@many
@given(pattern=teams(), data=st.data())
def test_whatever_supervisors_and_workers_give_only_listed_workers_get_bounded_valid_work(
    pattern: Supervised, data: st.DataObject
) -> None:
    made = workflow(pattern)

    def says(visit: Visit, step: int) -> tuple[str, Json]:
        outcome = data.draw(st.sampled_from(["done", "done", "done", "failed", "ended"]))
        if made.node(visit.node).plans:
            return outcome, data.draw(plans() | hostile)
        return outcome, data.draw(picks | hostile)

    world = World(workflow=made, says=says, chooses=choosing(data), most_steps=most_steps(pattern))
    ended = world.run()
    assert ended != "nobody"
    listed = {worker.name for worker in pattern.workers}
    for one in world.history:
        if one.parent is not None:
            assert one.node in listed
            assert world.depth(one) <= pattern.depth + (not made.node(one.node).plans)
    for parent in {one.parent for one in world.history if one.parent is not None}:
        places = sorted(one.place for one in world.history if one.parent == parent)
        assert places == list(range(len(world.history[parent - 1].output["tasks"])))
        assert len(places) <= pattern.most_tasks
    _joined_as_it_says(pattern, world, ended)


def _joined_as_it_says(pattern: Supervised, world: World, ended: Route | str) -> None:
    top = [one for one in world.history if one.parent is None]
    if isinstance(ended, Fail):
        assert not _is_met(pattern, world, top[0], lost_counts=True)
    if len(top) > 1 or (isinstance(ended, Finish) and not pattern.then):
        assert _is_met(pattern, world, top[0], lost_counts=False)


def _is_met(pattern: Supervised, world: World, plan: Visited, *, lost_counts: bool) -> bool:
    """By a second hand: whether the plan is met (or, with `lost_counts`, could still be met)."""
    tasks = [one for one in world.history if one.parent == plan.id]
    met = sum(_task_met(pattern, world, task, lost_counts=lost_counts) for task in tasks)
    need = pattern.join.need
    wanted = len(tasks) if need is None else need if isinstance(need, int) else max(1.0, need * len(tasks))
    return met >= wanted - 1e-9


def _task_met(pattern: Supervised, world: World, task: Visited, *, lost_counts: bool) -> bool:
    if task.outcome == GOING:
        return lost_counts
    if task.outcome != "done":
        # what was dropped when the whole ended could have been done
        return lost_counts and task.id in world.dropped
    if not world.workflow.node(task.node).plans:
        return True
    if not any(one.parent == task.id for one in world.history):
        return lost_counts
    return _is_met(pattern, world, task, lost_counts=lost_counts)


@many
@given(pattern=teams(rest=Rest.WAIT), data=st.data())
def test_the_order_in_which_tasks_settle_does_not_change_the_result(
    pattern: Supervised, data: st.DataObject
) -> None:
    made = workflow(pattern)
    fates: dict[tuple[int, ...], tuple[str, Json]] = {}

    def by_place(world: World) -> Callable[[Visit, int], tuple[str, Json]]:
        def says(visit: Visit, step: int) -> tuple[str, Json]:
            trail = []
            one: Visited | None = world.history[step - 1]
            while one is not None:
                trail.append(one.place)
                one = world.history[one.parent - 1] if one.parent is not None else None
            key = (len(world.history[0].node), *reversed(trail), 0 if visit.parent else _stage(visit.node))
            if key not in fates:
                fates[key] = _fate(data, made, visit)
            return fates[key]

        return says

    ends = []
    for _ in range(2):
        world = World(
            workflow=made,
            says=lambda visit, step: ("failed", None),
            chooses=choosing(data),
            most_steps=most_steps(pattern),
        )
        world.says = by_place(world)
        ends.append((world.run(), world.joined_with))
    (first, with_), (second, with_too) = ends
    assert type(first) is type(second)
    if isinstance(first, Finish) and isinstance(second, Finish):
        assert _without_what_was_given_up(first.output) == _without_what_was_given_up(second.output)
    assert _without_what_was_given_up(with_) == _without_what_was_given_up(with_too)


def _without_what_was_given_up(output: Json) -> Json:
    """A plan inside a plan that cannot be met any more is given up at once, so how far its tasks were is chance."""
    if not isinstance(output, dict) or "results" not in output:
        return output
    inner = [] if output.get("state") == "failed" else output["results"]
    return {**output, "results": [_without_what_was_given_up(one) for one in inner]}


def _stage(name: str) -> int:
    return ["boss", "gather", "close"].index(name) + 1


def _fate(data: st.DataObject, made: Workflow, visit: Visit) -> tuple[str, Json]:
    contract = made.node(visit.node).gives
    outcome = data.draw(st.sampled_from(["done", "done", "failed"])) if visit.parent else "done"
    if contract is Plan:
        return outcome, data.draw(plans(hostile_too=False))
    return outcome, {"text": "t"} if contract is Other else {"pick": data.draw(st.integers(0, 9))}


@many
@given(pattern=teams(), given_=plans() | hostile, depth=st.integers(1, 4))
def test_a_plan_is_acted_on_only_when_every_task_is_allowed_and_fits(
    pattern: Supervised, given_: Json, depth: int
) -> None:
    try:
        plan = as_contract(Plan, given_)
        assert isinstance(plan, Plan)
        check_plan(pattern, plan, depth)
    except ContractBroken as broken:
        wrong = broken
    else:
        _is_allowed(pattern, plan, depth)
        return
    assert wrong.message


def _is_allowed(pattern: Supervised, plan: Plan, depth: int) -> None:
    workers = {worker.name: worker for worker in pattern.workers}
    assert 1 <= len(plan.tasks) <= pattern.most_tasks
    for task in plan.tasks:
        assert not (workers[task.worker].plans and depth >= pattern.depth)
        workers[task.worker].takes.model_validate_json(canonical(task.input))


@many
@given(
    join=joins,
    settled=st.lists(st.sampled_from(KINDS), max_size=12),
    going=st.integers(0, 6),
    data=st.data(),
)
def test_a_join_is_met_exactly_when_it_says_in_any_order(
    join: Join, settled: list[str], going: int, data: st.DataObject
) -> None:
    assume(settled or going)
    outcomes = data.draw(st.permutations([*settled, *[GOING] * going]))
    tasks = len(outcomes)
    found = verdict_of(join, tasks, outcomes)
    done, wanted = settled.count("done"), join.needed(tasks)
    assert found == verdict_of(join, tasks, sorted(outcomes))
    if done + going < wanted:
        assert found == Joined.FAILED
    elif not going or (join.rest == Rest.END and done >= wanted):
        assert found == Joined.DONE
    else:
        assert found == Joined.OPEN


@many
@given(need=st.floats(0.01, 1.0), tasks=st.integers(1, 200))
def test_a_share_is_rounded_up_and_never_more_than_all(need: float, tasks: int) -> None:
    needed = Join(need=need).needed(tasks)
    assert 1 <= needed <= tasks
    assert needed >= need * tasks - 1e-6
    assert needed - 1 < need * tasks or needed == 1


def test_a_task_that_looks_like_a_plan_is_none() -> None:
    """Whether a task is a plan is what its worker's contract says, not what the output looks like."""
    pattern = Supervised(supervisor=node("boss", Pick, Plan), workers=(node("worker", Pick, Plan),), depth=1)
    sly = replace(pattern, workers=(node("worker", Pick, _Lookalike),))
    plan = {"tasks": [{"worker": "worker", "input": {"pick": 1}}]}
    history = [
        Visited(node="boss", id=1, output=plan),
        Visited(node="worker", id=2, output=plan, parent=1),
    ]
    found = route(workflow(sly), {"pick": 0}, history)
    assert isinstance(found, Finish)
    assert found.output["results"][0]["output"] == plan


class _Lookalike(BaseModel):
    tasks: list[dict[str, Any]]


# error policies


@simulated("stand_in")
def _stand_in(request: Any) -> Any:
    raise AssertionError("a simulation asks no model")


def _agent(name: str) -> Agent:
    return Agent(name=name, model="simulated/stand_in", prompt="", prompt_version="1")


def _mend(refused: Any) -> Any:
    return refused


def _linked(then: SearchStrategy[Policy]) -> SearchStrategy[Policy]:
    times = st.integers(1, 3)
    return st.one_of(
        st.builds(lambda n, t: Retry(times=n, base_seconds=0.5, then=t), times, then),
        st.builds(lambda n, t: Repair(times=n, then=t), times, then),
        st.builds(lambda n, t: Fallback(models=tuple(f"m/{k}" for k in range(n)), then=t), times, then),
        st.builds(lambda n, t: Another(agent=_agent(f"a{n}"), then=t), times, then),
        st.builds(lambda t: RepairStep(by=_mend, then=t), then),
        st.builds(lambda n, t: Verify(by=_agent(f"v{n}"), then=t), times, then),
    )


chains: SearchStrategy[Policy] = st.recursive(
    st.sampled_from([Ask(), End()]), lambda inner: _linked(inner), max_leaves=8
)
policies = st.builds(ErrorPolicy, recoverable=chains, data=chains, reasoning=chains)


def _times(policy: Policy) -> int:
    return sum(0 if isinstance(link, (Ask, End)) else link.times for link in links(policy))


@many
@given(
    policy=policies,
    budget=st.integers(0, 12),
    classes=st.lists(st.sampled_from(list(ErrorClass)), min_size=1, max_size=4),
)
def test_a_chain_of_any_shape_ends_within_its_links_and_the_budget(
    policy: ErrorPolicy, budget: int, classes: list[ErrorClass]
) -> None:
    tries: dict[ErrorClass, int] = {}
    made = 1
    for turn in range(1000):
        error_class = classes[turn % len(classes)]
        failure = Failure(error_class=error_class, message="it broke")
        verdict = judge(
            policy, failure, tries=tries.get(error_class, 0), budget_left=budget - (made - 1), jitter=0.5
        )
        tries[error_class] = tries.get(error_class, 0) + 1
        if not isinstance(verdict, TryAgain):
            break
        made += 1
        assert verdict.after_seconds >= 0
        stand_in(policy, verdict.by or "")
    assert isinstance(verdict, (Escalate, Stop))
    assert made - 1 <= budget
    assert made - 1 <= sum(_times(chain) for chain in policy.chains)
    if classes == [ErrorClass.UNFORESEEN] * len(classes):
        assert made == 1
        assert isinstance(verdict, Escalate)


@many
@given(policy=policies, error_class=st.sampled_from([c for c in ErrorClass if c != ErrorClass.UNFORESEEN]))
def test_every_link_of_a_chain_is_used_in_its_order(policy: ErrorPolicy, error_class: ErrorClass) -> None:
    chain = getattr(policy, error_class.value)
    expected = [link for link in links(chain) if not isinstance(link, (Ask, End)) for _ in range(link.times)]
    failure = Failure(error_class=error_class, message="it broke")
    for tries, link in enumerate(expected):
        verdict = judge(policy, failure, tries=tries, budget_left=100, jitter=0.5)
        assert isinstance(verdict, TryAgain)
        by = (verdict.by or "").partition(":")[0]
        names = {Fallback: "model", Another: "agent", RepairStep: "repair", Verify: "verify"}
        assert by == names.get(type(link), "")
    last = judge(policy, failure, tries=len(expected), budget_left=100, jitter=0.5)
    assert not isinstance(last, TryAgain)


@pytest.mark.parametrize("contract", [Pick, Other, Area, Plan, Results])
def test_contracts_refuse_what_they_do_not_name(contract: type[BaseModel]) -> None:
    with pytest.raises(ValidationError):
        contract.model_validate({"next": "worker"})
