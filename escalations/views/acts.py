"""A person's acts on an escalation, as forms. Parses and answers; every rule is in the act itself.

Without htmx an accepted form redirects and a refused one shows the whole page again with its status. With
htmx the same components come back alone: the card, the queue and the messages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.urls import reverse
from django.views.decorators.http import require_POST

from escalations import claims, decisions, inbox, topups
from escalations.expected import Invalid, NotThere, Refusal
from escalations.models import Decision, Escalation
from escalations.roles import Actor
from escalations.topups import Proposed
from escalations.used_up import seen_beside
from escalations.views.actors import actor_of
from escalations.views.inbox import (
    FIELD,
    Input,
    card_context,
    card_parts,
    found,
    query_of,
    queue_context,
    wanted_of,
    whole,
)

Act = Callable[[], Any]
CLAIM = "claim."  # names of the marks beside claims begin with it


@require_POST
def approve(request: HttpRequest, escalation_id: int) -> HttpResponse:
    reason = request.POST.get("reason", "")
    return _decided(
        request,
        escalation_id,
        lambda: decisions.approve(actor=actor_of(request), reason=reason, **_shown(request, escalation_id)),
        said="approved",
        given=Input(values={"reason": reason}),
    )


@require_POST
def reject(request: HttpRequest, escalation_id: int) -> HttpResponse:
    reason = _reason(request)
    return _decided(
        request,
        escalation_id,
        lambda: decisions.reject(actor=actor_of(request), reason=reason, **_shown(request, escalation_id)),
        said="rejected",
        given=Input(mode="reject", values={"reason": request.POST.get("reason", "")}),
    )


@require_POST
def respond(request: HttpRequest, escalation_id: int) -> HttpResponse:
    text = request.POST.get("text", "")
    return _decided(
        request,
        escalation_id,
        lambda: decisions.respond(actor=actor_of(request), text=text, **_shown(request, escalation_id)),
        said="answered",
        given=Input(mode="respond", values={"text": text}),
    )


@require_POST
def look(request: HttpRequest, escalation_id: int) -> HttpResponse:
    return _decided(
        request,
        escalation_id,
        lambda: decisions.look(actor=actor_of(request), **_shown(request, escalation_id)),
        said="is looked at again: the run goes on when its tool is sure, else it comes back here",
        given=Input(),
    )


@require_POST
def migrate(request: HttpRequest, escalation_id: int) -> HttpResponse:
    place, reason = request.POST.get("place", ""), request.POST.get("reason", "")

    def act() -> Decision:
        shown = _shown(request, escalation_id)
        return decisions.migrate(actor=actor_of(request), place=place, reason=reason, **shown)

    given = Input(values={"place": place, "reason": reason})
    return _decided(request, escalation_id, act, said="answered: its run goes on there", given=given)


@require_POST
def decide_claims(request: HttpRequest, escalation_id: int) -> HttpResponse:
    """Each claim that does not stand is confirmed or dropped; without one to confirm all are dropped."""
    reason = request.POST.get("reason", "")
    marks = {name: str(value) for name, value in request.POST.items() if name.startswith(CLAIM)}
    numbers = [_number(name.removeprefix(CLAIM)) for name, value in marks.items() if value == "confirm"]

    def act() -> Decision:
        shown = _shown(request, escalation_id)
        if not numbers:
            return decisions.drop(actor=actor_of(request), reason=reason, **shown)
        return decisions.confirm(actor=actor_of(request), numbers=numbers, reason=reason, **shown)

    said = "answered: the run goes on with the claims that stand"
    return _decided(request, escalation_id, act, said=said, given=Input(values={"reason": reason, **marks}))


@require_POST
def top_up(request: HttpRequest, escalation_id: int) -> HttpResponse:
    """One card, and with "beside" the others of its cause that the form showed: each its own act."""
    given = request.POST
    values = {name: given.get(name, "") for name in ("pick", "amount", "until", "reason", "beside")}
    terms: dict[str, Any] = {
        "amount": values["pick"] or values["amount"],
        "until": values["until"],
        "reason": values["reason"],
    }
    beside = seen_beside(given.get("seen_beside", "")) if values["beside"] else ()
    told: list[str] = []

    def act() -> None:
        actor = actor_of(request)
        if values["pick"] and values["amount"].strip():
            chosen, written = values["pick"], values["amount"].strip()
            raise Invalid([("amount", f"You chose {chosen} and wrote {written[:40]}: choose one of them.")])
        done = topups.top_up(actor=actor, **_shown(request, escalation_id), **terms)
        told.append("proposed: an admin must agree" if isinstance(done, Proposed) else "topped up")
        told.extend(_others(actor, beside, terms))

    input_ = Input(values=values)
    try:
        act()
    except Refusal as refusal:
        return _refused(request, escalation_id, refusal, input_)
    if told[0] != "topped up":
        messages.success(request, f"E-{escalation_id} {told[0]}.", extra_tags="hand")
        return _show(request, escalation_id)
    said = f"E-{escalation_id} {told[0]}: its run goes on at the same call.{''.join(told[1:])}"
    return _following(request, escalation_id, said)


def _others(actor: Actor, beside: Iterable[Mapping[str, Any]], terms: Mapping[str, Any]) -> list[str]:
    """The other cards of the same cause, one after the other; what came of them in words."""
    done, refused = 0, []
    for shown in beside:
        try:
            done += not isinstance(topups.top_up(actor=actor, **shown, **terms), Proposed)
        except Refusal as refusal:
            refused.append(refusal.sentence)
    words = [f" {done} others too."] if done else []
    return [*words, *(f" Not all of them: {refused[0]}" for _ in refused[:1])]


@require_POST
def agree_top_up(request: HttpRequest, escalation_id: int, proposal_id: int) -> HttpResponse:
    digest = request.POST.get("proposal", "")[:64]
    return _decided(
        request,
        escalation_id,
        lambda: topups.agree(actor=actor_of(request), proposal_id=proposal_id, digest=digest),
        said="topped up: its run goes on at the same call",
        given=Input(),
    )


@require_POST
def decline_top_up(request: HttpRequest, escalation_id: int, proposal_id: int) -> HttpResponse:
    return _stays(
        request,
        escalation_id,
        lambda: topups.decline(actor=actor_of(request), proposal_id=proposal_id),
        said="stays as it is: the top-up was declined",
        given=Input(),
    )


@require_POST
def edit(request: HttpRequest, escalation_id: int) -> HttpResponse:
    values = {
        name.removeprefix(FIELD): str(value) for name, value in request.POST.items() if name.startswith(FIELD)
    }

    def act() -> Escalation:
        return decisions.edit(actor=actor_of(request), value=values, **_shown(request, escalation_id))

    said = "edited: read it again, then approve it as edited"
    return _stays(request, escalation_id, act, said=said, given=Input(mode="edit", values=values))


@require_POST
def take(request: HttpRequest, escalation_id: int) -> HttpResponse:
    def act() -> Escalation:
        return claims.take(actor=actor_of(request), escalation_id=escalation_id)

    return _stays(request, escalation_id, act, said="yours", given=Input())


@require_POST
def release(request: HttpRequest, escalation_id: int) -> HttpResponse:
    def act() -> Escalation:
        return claims.release(actor=actor_of(request), escalation_id=escalation_id)

    return _stays(request, escalation_id, act, said="given back", given=Input())


def _shown(request: HttpRequest, escalation_id: int) -> dict[str, Any]:
    """What the form says it showed. A form without it has shown nothing, and the act will say so."""
    version = request.POST.get("version", "")
    return {
        "escalation_id": escalation_id,
        "version": int(version) if version.isascii() and version.isdecimal() and len(version) < 9 else 0,
        "digest": request.POST.get("digest", "")[:64],
    }


def _number(text: str) -> int:
    """The number of a claim in a form; -1, which no claim has, for anything else."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 9 else -1


