"""What a stranger may get wrong in a definition: each mistake is one sentence with its place and the fix, at start."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import RootModel

from runs import checks, registry
from runs.definitions import (
    END,
    Agent,
    Another,
    Ask,
    Delegate,
    Edge,
    Effect,
    ErrorPolicy,
    Fallback,
    Join,
    Node,
    Orchestrated,
    Pipeline,
    Plan,
    RefusedOutput,
    RepairStep,
    Rest,
    Results,
    Retry,
    Supervised,
    Tool,
    Verify,
    Workflow,
)
from tests.flows.making import Closed
from tests.runs import flows


class Letter(Closed):
    text: str = ""


class Number(Closed):
    number: int = 0


class Bare(RootModel[int]):
    """A value without a name."""


class Table(RootModel[dict[str, int]]):
    """An object all the same."""


ODD: Any = None  # authors may not type-check


def odd(value: Any) -> Any:
    return value


def _copy(letter: Letter) -> Letter:
    return letter


def _plan(letter: Letter) -> Plan:
    raise AssertionError("nothing is performed here")


def _count(results: Results) -> Number:
    return Number(number=len(results.results))


def _mend(refused: RefusedOutput) -> Letter:
    return Letter()


def node(name: str, **more: Any) -> Node:
    return Node(**{"name": name, "work": _copy, "takes": Letter, "gives": Letter, **more})


def agent(name: str = "writer", *tools: Tool, **more: Any) -> Agent:
    return replace(flows.agent(name, *tools), **more)


def made(pattern: Any, **more: Any) -> Workflow:
    return Workflow(**{"name": "wrong", "version": 1, "team": "T", "goal": str, "pattern": pattern, **more})


def machine(*edges: Edge, names: tuple[str, ...] = ("a", "b")) -> Workflow:
    return made(Orchestrated(nodes=tuple(node(name) for name in names), edges=edges))


BOSS = node("boss", work=_plan, gives=Plan)
WORKER, COUNT = node("worker"), node("count", work=_count, takes=Results, gives=Number)


def team(**more: Any) -> Workflow:
    return made(Supervised(**{"supervisor": BOSS, "workers": (WORKER,), **more}))


def policy(work: Any = _copy, **chains: Any) -> Workflow:
    return made(Pipeline(nodes=(node("a", work=work, errors=ErrorPolicy(**chains)),)))


def found(workflow: Workflow) -> dict[str, str]:
    """Everything that is wrong, by its number: what and the fix."""
    out: dict[str, str] = {}
    for code, what, fix in checks.problems(workflow):
        out[code] = f"{out.get(code, '')} {what} {fix}".strip()
    return out


AB, BA, B_END = (
    Edge(source="a", target="b"),
    Edge(source="b", target="a"),
    Edge(source="b", target=END),
)
OTHER_PAY = replace(flows.tool(), arguments=Letter)
GOOD: dict[str, Workflow] = {
    "a machine": machine(AB, replace(BA, when=bool, most=2), B_END),
    "a machine that may stay where it is": machine(replace(AB, target="a", most=1), AB, B_END),
    "a team": team(then=(COUNT,), join=Join(need=0.5, rest=Rest.END)),
    "a team of teams": team(workers=(WORKER, node("area", work=_plan, gives=Plan)), depth=2),
    "a table as a task": team(workers=(node("worker", takes=Table),)),
    "the same stand-in in two chains": policy(
        data=RepairStep(by=_mend), reasoning=Verify(by=_mend, then=Another(agent=agent()))
    ),
    "the same tool at two agents": made(
        Pipeline(
            nodes=(
                node(
                    "a",
                    work=agent("a", flows.tool()),
                    errors=ErrorPolicy(reasoning=Another(agent=agent("b", flows.tool()))),
                ),
            )
        )
    ),
}


@pytest.mark.parametrize("name", list(GOOD))
def test_a_definition_that_can_work_is_let_be(name: str) -> None:
    assert found(GOOD[name]) == {}


PATTERNS: list[tuple[str, Workflow, str, str]] = [
    ("a target that is not there", machine(AB, replace(BA, target="c")), "runs.E021", "there is no node 'c'"),
    ("a source that is not there", machine(AB, B_END, Edge(source="c", target="a")), "runs.E021", "'c'"),
    ("a node named end", machine(Edge(source="end", target=END), names=("end",)), "runs.E021", "otherwise"),
    ("a circle without a bound", machine(AB, BA, B_END), "runs.E024", "a -> b -> a has no bound"),
    (
        "a node that leads to itself",
        machine(AB, replace(BA, target="b"), B_END),
        "runs.E024",
        "b -> b has no bound",
    ),
    ("an edge taken never", machine(replace(AB, most=0), B_END), "runs.E022", "at least one"),
    ("no way out", machine(AB), "runs.E023", "no edge leads out of 'b'"),
    ("no way in", machine(Edge(source="a", target=END), B_END), "runs.E023", "no edge leads to 'b'"),
    ("no way to the end", machine(AB, replace(BA, most=1)), "runs.E023", "no way leads to the end"),
    (
        "an input that does not fit",
        made(Orchestrated(nodes=(node("a"), node("b", takes=Number)), edges=(AB, B_END))),
        "runs.E010",
        "'a' gives Letter, but 'b' takes Number",
    ),
    ("nobody to work", team(workers=()), "runs.E025", "no workers"),
    ("a supervisor without a plan", team(supervisor=node("boss")), "runs.E026", "gives no plan"),
    (
        "a supervisor that acts",
        team(supervisor=replace(BOSS, work=agent("boss", flows.tool()))),
        "runs.E027",
        "supervisor performs nothing itself",
    ),
    (
        "a supervisor whose delegate acts",
        team(
            supervisor=replace(
                BOSS,
                work=agent(
                    "boss",
                    delegates=(
                        Delegate(name="ask", agent=agent("clerk", flows.tool()), takes=Letter, gives=Letter),
                    ),
                ),
            )
        ),
        "runs.E027",
        "'cashbox.pay' acts",
    ),
    (
        "a supervisor whose stand-in acts",
        team(
            supervisor=replace(
                BOSS,
                work=agent("boss"),
                errors=ErrorPolicy(reasoning=Another(agent=agent("vice", flows.tool()))),
            )
        ),
        "runs.E027",
        "'cashbox.pay' acts",
    ),
    ("no room for a task", team(most_tasks=0), "runs.E028", "most_tasks at least 1"),
    ("no width", team(width=0), "runs.E028", "width from 1"),
    ("too wide", team(width=1000), "runs.E028", "width from 1"),
    ("too deep", team(depth=9), "runs.E028", "depth from 1"),
    (
        "a worker that plans at depth 1",
        team(workers=(WORKER, node("area", work=_plan, gives=Plan))),
        "runs.E028",
        "Set depth=2",
    ),
    ("a join of nothing", team(join=Join(need=0)), "runs.E029", "needs 0"),
    ("a join of more than all", team(join=Join(need=1.5)), "runs.E029", "share up to 1.0"),
    ("a join of too many", team(join=Join(need=9), most_tasks=8), "runs.E029", "needs 9 of at most 8"),
    ("results that nobody takes", team(then=(node("count"),)), "runs.E010", "does not take Results"),
    (
        "a worker that takes a bare value",
        team(workers=(node("worker", takes=Bare),)),
        "runs.E046",
        "named fields",
    ),
    ("a worker that gives a bare value", team(workers=(node("worker", gives=Bare),)), "runs.E046", "Bare"),
]


@pytest.mark.parametrize(
    ("workflow", "code", "says"), [one[1:] for one in PATTERNS], ids=[p[0] for p in PATTERNS]
)
def test_a_pattern_that_cannot_work_is_refused_with_the_fix(workflow: Workflow, code: str, says: str) -> None:
    assert says in found(workflow).get(code, ""), found(workflow)


def _same_name(name: str) -> Any:
    def one(refused: RefusedOutput) -> Letter:
        return Letter(text=name)

    return one


POLICIES: list[tuple[str, Workflow, str, str]] = [
    (
        "no model to fall back to",
        policy(agent(), recoverable=Fallback(models=())),
        "runs.E040",
        "at least one",
    ),
    (
        "a model for a function",
        policy(recoverable=Fallback(models=("simulated/x",))),
        "runs.E040",
        "Take Fallback away",
    ),
    (
        "a model nobody provides",
        policy(agent(), recoverable=Fallback(models=("nobody/x",))),
        "runs.E011",
        "no provider named 'nobody'",
    ),
    (
        "a model without a price",
        policy(agent(), recoverable=Retry(then=Fallback(models=("nobody/x",)))),
        "runs.E012",
        "no price",
    ),
    ("an agent that verifies itself", policy(agent(), reasoning=Verify(by=agent())), "runs.E041", "itself"),
    ("another that is the same", policy(agent(), data=Another(agent=agent())), "runs.E041", "itself"),
    ("a function that verifies itself", policy(_mend, reasoning=Verify(by=_mend)), "runs.E041", "itself"),
    ("no retry", policy(recoverable=Retry(times=0)), "runs.E040", "at least once"),
    (
        "two stand-ins under one name",
        policy(data=RepairStep(by=_same_name("x")), reasoning=RepairStep(by=_same_name("y"))),
        "runs.E048",
        "'repair:one'",
    ),
    (
        "two tools under one name",
        policy(agent("a", flows.tool()), reasoning=Another(agent=agent("b", OTHER_PAY))),
        "runs.E048",
        "'cashbox.pay' (tool)",
    ),
    (
        "a stand-in's effect without a rule",
        policy(agent(), reasoning=Another(agent=agent("b", replace(flows.tool(), approval=None)))),
        "runs.E017",
        "no approval rule",
    ),
    (
        "an effect that says nothing of itself",
        policy(agent("a", replace(flows.tool(), approval=None, effect=None))),
        "runs.E017",
        str(Effect.IRREVERSIBLE),
    ),
]


@pytest.mark.parametrize(
    ("workflow", "code", "says"), [one[1:] for one in POLICIES], ids=[p[0] for p in POLICIES]
)
def test_an_error_policy_that_cannot_work_is_refused_with_the_fix(
    workflow: Workflow, code: str, says: str
) -> None:
    assert says in found(workflow).get(code, ""), found(workflow)


def delegating(delegate: Delegate, *tools: Tool) -> Workflow:
    return policy(agent("boss", *tools, delegates=(delegate,)))


ASK = Delegate(name="ask", agent=agent("clerk"), takes=Letter, gives=Letter)
NODES: list[tuple[str, Workflow, str, str]] = [
    (
        "a delegate named as a tool",
        delegating(replace(ASK, name="cashbox.pay"), flows.tool()),
        "runs.E014",
        "2 tools",
    ),
    (
        "a delegate without a contract",
        delegating(replace(ASK, gives=odd(dict))),
        "runs.E020",
        "pydantic model",
    ),
    ("a delegate without a question", delegating(replace(ASK, takes=ODD)), "runs.E020", "pydantic model"),
    (
        "an isolated agent",
        made(Pipeline(nodes=(node("a", work=agent(), isolated=True),))),
        "runs.E018",
        "agent",
    ),
    (
        "an isolated lambda",
        made(Pipeline(nodes=(node("a", work=lambda letter: letter, isolated=True),))),
        "runs.E018",
        "top of a module",
    ),
    ("a name that fits nowhere", made(Pipeline(nodes=(node("n" * 81),))), "runs.E047", "1 to 80 characters"),
    ("a name of control characters", made(Pipeline(nodes=(node("a\x00"),))), "runs.E047", "can be seen"),
    ("no name", made(Pipeline(nodes=(node(""),))), "runs.E047", "1 to 80"),
    ("an agent with a long name", policy(agent("a" * 81, model="simulated/x")), "runs.E047", "an agent"),
    ("a tool with a long name", policy(agent("a", flows.tool("t" * 101))), "runs.E047", "a tool"),
]


@pytest.mark.parametrize(("workflow", "code", "says"), [one[1:] for one in NODES], ids=[n[0] for n in NODES])
def test_a_node_that_cannot_work_is_refused_with_the_fix(workflow: Workflow, code: str, says: str) -> None:
    assert says in found(workflow).get(code, ""), found(workflow)


SHAPES: list[tuple[str, Workflow, str]] = [
    ("no pattern", made(ODD), "pattern is None, and should be Pipeline or Orchestrated"),
    (
        "a name that is none",
        made(Pipeline(nodes=(node("a"),)), team=ODD),
        "team is None, and should be a text",
    ),
    ("one node for nodes", made(Pipeline(nodes=odd(node("a")))), "a tuple of one ends with a comma"),
    ("a list of nodes", made(Pipeline(nodes=odd([node("a")]))), "write (…) instead"),
    ("a text for nodes", made(Pipeline(nodes=odd("ab"))), "pattern.nodes is 'ab'"),
    (
        "a text among nodes",
        made(Pipeline(nodes=(node("a"), odd("b")))),
        "pattern.nodes[1] is 'b', and should be Node",
    ),
    ("no edges", made(Orchestrated(nodes=(node("a"),), edges=ODD)), "pattern.edges is None"),
    (
        "a rule that is a text",
        machine(replace(AB, when=odd("pick == 1"))),
        "pattern.edges[0].when is 'pick == 1'",
    ),
    ("a bound that is a text", machine(replace(AB, most=odd("3"))), "pattern.edges[0].most is '3'"),
    ("a hand-over that is data", machine(replace(AB, hand=odd(Letter()))), "a function or None"),
    ("no supervisor", team(supervisor=ODD), "pattern.supervisor is None, and should be Node"),
    ("a join that is a number", team(join=3), "pattern.join is 3, and should be Join"),
    ("a need that is a truth", team(join=Join(need=True)), "pattern.join.need is True"),
    ("a rest that is a text", team(join=Join(rest=odd("end"))), "one of WAIT, END of Rest"),
    ("a width that is a text", team(width="8"), "pattern.width is '8', and should be a whole number"),
    (
        "a policy that is a link",
        made(Pipeline(nodes=(node("a", errors=odd(Retry())),))),
        "should be ErrorPolicy",
    ),
    ("a chain without an end", policy(data=Retry(then=ODD)), "pattern.nodes[0].errors.data.then is None"),
    (
        "a model for models",
        policy(agent(), recoverable=Fallback(models=odd("simulated/x"))),
        "errors.recoverable.models",
    ),
    (
        "an agent that is a name",
        policy(data=Another(agent=odd("writer"))),
        "data.agent is 'writer', and should be Agent",
    ),
    ("tools that are one tool", policy(agent(tools=flows.tool())), "pattern.nodes[0].work.tools"),
    ("tools that are none", policy(agent(tools=None)), "pattern.nodes[0].work.tools is None"),
    ("turns without end", policy(agent(max_turns=None)), "pattern.nodes[0].work.max_turns is None"),
    (
        "an effect that is a text",
        policy(agent("a", replace(flows.tool(), effect=odd("none")))),
        "one of NONE",
    ),
    ("a delegate that is an agent", policy(agent(delegates=(agent("b"),))), "delegates[0]"),
    (
        "an approval that is a truth",
        policy(agent("a", replace(flows.tool(), approval=odd(True)))),
        "approval is True",
    ),
    ("a priority that is a word", policy(data=Ask(priority=odd("high"))), "data.priority is 'high'"),
    (
        "a deadline that is a text",
        made(Pipeline(nodes=(node("a"),)), deadline_seconds="1h"),
        "deadline_seconds is '1h'",
    ),
    ("a start that is a text", made(Pipeline(nodes=(node("a"),)), starts=("daily",)), "starts[0] is 'daily'"),
]


@pytest.mark.parametrize(("workflow", "says"), [one[1:] for one in SHAPES], ids=[s[0] for s in SHAPES])
def test_a_field_that_holds_something_else_is_named_by_its_path(workflow: Workflow, says: str) -> None:
    assert says in found(workflow).get("runs.E043", ""), found(workflow)


def test_agents_that_contain_each_other_are_refused_and_end_no_start() -> None:
    clerk = agent("clerk")
    boss = agent("boss", delegates=(replace(ASK, agent=clerk),))
    object.__setattr__(clerk, "delegates", (replace(ASK, agent=boss),))  # no constructor can
    assert "does something contain itself?" in found(policy(boss))["runs.E043"]


def test_what_raises_while_it_is_looked_at_is_a_sentence() -> None:
    class Rooted(Bare):
        @classmethod
        def model_json_schema(cls, *args: Any, **more: Any) -> Any:
            raise ZeroDivisionError("no schema today")

    assert "no schema today" in found(team(workers=(node("worker", takes=Rooted),)))["runs.E045"]


@pytest.fixture
def _registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_odd", [])
    monkeypatch.setattr(registry, "_found", dict(registry._found))


@pytest.mark.parametrize(
    "given",
    [None, "chores", made, made(ODD, name=["a"]), made(ODD, version="1"), made(ODD, version=True)],
    ids=["None", "a text", "a function", "a list for a name", "a text for a version", "True for a version"],
)
@pytest.mark.usefixtures("_registry")
def test_what_cannot_be_found_by_name_and_version_is_refused_where_it_was_registered(given: Any) -> None:
    registry.register(given)
    errors = [one for one in checks.check_workflows(None) if one.id == "runs.E044"]
    assert [one.msg.partition(":")[0] for one in errors] == [__file__]
    assert "whole number" in str(errors[0].hint)
    assert registry.all_newest()  # the others are found as before


@pytest.mark.usefixtures("_registry")
def test_every_problem_says_where_its_definition_was_registered() -> None:
    registry.register(machine(AB, BA, B_END))
    (error,) = [one for one in checks.check_workflows(None) if one.id == "runs.E024"]
    place, line, *_ = error.msg.split(":")
    assert place == __file__
    assert line.isdecimal()
    assert "wrong v1" in error.msg
    assert error.hint
