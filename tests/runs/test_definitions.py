"""Definitions that cannot work are refused, with the file and the fix; edits meet the same contracts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from runs import checks, registry
from runs.definitions import Node, Pipeline, Tool, Workflow
from runs.engine import edits
from runs.engine.worker.runtime import Runtime
from tests.runs import flows, teams
from tests.runs.conftest import advanced, question_of, start


class Loose(BaseModel):
    amount: int


class LooseInside(BaseModel):
    model_config = ConfigDict(extra="forbid")
    by_month: dict[str, list[Loose]]


def with_nodes(*nodes: Node) -> Workflow:
    return replace(flows.PLAIN, name="wrong", pattern=Pipeline(nodes=nodes))


def found(workflow: Workflow) -> dict[str, str]:
    return {code: f"{text} {fix}" for code, text, fix in checks.problems(workflow)}


NO_MODEL: Any = dict  # authors may not type-check
NO_WORK: Any = "nothing"


class Hiding(BaseModel):
    model_config = ConfigDict(extra="forbid")
    amount: int
    account: str = Field(exclude=True)
    pin: SecretStr


FIRST, SECOND, _ = flows.PLAIN.nodes
PAY = flows.PAYING.nodes[1]


def paying_with(tool: Tool) -> Node:
    return replace(PAY, work=flows.agent("payer", tool))


async def _looks_later(arguments: object, key: str) -> None:
    return None


@pytest.mark.parametrize(
    ("workflow", "code", "says"),
    [
        (with_nodes(), "runs.E003", "no nodes"),
        (with_nodes(FIRST, replace(SECOND, name="first")), "runs.E004", "name of its own"),
        (replace(flows.PLAIN, version=0), "runs.E005", "version=1"),
        (replace(flows.PLAIN, deadline_seconds=0), "runs.E006", "deadline_seconds"),
        (with_nodes(replace(FIRST, takes=NO_MODEL)), "runs.E007", "pydantic model"),
        (with_nodes(replace(FIRST, work=NO_WORK)), "runs.E008", "an Agent or a function"),
        (with_nodes(SECOND, FIRST), "runs.E010", "gives Draft, but 'first' takes Order"),
        (
            with_nodes(replace(PAY, work=replace(flows.agent("x"), model="nobody/x"))),
            "runs.E011",
            "no provider",
        ),
        (with_nodes(replace(PAY, work=replace(flows.agent("x"), model="nobody/x"))), "runs.E012", "no price"),
        (with_nodes(replace(PAY, work=replace(flows.agent("x"), max_turns=0))), "runs.E013", "one turn"),
        (
            with_nodes(replace(PAY, work=flows.agent("x", flows.tool(), flows.tool()))),
            "runs.E014",
            "2 tools are named",
        ),
        (with_nodes(paying_with(replace(flows.tool(), arguments=NO_MODEL))), "runs.E015", "argument model"),
        (with_nodes(paying_with(replace(flows.tool(), arguments=Loose))), "runs.E016", "forbid"),
        (
            with_nodes(paying_with(replace(flows.tool(), arguments=LooseInside))),
            "runs.E016",
            "that Loose does",
        ),
        (
            with_nodes(paying_with(replace(flows.tool(), answers=NO_MODEL))),
            "runs.E065",
            "model of the answer",
        ),
        (with_nodes(paying_with(replace(flows.tool(), approval=None))), "runs.E017", "never ask"),
        (with_nodes(paying_with(replace(flows.tool(), arguments=Hiding))), "runs.E019", "account, pin"),
        (
            with_nodes(paying_with(flows.tool(look=flows.CASHBOX.look, find=flows.CASHBOX.find))),
            "runs.E049",
            "look and find",
        ),
        (with_nodes(paying_with(flows.tool(look=flows.CASHBOX.find))), "runs.E050", "(arguments, key)"),
        (with_nodes(paying_with(flows.tool(find=flows.CASHBOX.look))), "runs.E050", "(key)"),
        (with_nodes(paying_with(flows.tool(look=_looks_later))), "runs.E050", "look is async"),
    ],
)
def test_a_definition_that_cannot_work_is_refused_with_the_fix(
    workflow: Workflow, code: str, says: str
) -> None:
    problems = found(workflow)
    assert code in problems
    assert says in problems[code]


def test_isolated_work_must_be_importable_by_a_child() -> None:
    assert "top of a module" in found(with_nodes(replace(SECOND, isolated=True)))["runs.E018"]


def test_an_async_function_is_refused() -> None:
    async def slow(order: Any) -> Any:
        return order

    work: Any = slow
    assert "plain function" in found(with_nodes(replace(FIRST, work=work)))["runs.E009"]


def test_definitions_that_work_have_no_problems() -> None:
    # Other tests register what is wrong on purpose, or what needs settings of theirs.
    here = ("opsconsole/shipped/", "tests/runs/flows.py", "tests/runs/teams.py")
    ours = [workflow for workflow, place in registry.versions() if any(one in place for one in here)]
    assert {"plain", teams.DELEGATING.name, "refund_desk"} <= {workflow.name for workflow in ours}
    assert {workflow.name: list(checks.problems(workflow)) for workflow in ours} == {
        workflow.name: [] for workflow in ours
    }


def test_the_check_names_the_file_of_the_definition() -> None:
    wrong = replace(flows.PLAIN, name="wrong-place", deadline_seconds=-1)
    registry.register(wrong)
    try:
        messages = [str(error.msg) for error in checks.check_workflows(None)]
    finally:
        registry.forget(wrong)
    assert any("test_definitions.py" in text and "wrong-place" in text for text in messages)


def test_registering_other_content_under_a_known_version_is_refused() -> None:
    other = replace(flows.PLAIN, title="something else")
    registry.register(other)
    assert registry.workflow("plain", 1) is flows.PLAIN
    errors = [error for error in checks.check_workflows(None) if error.id == "runs.E002"]
    registry._twice.clear()
    assert len(errors) == 1
    assert "Raise `version`" in str(errors[0].hint)


def test_a_tool_that_does_not_say_counts_as_irreversible() -> None:
    assert replace(flows.tool(), effect=None).effect_class == "irreversible"


@pytest.mark.django_db(transaction=True)
class TestEdits:
    def test_an_edited_action_is_checked_and_gets_its_own_sentence(self, runtime: Runtime) -> None:
        question = question_of(advanced(start("paying", amount=500), runtime))
        action = edits.check(question, {"amount": "120", "note": "less"})
        assert action == {
            "tool": "cashbox.pay",
            "arguments": {"amount": 120, "note": "less"},
            "sentence": "Pay 120",
        }

    def test_a_wrong_edit_names_every_wrong_field(self, runtime: Runtime) -> None:
        question = question_of(advanced(start("paying", amount=500), runtime))
        with pytest.raises(edits.Broken) as refused:
            edits.check(question, {"amount": "lots", "to": "me"})
        assert {path for path, _ in refused.value.errors} == {"amount", "to"}

    def test_the_form_shows_what_would_happen(self, runtime: Runtime) -> None:
        question = question_of(advanced(start("paying", amount=500), runtime))
        form = {field.name: field for field in edits.fields(question)}
        assert (form["amount"].kind, form["amount"].value, form["amount"].required) == ("number", "500", True)
        assert (form["note"].kind, form["note"].required) == ("text", False)

    def test_a_broken_output_is_mended_against_the_nodes_contract(self, runtime: Runtime) -> None:
        question = question_of(advanced(start("writing", plan="broken"), runtime))
        action = edits.check(question, {"text": "fine", "plan": "x", "amount": "3"})
        assert action["value"] == {"text": "fine", "plan": "x", "amount": 3}
        with pytest.raises(edits.Broken):
            edits.check(question, {"text": "fine", "plan": "x", "amount": "lots"})

    def test_what_cannot_be_edited_says_so(self, runtime: Runtime) -> None:
        question = question_of(advanced(start("writing", plan="crash"), runtime))
        with pytest.raises(LookupError, match="nothing to edit"):
            edits.check(question, {"text": "x"})
