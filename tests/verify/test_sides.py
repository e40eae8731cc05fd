"""Producer and consumer of an edge side by side: which fields differ, and where a value broke its contract."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from django.test import Client
from pydantic import BaseModel, ConfigDict, Field

from escalations.card_edge import edge_of
from runs import registry
from runs.definitions import END, Edge, Node, Orchestrated, Pipeline, Workflow, a_person
from runs.models import Question, QuestionKind, Step
from runs.shown import described, sides
from runs.shown.passages import passages
from tests import factories
from tests.screens.reading import read
from tests.verify import flows


class Line(BaseModel):
    name: str
    amount: int = Field(gt=0)


class Given(BaseModel):
    total: int
    currency: str = "EUR"
    lines: tuple[Line, ...]
    note: str = ""


class OtherLine(BaseModel):
    name: str
    amount: int = Field(gt=0, le=100)


class Taken(BaseModel):
    model_config = ConfigDict(extra="forbid")
    total: float
    currency: str
    lines: tuple[OtherLine, ...]
    day: str


def _says(gives: Any, takes: Any) -> dict[str, str]:
    return {row.name: row.says for row in sides.rows(gives, takes)}


def test_each_difference_is_said_in_words() -> None:
    assert _says(Given, Taken) == {
        "total": "another type",
        "currency": "required there, and may be missing",
        "lines": "another type",
        "lines[].name": "",
        "lines[].amount": "other limits",
        "note": "not taken: refused when it is there",
        "day": "required, and not given",
    }


def test_what_an_open_contract_does_not_name_is_left_out() -> None:
    class Open(BaseModel):
        total: int

    assert _says(Given, Open)["note"] == "not taken: left out"
    assert _says(Open, Given)["note"] == "not given, may be left out"


def test_one_contract_on_both_sides_differs_nowhere() -> None:
    assert sides.differing(sides.rows(Given, Given)) == 0


@pytest.mark.parametrize(
    ("where", "marked"),
    [
        ("total", ["total"]),
        ("lines.2.amount", ["lines[].amount"]),
        ("lines.2", ["lines"]),
        ("lines.2.colour", ["lines"]),  # what is not there is marked where it would stand
        ("(whole)", []),
        ("", []),
    ],
)
def test_the_failing_path_marks_the_deepest_field_there_is(where: str, marked: list[str]) -> None:
    assert [row.name for row in sides.rows(Given, Taken, where=where) if row.failing] == marked


def _question(flow: Workflow, node: str, where: str = "total") -> Question:
    return Question(kind=QuestionKind.CONTRACT, step=Step(node=node), action={"where": where}, contract=node)


def _flow(**more: Any) -> Workflow:
    first = Node(name="reckon", work=lambda one: one, takes=Given, gives=Given)
    second = Node(name="book", work=lambda one: one, takes=Taken, gives=Taken)
    third = Node(name="file", work=lambda one: one, takes=Given, gives=Given)
    edges = (
        Edge(source="reckon", target="book", when=lambda one: True, hand=lambda trail: trail.input),
        Edge(source="reckon", target="file"),
        Edge(source="book", target=END),
        Edge(source="file", target=END),
    )
    pattern = Orchestrated(nodes=(first, second, third), edges=edges)
    return Workflow(name="sides", version=1, team="Testers", goal=lambda one: "", pattern=pattern)


def test_every_node_that_may_get_it_stands_beside_the_producer() -> None:
    flow = _flow()
    edge = edge_of(_question(flow, "reckon"), flow)
    assert edge is not None
    assert [(one.name, one.contract, one.differing) for one in edge.consumers] == [
        ("book", "Taken", 0),  # a rule makes its input: a difference means nothing
        ("file", "Given", 0),
    ]
    assert edge.consumers[0].how.startswith("a rule makes its input")


def test_the_last_node_stands_alone_with_its_failing_field() -> None:
    flow = _flow()
    edge = edge_of(_question(flow, "file", "lines.0.amount"), flow)
    assert edge is not None
    assert edge.consumers == ()
    assert [row.name for row in edge.rows if row.failing] == ["lines[].amount"]


def test_the_page_of_a_workflow_names_the_fields_that_differ() -> None:
    wider = type("Wider", (flows.Found,), {"__annotations__": {"file": int}})
    research = replace(flows.desk().nodes[0], gives=wider)
    flow = replace(flows.desk(), pattern=Pipeline(nodes=(research, *flows.desk().nodes[1:])))
    (one,) = [passage for passage in passages(flow) if passage.source == "research"]
    assert [(row.name, row.says) for row in one.rows if row.says] == [
        ("file", "not taken: refused when it is there")
    ]
    assert one.differing == 1


@pytest.mark.django_db(transaction=True)
def test_the_card_of_a_broken_contract_shows_both_sides_with_the_failing_field(operator: Client) -> None:
    escalation = factories.broken_contract()
    page = read(operator.get(f"/escalations/{escalation.pk}"))
    question = escalation.question
    workflow = registry.workflow(escalation.run.workflow, escalation.run.version)
    assert workflow is not None
    edge = edge_of(question, workflow)
    assert edge is not None
    after = page.text.index("Producer and consumer")
    for words in (f"{edge.producer} gives", edge.contract):
        assert words in page.text[after:]
    failing = [given for tag, given in page.tags if tag == "tr" and given.get("class") == "failing"]
    rows = [row for one in edge.consumers for row in one.rows] or list(edge.rows)
    assert len(failing) == sum(1 for row in rows if row.failing) > 0


@pytest.mark.django_db(transaction=True)
def test_the_page_of_a_workflow_has_both_sides_of_every_passage(operator: Client) -> None:
    page = read(operator.get("/workflows/verifying_again/"))
    assert "research → verify" in page.text


@pytest.mark.django_db(transaction=True)
def test_the_page_of_a_workflow_says_what_a_verify_step_looks_at_and_who_may_get_claims_back(
    operator: Client,
) -> None:
    page = read(operator.get("/workflows/verifying_again/"))
    assert "what research claim, against inputs, tool results" in page.text
    assert "sent back to verify_other" in page.text
    assert described.by_whom(flows.desk(a_person).nodes[1]) == "person"
