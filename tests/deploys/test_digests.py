"""What counts as a change of a definition, and what does not."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from runs import definition_digest, registry
from runs.code_digest import SourceChanged
from runs.definitions import Workflow

HELPERS = '''
FLOOR = 10

def above(amount):
    """Whether it is much."""
    return amount > FLOOR

def words(amount):
    return f"{amount} euros"
'''
CONTRACTS = '''
from typing import Optional
from pydantic import BaseModel, ConfigDict, Field, field_validator

class Order(BaseModel):
    """What is ordered."""
    model_config = ConfigDict(extra="forbid")
    amount: int = Field(ge=0)
    note: Optional[str] = None

    @field_validator("amount")
    @classmethod
    def whole(cls, value):
        return value

class Slip(Order):
    """A slip."""

class Payment(BaseModel):
    model_config = ConfigDict(extra="forbid")
    amount: int = Field(description="in euros")
'''
WORKFLOWS = '''
from functools import partial
from {package}.contracts import Order, Payment, Slip
from {package} import helpers
from runs.definitions import (
    Agent, Approval, Effect, END, Edge, ErrorPolicy, Fallback, Node, Orchestrated, Retry, Tool, Workflow
)

LIMIT = 100
SEVEN, EIGHT = (lambda it: it.amount == 7), (lambda it: it.amount == 8)
MOST = {{"one": 1}}
seen = []


def check(order):
    """Looks at an order."""
    # a remark
    note = helpers.words(order.amount)
    return Slip(amount=order.amount, note=note)


def bound(most):
    return lambda order: order.amount <= most


def near(least, most, order):
    return least <= order.amount <= most


def perform(payment, gate):
    return {{"paid": payment.amount}}


def asks(payment, order):
    return Approval(reason="much") if helpers.above(payment.amount) else None


def accept(given, output):
    seen.append(given)
    assert output.amount <= LIMIT


PAY = Tool(
    name="pay", arguments=Payment, perform=perform, sentence=lambda payment: f"Pay {{payment.amount}}",
    effect=Effect.IRREVERSIBLE, approval=asks, description="Pays.",
)
PAYER = Agent(name="payer", model="simulated/payer", prompt="Pay it.", prompt_version="1", tools=(PAY,), max_turns=4)
SAMPLE = Workflow(
    name="sample", version=1, team="Office", title="A sample", goal=lambda order: "order",
    pattern=Orchestrated(
        nodes=(
            Node(name="check", work=check, takes=Order, gives=Slip, accept=accept),
            Node(name="pay", work=PAYER, takes=Slip, gives=Order,
                 errors=ErrorPolicy(recoverable=Retry(times=2, then=Fallback(models=("simulated/other",))))),
        ),
        edges=(
            Edge(source="check", target="pay", when=lambda order: order.amount > 5, says="much"), Edge(source="check",
                 target=END, when=bound(5)),
            Edge(source="pay", target="check", when=partial(near, 1, 3), most=2), Edge(source="pay", target=END),
            Edge(source="a", target="b", when=SEVEN), Edge(source="c", target="d", when=EIGHT),
        ),
    ),
    deadline_seconds=3600.0,
)
'''


PACKAGE = "deployed_sample"


@dataclass(frozen=True)
class Sources:
    """The files above as a package, with some words replaced, loaded anew each time."""

    folder: Path

    def workflow(self, old: str = "", new: str = "") -> Workflow:
        place = self.folder / f"tree-{len(list(self.folder.iterdir()))}"
        (place / PACKAGE).mkdir(parents=True)
        (place / PACKAGE / "__init__.py").touch()
        files = {"helpers": HELPERS, "contracts": CONTRACTS, "workflows": WORKFLOWS.format(package=PACKAGE)}
        assert any(old in text for text in files.values()), f"{old!r} is nowhere in the sources"
        for name, text in files.items():
            (place / PACKAGE / f"{name}.py").write_text(text.replace(old, new) if old else text)
        return _loaded(place)


def _loaded(place: Path) -> Workflow:
    _unload()
    sys.path.insert(0, str(place))
    try:
        importlib.invalidate_caches()
        made: Workflow = importlib.import_module(f"{PACKAGE}.workflows").SAMPLE
    finally:
        sys.path.remove(str(place))
    return made


def _unload() -> None:
    for name in [one for one in sys.modules if one.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


@pytest.fixture
def sources(tmp_path: Path) -> Iterator[Sources]:
    yield Sources(tmp_path)
    _unload()


SILENT = {
    "a comment": ("# a remark", "# another remark"),
    "a comment gone": ("    # a remark\n", ""),
    "a docstring": ('"""Looks at an order."""', '"""Looks twice."""'),
    "a docstring of a contract that no agent is told of": ('"""A slip."""', '"""A paper."""'),
    "an annotation": ("def check(order):", "def check(order: Order) -> Order:"),
    "another layout": (
        "    return Slip(amount=order.amount, note=note)",
        "    return Slip(\n        amount=order.amount,\n        note=note,\n    )",
    ),
    "a title": ("A sample", "An example"),
    "a label": ('says="much"', 'says="a lot"'),
    "who owns it": ('team="Office"', 'team="Payments"'),
    "how a run is named": ('goal=lambda order: "order"', 'goal=lambda order: "an order"'),
    "the sentence for people": ('f"Pay {payment.amount}"', 'f"Pay out {payment.amount}"'),
    "how a tool performs its action": (
        'return {"paid": payment.amount}',
        'return {"paid": payment.amount, "at": 1}',
    ),
    "a constant that nothing names": ("MOST = {", "MORE = {"),
    "a helper of a node in another file": ('f"{amount} euros"', 'f"{amount} EUR"'),
}


@pytest.mark.parametrize("change", SILENT)
def test_what_decides_nothing_is_no_change(sources: Sources, change: str) -> None:
    before = definition_digest.parts(sources.workflow())
    assert definition_digest.parts(sources.workflow(*SILENT[change])) == before


SEEN = {
    "a condition": ("order.amount > 5", "order.amount > 6", "edge 1: check to pay"),
    "a condition made by a function": ("when=bound(5)", "when=bound(6)", "edge 2: check to end"),
    "how that function makes it": ("order.amount <= most", "order.amount < most", "edge 2: check to end"),
    "what a condition is given": ("partial(near, 1, 3)", "partial(near, 1, 4)", "edge 3: pay to check"),
    "the order of what a condition is given": (
        "partial(near, 1, 3)",
        "partial(near, 3, 1)",
        "edge 3: pay to check",
    ),
    "a bound of a circle": ("most=2", "most=3", "edge 3: pay to check"),
    "where an edge leads": ('source="pay", target=END', 'source="pay", target="check"', "edge 4: pay to end"),
    "a node's function": ("note=note", "note=None", "node check: work"),
    "a constant of a check": ("LIMIT = 100", "LIMIT = 200", "node check: accept"),
    "a constant in a helper of an approval": ("FLOOR = 10", "FLOOR = 20", "node pay, agent payer, tool pay"),
    "a helper of an approval": ("amount > FLOOR", "amount >= FLOOR", "node pay, agent payer, tool pay"),
    "a field": ("note: Optional[str] = None", "note: str = ''", "node check: takes"),
    "a bound of a field": ("Field(ge=0)", "Field(ge=1)", "node check: takes"),
    "a validator": ("        return value", "        return value + 0", "node check: takes"),
    "what an agent is told of an argument": ('"in euros"', '"in cents"', "node pay, agent payer, tool pay"),
    "the docstring of a contract that an agent is told of": (
        '"""What is ordered."""',
        '"""An order."""',
        "node pay: gives",
    ),
    "what a tool says it does": ('"Pays."', '"Pays it."', "node pay, agent payer, tool pay"),
    "how far a tool goes": ("IRREVERSIBLE", "REVERSIBLE", "node pay, agent payer, tool pay"),
    "a prompt": ("Pay it.", "Pay it now.", "node pay, agent payer: prompt"),
    "a model": ("simulated/payer", "simulated/payer-2", "node pay, agent payer: model"),
    "the turns": ("max_turns=4", "max_turns=5", "node pay, agent payer: turns"),
    "an error policy": ("times=2", "times=3", "node pay: errors"),
    "the end of a chain": ("simulated/other", "simulated/third", "node pay: errors"),
    "the deadline": ("3600.0", "7200.0", "deadline"),
}


@pytest.mark.parametrize("change", SEEN)
def test_what_decides_is_seen_and_named(sources: Sources, change: str) -> None:
    old, new, part = SEEN[change]
    assert part in _changed(sources, old, new)


def test_a_change_is_seen_only_where_it_is(sources: Sources) -> None:
    """Two rules on one line: the other one is as it was."""
    assert _changed(sources, "it.amount == 7", "it.amount == 9") == ["edge 5: a to b"]
    assert _changed(sources, "it.amount == 8", "it.amount == 9") == ["edge 6: c to d"]


def _changed(sources: Sources, old: str, new: str) -> list[str]:
    before = definition_digest.parts(sources.workflow())
    return definition_digest.differing(before, definition_digest.parts(sources.workflow(old, new)))


def test_name_and_version_are_part_of_the_digest(sources: Sources) -> None:
    one = sources.workflow()
    parts = definition_digest.parts(one)
    for other in (replace(one, version=2), replace(one, name="other")):
        assert definition_digest.of_parts(one, parts) != definition_digest.of_parts(other, parts)


def test_code_without_a_file_has_a_digest_too() -> None:
    made: dict[str, Callable[[int], int]] = {}
    for number in (1, 2):
        exec(f"def work(given):\n    return given + {number}", made)  # noqa: S102
        made[f"work{number}"] = made["work"]
    from runs.code_digest import of_code

    assert of_code(made["work1"], far=True) != of_code(made["work2"], far=True)


def test_a_file_that_changed_after_it_was_loaded_is_not_taken_for_what_runs(sources: Sources) -> None:
    workflow = registry.register(sources.workflow())
    try:
        file = Path(sys.modules[f"{PACKAGE}.workflows"].__file__ or "")
        later = file.stat().st_mtime + 3600
        os.utime(file, (later, later))
        with pytest.raises(SourceChanged, match="has changed since this process loaded it"):
            registry.content(workflow)
    finally:
        registry.forget(workflow)


def test_the_shipped_workflows_are_read_in_a_moment() -> None:
    """All of it is needed before a worker says what it has."""
    for workflow, _ in registry.versions():
        assert len(registry.content(workflow).digest) == 64
