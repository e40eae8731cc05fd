"""Workflows that make much: a round of any length, plans inside a plan, outputs of a megabyte."""

from __future__ import annotations

from runs import registry
from runs.definitions import (
    END,
    Edge,
    End,
    ErrorPolicy,
    Join,
    Node,
    Orchestrated,
    Plan,
    Results,
    Supervised,
    Task,
    Trail,
)
from runs.errors import DataError
from tests.flows.making import Closed, pipeline, workflow


class Round(Closed):
    """Go round until so many visits are made."""

    times: int
    at: int = 0


def _next(given: Round) -> Round:
    return Round(times=given.times, at=given.at + 1)


def _on(trail: Trail) -> Round:
    last: Round = trail.last("check")
    return last


ROUND = registry.register(
    workflow(
        "size_round",
        Orchestrated(
            nodes=(
                Node(name="work", work=_next, takes=Round, gives=Round),
                Node(name="check", work=_next, takes=Round, gives=Round),
            ),
            edges=(
                Edge(source="work", target="check"),
                Edge(source="check", target=END, when=lambda given: given.at >= given.times, says="enough"),
                Edge(source="check", target="work", hand=_on, most=1_000_000, says="not enough"),
            ),
        ),
        goal=lambda given: f"go round {given.times} times",
    )
)


class Areas(Closed):
    """So many areas with so many tasks each; every `fails`th task cannot be done."""

    areas: int
    tasks: int
    fails: int = 0


class Area(Closed):
    title: str
    tasks: int
    fails: int


class Piece(Closed):
    title: str
    fails: bool


class Counted(Closed):
    done: int


def _areas(given: Areas) -> Plan:
    inputs = [
        {"title": f"Area {number + 1}", "tasks": given.tasks, "fails": given.fails}
        for number in range(given.areas)
    ]
    return Plan(tasks=tuple(Task(worker="area", input=one) for one in inputs))


def _area(given: Area) -> Plan:
    inputs = [
        {
            "title": f"{given.title}, piece {number + 1}",
            "fails": bool(given.fails) and number % given.fails == 1,
        }
        for number in range(given.tasks)
    ]
    return Plan(tasks=tuple(Task(worker="piece", input=one) for one in inputs))


def _piece(given: Piece) -> Counted:
    if given.fails:
        raise DataError("this piece cannot be done")
    return Counted(done=1)


def _counted(results: Results) -> Counted:
    return Counted(done=sum(one.state == "done" for area in results.results for one in area.results))


NEST = registry.register(
    workflow(
        "size_nest",
        Supervised(
            supervisor=Node(name="plan", work=_areas, takes=Areas, gives=Plan),
            workers=(
                Node(name="area", work=_area, takes=Area, gives=Plan),
                Node(name="piece", work=_piece, takes=Piece, gives=Counted, errors=ErrorPolicy(data=End())),
            ),
            then=(Node(name="count", work=_counted, takes=Results, gives=Counted),),
            join=Join(need=0.1),
            most_tasks=60,
            depth=2,
        ),
        goal=lambda given: f"{given.areas} areas of {given.tasks} pieces",
    )
)


class Long(Closed):
    size: int


class Text(Closed):
    text: str


def _text(given: Long) -> Text:
    return Text(text="A line of a long report.\n" * (given.size // 25))


def _same(given: Text) -> Text:
    return given


LARGE = registry.register(
    pipeline(
        "size_large",
        Node(name="write", work=_text, takes=Long, gives=Text),
        Node(name="read", work=_same, takes=Text, gives=Text),
        Node(name="keep", work=_same, takes=Text, gives=Text),
        goal=lambda given: f"a text of {given.size} bytes",
    )
)
