"""A verify step that is not independent, checks nothing or has no evidence to go by is refused before it runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import BaseModel

from runs import checks
from runs.definition_digest import differing, parts
from runs.definitions import (
    Agent,
    Another,
    Claims,
    Delegate,
    Effect,
    ErrorPolicy,
    Fallback,
    Node,
    Pipeline,
    RepairStep,
    Verifies,
    Workflow,
)
from tests.verify import flows
from tests.verify.flows import CHECKER, OTHER, RESEARCHER, desk


def _problems(flow: Workflow) -> list[str]:
    return [f"{code} {text}" for code, text, _ in checks.problems(flow)]


def _refused(flow: Workflow, code: str, words: str) -> None:
    found = _problems(flow)
    assert any(one.startswith(f"runs.{code}") and words in one for one in found), found


def _like(agent: Agent, **more: Any) -> Agent:
    return replace(agent, **more)


@pytest.mark.parametrize("work", [flows.all_hold, CHECKER])
def test_an_independent_verify_step_is_in_order(work: Any) -> None:
    assert _problems(desk(work)) == []
    assert _problems(desk(work, verifies={"back_to": OTHER})) == []


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ((), "checks nothing"),
        (("reserch",), "no such node"),
        (("write",), "no agent works"),
        (("verify",), "a verify step"),
    ],
)
def test_one_that_checks_nothing_is_refused(nodes: tuple[str, ...], words: str) -> None:
    _refused(desk(verifies={"nodes": nodes}), "E060", words)


def test_one_that_checks_what_comes_after_it_is_refused() -> None:
    flow = desk()
    late = Node(name="late", work=flows.SECOND, takes=flows.Letter, gives=flows.Letter)
    flow = replace(flow, pattern=Pipeline(nodes=(*flow.nodes, late)))
    verify = replace(flow.nodes[1], verifies=Verifies(nodes=("research", "late")))
    nodes = (flow.nodes[0], verify, *flow.nodes[2:])
    _refused(replace(flow, pattern=Pipeline(nodes=nodes)), "E060", "does not come before it")


def test_an_agent_that_would_verify_itself_is_refused() -> None:
    _refused(desk(_like(RESEARCHER, model="simulated/quite-another", tools=())), "E061", "said itself")


def test_another_agent_on_the_same_model_is_refused() -> None:
    _refused(desk(_like(CHECKER, model=RESEARCHER.model)), "E061", "the model of whom it checks")


def test_a_verifier_that_falls_back_to_the_checked_model_is_refused() -> None:
    errors = ErrorPolicy(recoverable=Fallback(models=(RESEARCHER.model,)))
    _refused(desk(CHECKER, errors=errors), "E061", "its fallback")


def test_a_stand_in_of_the_verifier_that_is_checked_itself_is_refused() -> None:
    errors = ErrorPolicy(reasoning=Another(agent=_like(RESEARCHER, tools=())))
    _refused(desk(CHECKER, errors=errors), "E061", "said itself")


def test_an_agent_that_a_checked_one_asks_is_checked_too() -> None:
    class Asked(BaseModel):
        text: str

    asks = _like(flows.SECOND, delegates=(Delegate(name="ask", agent=CHECKER, takes=Asked, gives=Asked),))
    node = Node(name="agree", work=asks, takes=flows.Found, gives=flows.Found)
    _refused(desk(CHECKER, nodes=(node,)), "E061", "said itself")


def test_who_mends_the_claims_does_not_verify_them() -> None:
    _refused(
        desk(CHECKER, verifies={"back_to": _like(CHECKER, model="simulated/third")}), "E061", "said itself"
    )


def test_without_evidence_there_is_nothing_to_verify_by() -> None:
    flow = desk(nodes=(flows.agreeing(),), verifies={"nodes": ("agree",)})
    _refused(flow, "E063", "is evidence")


def test_an_agents_output_is_no_source() -> None:
    _refused(desk(verifies={"sources": ("research",)}), "E061", "no evidence")
    _refused(desk(verifies={"sources": ("write",)}), "E060", "comes before it")


def test_what_it_takes_holds_claims_and_what_it_gives_is_the_same() -> None:
    class Other(Claims):
        pass

    _refused(desk(takes=flows.Letter, gives=flows.Letter), "E062", "holds no claims")
    _refused(desk(gives=Other), "E062", "gives another")


def test_who_verifies_changes_nothing() -> None:
    acting = replace(flows.READ, name="paper.burn", effect=Effect.IRREVERSIBLE, approval=lambda *_: None)
    _refused(desk(_like(CHECKER, tools=(acting,))), "E064", "paper.burn")


def test_a_verifier_is_not_mended_by_a_repair_step() -> None:
    errors = ErrorPolicy(data=RepairStep(by=_like(OTHER, name="mender", model="simulated/mender", tools=())))
    _refused(desk(CHECKER, errors=errors), "E064", "RepairStep")


def test_free_text_beside_the_claims_is_warned_of() -> None:
    class Report(flows.Found):
        summary: str

    flow = desk(takes=Report, gives=Report)
    research = replace(flow.nodes[0], gives=Report)
    flow = replace(flow, pattern=Pipeline(nodes=(research, *flow.nodes[1:])))
    assert _problems(flow) == []
    assert [text for code, text, _ in checks.doubts(flow) if code == "runs.W004" and "summary" in text]
    assert [code for code, _, _ in checks.doubts(desk()) if code == "runs.W004"] == []


def test_what_it_verifies_is_part_of_what_decides() -> None:
    assert differing(parts(desk()), parts(desk(verifies={"back_to": OTHER})))[0] == "node verify: verifies"
    assert not any("verifies" in name for name in parts(desk()) if "node verify" not in name)
