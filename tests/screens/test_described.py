"""Definitions in words: chains of error policies, joins, passages, and what two versions differ in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import BaseModel

from runs.definitions import (
    Another,
    Ask,
    Compact,
    End,
    ErrorPolicy,
    Fallback,
    Join,
    Node,
    Orchestrated,
    Pipeline,
    Policy,
    Repair,
    Rest,
    Retry,
    Supervised,
    Verify,
    Workflow,
)
from runs.shown import described, differences
from runs.shown.differences import Difference
from runs.shown.passages import passages
from tests.screens import patterns
from tests.screens.patterns import DESK_1, DESK_2, FAN_ASKS, Draft, Message, Triage, agent, mend


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (Retry(), "retry 3 times, 1 s to 30 s apart, then a person (denied after 1 h)"),
        (
            Retry(times=1, base_seconds=0, cap_seconds=0, then=Fallback(models=("a/b", "c/d"), then=End())),
            "retry once, then model a/b, then model c/d, then end the run",
        ),
        (
            Repair(times=2, then=Another(agent=agent("second"), then=Verify(by=mend, then=Ask()))),
            "let it try again 2 times, told what was wrong, then another agent, second, "
            "then a verifier, mend, then a person (denied after 1 h)",
        ),
        (Ask(deadline_seconds=7 * 86400), "a person (denied after 7 d)"),
        (End(), "end the run"),
    ],
)
def test_a_chain_is_said_link_by_link_to_its_end(rule: Policy, words: str) -> None:
    assert described.policy(rule) == words


def test_the_end_of_a_task_is_not_the_end_of_its_run() -> None:
    assert described.policy(End(), task=True) == "end the task"
    worker = next(one for one in described.stations(patterns.FAN_ENDS) if one.name == "look")
    assert worker.part == "worker"
    assert [rule.words for rule in worker.errors if rule.error_class == "data"] == ["end the task"]


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (Join(), "joined when all are done"),
        (Join(need=1), "joined when 1 is done, the others settle first"),
        (Join(need=7, rest=Rest.END), "joined when 7 are done, the others are ended"),
        (Join(need=0.6), "joined when 60 % are done, the others settle first"),
    ],
)
def test_a_join_is_said_with_what_happens_to_the_rest(rule: Join, words: str) -> None:
    assert described.join(rule) == words


def test_every_agent_is_named_once_delegates_and_stand_ins_too() -> None:
    named = [one.name for one in described.agents(DESK_2)]
    assert sorted(named) == ["classifier", "policy_reader", "second_writer", "verifier", "writer"]
    roles = {one.name: one.role for one in described.stations(DESK_2)[1].agents}
    assert roles == {
        "writer": "",
        "policy_reader": "asked by writer",
        "second_writer": "after a reasoning error",
        "verifier": "after a reasoning error",
    }


def test_a_tool_says_how_far_it_goes_and_whether_a_person_may_be_asked() -> None:
    tools = {(one.name, one.holder): one for one in described.stations(DESK_2)[1].tools}
    refund, look_up = tools["payments.refund", "writer"], tools["orders.find", "policy_reader"]
    assert (refund.effect, refund.egress, refund.asks, refund.after_crash) == (
        "irreversible",
        True,
        True,
        "ask a person",
    )
    assert (look_up.effect, look_up.egress, look_up.asks) == ("none", True, False)


def said(workflow: Workflow) -> list[tuple[str, str, str, str]]:
    return [
        (
            one.source,
            one.target,
            one.gives.contract.name if one.gives else "",
            one.takes.contract.name if one.takes else "",
        )
        for one in passages(workflow)
    ]


def test_a_pipeline_passes_from_its_input_to_its_output() -> None:
    first = Node(name="a", work=mend, takes=Message, gives=Triage)
    last = Node(name="b", work=mend, takes=Triage, gives=Draft)
    workflow = replace(DESK_1, pattern=Pipeline(nodes=(first, last)))
    assert said(workflow) == [
        ("start", "a", "", "Message"),
        ("a", "b", "Triage", "Triage"),
        ("b", "end", "Draft", ""),
    ]


def test_every_rule_of_an_orchestrated_workflow_is_a_passage() -> None:
    found = said(DESK_2)
    assert ("verify", "draft", "Draft", "Triage") in found
    assert ("reply", "end", "Sent", "") in found
    assert len(found) == 8  # seven rules, and the start


def test_a_fan_out_shows_plan_and_worker_and_what_the_join_takes() -> None:
    assert said(FAN_ASKS) == [
        ("start", "plan", "", "Wanted"),
        ("plan", "look", "Plan", "Piece"),
        ("plan", "weigh", "Plan", "Piece"),
        ("look", "report", "Looked", "Results"),
        ("weigh", "report", "Looked", "Results"),
        ("report", "end", "Report", ""),
    ]


def test_a_contract_is_written_out_where_it_first_stands_and_named_elsewhere() -> None:
    both = ((one.gives, None if one.same else one.takes) for one in passages(DESK_2))
    sides = [side for pair in both for side in pair if side]
    first = [side.number for side in sides if side.first]
    assert len(first) == len(set(first)) == len({side.contract.name for side in sides})


assert isinstance(DESK_1.pattern, Orchestrated)
RULES = DESK_1.pattern


def changed(**more: Any) -> tuple[Difference, ...]:
    return differences.between(DESK_1, replace(DESK_1, version=2, **more)).shown


def test_versions_that_say_the_same_have_no_difference() -> None:
    assert changed() == ()


def test_a_changed_bound_shows_before_and_after() -> None:
    found = differences.between(DESK_1, DESK_2)
    assert found.since == 1
    assert Difference(about="limit verify → draft", before="2×", after="3×") in found.shown


def test_a_new_node_is_said_once_and_not_fact_by_fact() -> None:
    nodes = (*DESK_1.nodes, Node(name="thanks", work=mend, takes=Draft, gives=Draft))
    found = changed(pattern=replace(RULES, nodes=nodes))
    assert [one for one in found if "thanks" in one.about] == [
        Difference(about="node thanks", before="", after="there")
    ]


class Tighter(BaseModel):
    """As Message was, with one field that must be there now."""

    text: str
    channel: str


def test_a_changed_contract_is_said_field_by_field() -> None:
    first = replace(DESK_1.nodes[0], takes=Tighter)
    found = changed(pattern=replace(RULES, nodes=(first, *DESK_1.nodes[1:])))
    about = {one.about: (one.before, one.after) for one in found}
    assert about["node triage: takes"] == ("Message", "Tighter")
    assert about["node triage: takes channel"] == (
        'one of, mail, chat, phone, optional, else "mail"',
        "text, required",
    )
    assert about["node triage: takes order"][1] == ""


def test_a_changed_prompt_is_seen_even_under_the_same_version_of_it() -> None:
    work = replace(patterns.WRITER, prompt="Something else.")
    nodes = tuple(replace(one, work=work) if one.name == "draft" else one for one in DESK_1.nodes)
    assert [one.about for one in changed(pattern=replace(RULES, nodes=nodes))] == ["node draft: prompt"]


def test_changed_policies_are_said_with_the_commands_that_rehearse_them() -> None:
    def of(node: Node) -> Node:
        if node.name != "draft":
            return node
        work = replace(patterns.WRITER, when_full=Compact(by=agent("short")))
        return replace(node, work=work, errors=ErrorPolicy(recoverable=Ask()))

    changes = replace(RULES, nodes=tuple(of(node) for node in DESK_1.nodes))
    found = differences.between(DESK_1, replace(DESK_1, version=2, pattern=changes))
    assert tuple(one.command for one in found.policies) == (
        f"manage.py rehearse policy {DESK_1.name} draft",
        f"manage.py rehearse when-full {patterns.WRITER.name} compact",
    )
    assert (
        Difference(
            about="node draft: when its context is full",
            before="a person is asked",
            after="said again in fewer words",
        )
        in found.shown
    )
    assert differences.between(DESK_1, replace(DESK_1, version=2)).policies == ()


def test_the_width_and_depth_of_a_fan_out_are_said() -> None:
    assert isinstance(FAN_ASKS.pattern, Supervised)
    names = {limit.name: limit.words for limit in described.limits(FAN_ASKS)}
    assert (names["Width"], names["Tasks"], names["Depth"]) == ("4", "50", "1")


def test_the_width_is_said_in_the_number_it_has() -> None:
    notes = [
        limit.note for flow in (DESK_2, FAN_ASKS) for limit in described.limits(flow) if limit.name == "Width"
    ]
    assert notes == ["step of a run at a time", "steps of a run performed side by side"]