def _reason(request: HttpRequest) -> str:
    """The preset and the person's own words, as one reason."""
    preset, own = request.POST.get("preset", "").strip(), request.POST.get("reason", "").strip()
    return f"{preset}. {own}" if preset and own else preset or own


def _decided(request: HttpRequest, escalation_id: int, act: Act, *, said: str, given: Input) -> HttpResponse:
    """After a decision the next item of the queue is shown."""
    wanted = wanted_of(request)
    before, _ = inbox.page(actor_of(request), wanted)
    try:
        act()
    except Refusal as refusal:
        return _refused(request, escalation_id, refusal, given)
    return _next(request, escalation_id, f"E-{escalation_id} {said}.", before)


def _following(request: HttpRequest, escalation_id: int, said: str) -> HttpResponse:
    """The card after this one, which has just left the queue."""
    before, _ = inbox.page(actor_of(request), wanted_of(request))
    return _next(request, escalation_id, said, before)


def _next(request: HttpRequest, escalation_id: int, said: str, before: Sequence[Escalation]) -> HttpResponse:
    wanted = wanted_of(request)
    messages.success(request, said, extra_tags="sound")
    following = inbox.after(before, escalation_id)
    if following is None and wanted.after is not None:  # the last of a further page
        before, _ = inbox.page(actor_of(request), replace(wanted, after=None))
        following = inbox.after(before, escalation_id)
    return _show(request, following)


def _stays(request: HttpRequest, escalation_id: int, act: Act, *, said: str, given: Input) -> HttpResponse:
    """After an edit or a claim the same card is shown again."""
    try:
        act()
    except Refusal as refusal:
        return _refused(request, escalation_id, refusal, given)
    messages.success(request, f"E-{escalation_id} {said}.", extra_tags="hand")
    return _show(request, escalation_id)


def _show(request: HttpRequest, escalation_id: int | None) -> HttpResponse:
    """The card of that escalation, or the inbox when nothing is left."""
    url = reverse("escalation", args=[escalation_id]) if escalation_id else reverse("inbox")
    url += query_of(request)
    if not getattr(request, "htmx", False):
        return redirect(url)
    response = HttpResponse(_parts(request, escalation_id, Input()))
    response["HX-Push-Url"] = url
    return response


def _refused(request: HttpRequest, escalation_id: int, refusal: Refusal, given: Input) -> HttpResponse:
    """The card as it is now, with what was refused and why, and what had been typed."""
    if isinstance(refusal, NotThere):
        found(escalation_id)  # raises Http404 with the same sentence
    again = Input(mode=given.mode, values=given.values, refusal=refusal)
    if not getattr(request, "htmx", False):
        return whole(request, escalation_id, again, status=refusal.status)
    return HttpResponse(_parts(request, escalation_id, again), status=refusal.status)


def _parts(request: HttpRequest, escalation_id: int | None, given: Input) -> str:
    """Card, queue and messages, each from the file that the page uses."""
    context = queue_context(request, escalation_id)
    if escalation_id is None:
        card: str = render_to_string("escalations/_no_card.html", context, request)
        card += render_to_string("_scopes.html", {"oob": True}, request)
    else:
        card = card_parts(
            request, context | card_context(request, found(escalation_id), given) | {"focus": True}
        )
    beside = context | {"oob": True}
    queue = render_to_string("escalations/_queue.html", beside, request)
    return card + queue + render_to_string("_messages.html", beside, request)
