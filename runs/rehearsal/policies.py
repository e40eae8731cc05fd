"""Policies of a definition as they are rehearsed: what makes one exactly this one, which of a version differ. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from shlex import quote

from runs.canonical import digest
from runs.definitions import Agent, Node, Workflow
from runs.policies import ErrorPolicy
from runs.rehearsal.chains import words

CLASSES = ("recoverable", "data", "reasoning")
Terms = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyPart:
    """One line of a policy that was otherwise; `about` is its class of errors, or empty."""

    about: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyChange:
    """A policy of a node that another version had otherwise. `digest` is what a rehearsal of it is found by, `command`
    what does one."""

    about: str
    parts: tuple[PolicyPart, ...]
    digest: str
    command: str

    @property
    def before(self) -> str:
        return "; ".join(_said(part.about, part.before) for part in self.parts)

    @property
    def after(self) -> str:
        return "; ".join(_said(part.about, part.after) for part in self.parts)


def _said(about: str, words: str) -> str:
    return f"{about}: {words}" if about else words


def of_errors(workflow: str, step: str, policy: ErrorPolicy) -> dict[str, str]:
    """An error policy of a step in the words of the command line."""
    return {"workflow": workflow, "step": step} | {name: words(getattr(policy, name)) for name in CLASSES}


def of_full(agent: str, what: str) -> dict[str, str]:
    """What follows when an agent's context is full: "compact" or "ask"."""
    return {"agent": agent, "when_full": what}


def digest_of(terms: Terms) -> str:
    made: str = digest(dict(terms))
    return made


def changed(older: Workflow, newer: Workflow) -> Iterator[PolicyChange]:
    """The policies of nodes in both that are other ones in the newer."""
    before = {node.name: node for node in older.nodes}
    for node in newer.nodes:
        if node.name in before:
            yield from _of_errors(newer.name, before[node.name], node)
            yield from _of_full(before[node.name].work, node.work)


def _of_errors(workflow: str, was: Node, node: Node) -> Iterator[PolicyChange]:
    before, after = (of_errors(workflow, node.name, one.errors) for one in (was, node))
    parts = tuple(
        PolicyPart(about=name, before=before[name], after=after[name])
        for name in CLASSES
        if before[name] != after[name]
    )
    if not parts:
        return
    yield PolicyChange(
        about=f"errors at {node.name}",
        parts=parts,
        digest=digest_of(after),
        command=f"manage.py rehearse policy {quote(workflow)} {quote(node.name)}",
    )


def _of_full(was: object, work: object) -> Iterator[PolicyChange]:
    if not isinstance(was, Agent) or not isinstance(work, Agent):
        return
    before, after = ("ask" if one.when_full is None else "compact" for one in (was, work))
    if before != after:
        yield PolicyChange(
            about=f"when the context of {work.name} is full",
            parts=(PolicyPart(about="", before=before, after=after),),
            digest=digest_of(of_full(work.name, after)),
            command=f"manage.py rehearse when-full {quote(work.name)} {after}",
        )
