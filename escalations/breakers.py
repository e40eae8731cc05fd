"""Forcing breakers: held open or closed by a person whatever they find, or left to decide by themselves again.

Forcing one open reduces what agents may do: it needs the database alone and no reason. Whatever lets calls pass again
asks for one. What a breaker finds by itself, and who waits for it, is the engine's business.
"""

from __future__ import annotations

from django.db import transaction

from escalations.audit.record import Subject, append
from escalations.audit.refused import Given, Named, recorded
from escalations.changes import Change
from escalations.expected import IllegalMove, Invalid, NotThere
from escalations.roles import Act, Actor, name_of, require
from escalations.texts import cut_text, given_text
from runs import registry
from runs.canonical import plain
from runs.engine import breakers
from runs.limits.kinds import LimitScope
from runs.limits.names import names_of
from runs.models import Breaker

OPEN, CLOSED, FREE = "open", "closed", ""
KINDS = ("model", "tool", "agent")
ACTS = {OPEN: Act.OPEN_BREAKER, CLOSED: Act.CLOSE_BREAKER, FREE: Act.FREE_BREAKER}
WORDS = {OPEN: "forced open", CLOSED: "forced closed", FREE: "deciding by itself"}


def _on_breaker(given: Given) -> Named:
    act = ACTS.get(given["to"], Act.OPEN_BREAKER)
    return act, about(str(given["kind"])[:10], str(given["name"])[:120])


@recorded(_on_breaker)
@transaction.atomic(durable=True)
def force(*, actor: Actor, kind: str, name: str, to: str, reason: str = "") -> Breaker:
    """Hold the breaker of a model, tool or agent OPEN or CLOSED, or let it decide by itself (FREE).

    Raises NotAllowed, NotThere (nothing is called that), IllegalMove (it is so already), Invalid without a reason where
    one is needed: for CLOSED, and for FREE where it is forced open.
    """
    require(actor, ACTS.get(to, Act.OPEN_BREAKER))
    if to not in ACTS:
        raise Invalid([("to", "Choose open, closed, or to let it decide.")])
    kind, name = str(plain(kind)), str(plain(name))
    was = Breaker.objects.select_for_update().filter(kind=kind, name=name).first()
    if was is None and not known(kind, name):
        raise NotThere(f"There is no {kind} called {name!r}." if kind in KINDS else f"There is no {kind!r}.")
    before = was.forced if was else FREE
    if before == to:
        raise IllegalMove(f"The breaker of {kind} {name} is {WORDS[to]} already. Nothing was done.")
    if to == OPEN or (to == FREE and before == CLOSED):
        reason = cut_text(reason)
    else:
        reason = given_text("reason", reason, required="Say why: calls may pass again.")
    forced = breakers.force(kind, name, to, by=name_of(actor), why=reason)
    told: list[Change] = [{"field": "breaker", "before": WORDS[before], "after": WORDS[to]}]
    append(
        actor=actor,
        act=ACTS[to],
        subject=about(kind, name),
        reason=reason,
        details={"found": forced.state, "changes": told},
    )
    return forced


def known(kind: str, name: str) -> bool:
    """Whether some definition that is installed here names it."""
    return name in in_use().get(kind, ())


def in_use() -> dict[str, frozenset[str]]:
    """By kind, every name in the definitions that are installed here. No query."""
    names = names_of(one for one, _ in registry.versions())
    scopes = {"model": LimitScope.MODEL, "tool": LimitScope.TOOL, "agent": LimitScope.AGENT}
    return {kind: names[scope] for kind, scope in scopes.items()}


def about(kind: str, name: str) -> Subject:
    return Subject(target=f"breaker of {kind} {name}")
