"""The inbox: the queue and one card beside it, as a page and as fragments. Reads only; deciding is `acts`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.utils import timezone
from django.views.decorators.http import require_safe

from escalations import inbox
from escalations.card import END_PRESETS, PRESETS, Card, card
from escalations.expected import Changed, Invalid, Refusal
from escalations.inbox import Queue, Wanted
from escalations.models import Escalation, EscalationState
from escalations.used_up import added, used_up
from escalations.views.actors import actor_of
from runs import registry
from runs.engine import edits
from runs.engine.edits import Field
from runs.engine.places import Place, places
from runs.models import Question, QuestionKind, Run, Step
from runs.shown import counted
from runs.shown.listing import number

FIELD = "field."  # names of an edit form's inputs begin with it
MODES = ("edit", "reject", "respond")


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """What somebody has sent and was refused: shown again, with what was wrong beside it."""

    mode: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    refusal: Refusal | None = None

    @property
    def errors(self) -> dict[str, str]:
        """What is wrong, by the first part of the path: the field on the form."""
        if not isinstance(self.refusal, Invalid):
            return {}
        found: dict[str, str] = {}
        for path, message in self.refusal.errors:
            name, _, rest = path.partition(".")
            found.setdefault(name, f"{rest}: {message}" if rest else message)
        return found

    @property
    def changed(self) -> bool:
        return isinstance(self.refusal, Changed)


@dataclass(frozen=True, slots=True, kw_only=True)
class FormField:
    """A field of the edit form with its present value and what is wrong with it."""

    field: Field
    value: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A version that a run could go on with: the places that fit, and those that do not."""

    version: int
    fitting: tuple[Place, ...]
    unfit: tuple[Place, ...]


@require_safe
def page(request: HttpRequest, escalation_id: int | None = None) -> HttpResponse:
    """The inbox, with the card of that escalation, or of the first of the queue on a wide screen."""
    return whole(request, escalation_id, Input(mode=_mode(request)))


@require_safe
def queue(request: HttpRequest) -> HttpResponse:
    """The queue alone."""
    return render(
        request, "escalations/_queue.html", queue_context(request, number(request.GET.get("at", "")))
    )


@require_safe
def one(request: HttpRequest, escalation_id: int) -> HttpResponse:
    """The card alone."""
    context = card_context(request, found(escalation_id), Input(mode=_mode(request)))
    return HttpResponse(card_parts(request, context))


@require_safe
def of_question(request: HttpRequest, question_id: int) -> HttpResponse:
    """To the escalation round a question: the engine's pages know questions only."""
    pk = Escalation.objects.filter(question_id=question_id).values_list("pk", flat=True).first()
    if pk is None:
        raise Http404(f"There is no escalation for question {question_id}.")
    return redirect("escalation", escalation_id=pk)


def whole(
    request: HttpRequest, escalation_id: int | None, given: Input, *, status: int = 200
) -> HttpResponse:
    """The whole page round one card."""
    chosen = escalation_id is not None
    context = queue_context(request, escalation_id)
    listed: Queue = context["queue"]
    if escalation_id is None and listed.items:
        escalation_id = listed.items[0].pk
    if escalation_id is not None:
        context |= card_context(request, found(escalation_id), given)
        context["at"] = escalation_id
    context |= {"place": "inbox", "chosen": chosen}
    return render(request, "escalations/inbox.html", context, status=status)


def queue_context(request: HttpRequest, at: int | None) -> dict[str, Any]:
    """What `_queue.html` reads. `at` is the escalation whose card is shown."""
    wanted = wanted_of(request)
    listed = inbox.queue(actor_of(request), wanted)
    further = _kept(request, "filter", "q")
    further["after"] = str(listed.next)
    return {
        "queue": listed,
        "wanted": wanted,
        "at": at,
        "now": timezone.now(),
        "query": query_of(request),
        "first": _kept(request, "filter", "q").urlencode(),
        "further": further.urlencode(),
    }


def card_context(request: HttpRequest, escalation: Escalation, given: Input) -> dict[str, Any]:
    """What `_card.html` reads."""
    question, run = escalation.question, escalation.run
    everything = bool(request.GET.get("all"))
    shown = card(escalation, registry.workflow(run.workflow, run.version), whole=everything)
    is_open = escalation.state == EscalationState.OPEN
    offers = _offers(question) if is_open else ()
    return {
        "escalation": escalation,
        "question": question,
        "run": run,
        "card": shown,
        "given": given,
        "open": is_open,
        "mine": escalation.taken_by == request.user,
        "taken": escalation.taken_by is not None and escalation.taken_by != request.user,
        "fields": _form(escalation, shown, given) if given.mode == "edit" and is_open else (),
        "presets": END_PRESETS if question.kind == QuestionKind.LIMIT else PRESETS,
        "offers": offers,
        "added": added(question),
        "used_up": used_up(escalation, timezone.now())
        if is_open and question.kind == QuestionKind.LIMIT
        else None,
        "fitting": any(offer.fitting for offer in offers),
        "limit": 0 if everything else 600,
        "now": timezone.now(),
        "seconds": int((question.expires_at - question.asked_at).total_seconds()),
        "left": int((question.expires_at - _stands_at(run, question)).total_seconds()),
        "steps_done": counted.up_to(steps=Step.objects.filter(run=run, state="done"))["steps"],
        "query": query_of(request),
    }


def _stands_at(run: Run, question: Question) -> datetime:
    """Now, or when the question's clock began to stand."""
    return max(run.held_since, question.asked_at) if run.held_since else timezone.now()


def card_parts(request: HttpRequest, context: dict[str, Any]) -> str:
    """The card, and with it the narrower scopes of the Stop button: they must name the run that is on screen."""
    scopes = render_to_string("_scopes.html", context | {"oob": True}, request)
    return render_to_string("escalations/_card.html", context, request) + scopes


def found(escalation_id: int) -> Escalation:
    """The escalation with all that a card reads. Raises Http404."""
    rows = Escalation.objects.select_related(
        "question__step", "run__team", "team", "taken_by", "edited_by", "decision__by"
    )
    escalation = rows.filter(pk=escalation_id).first()
    if escalation is None:
        raise Http404(f"There is no escalation E-{escalation_id}.")
    escalation.question.run = escalation.run
    return escalation


def wanted_of(request: HttpRequest) -> Wanted:
    given = request.GET
    return Wanted(
        name=given.get("filter", ""),
        text=given.get("q", "").strip()[:200],
        after=number(given.get("after", "")),
    )


def query_of(request: HttpRequest) -> str:
    """The filter, the search and the page as a query, so that acts come back to the same queue."""
    kept = _kept(request, "filter", "q", "after")
    return f"?{kept.urlencode()}" if kept else ""


def _kept(request: HttpRequest, *names: str) -> QueryDict:
    kept = request.GET.copy()
    for name in set(kept) - set(names):
        del kept[name]
    return kept


def _form(escalation: Escalation, shown: Card, given: Input) -> tuple[FormField, ...]:
    """The edit form, filled with what was sent before, else with what would happen now."""
    if not shown.editable:
        return ()
    question = escalation.question
    if escalation.draft is not None:
        question.action = escalation.draft  # never saved: only read by the form
    errors = given.errors or _broken(shown)
    form = [
        FormField(field=one, value=given.values.get(one.name, one.value), error=errors.get(one.name, ""))
        for one in edits.fields(question)
    ]
    return tuple(sorted(form, key=lambda one: not one.error))


def _offers(question: Question) -> tuple[Offer, ...]:
    """Where the run of a missing version could go on, by version."""
    found: dict[int, list[Place]] = {}
    for place in places(question.run) if question.kind == QuestionKind.MISSING else ():
        found.setdefault(place.version, []).append(place)
    offers = [
        Offer(
            version=version,
            fitting=tuple(one for one in some if one.fits),
            unfit=tuple(one for one in some if not one.fits),
        )
        for version, some in found.items()
    ]
    return tuple(sorted(offers, key=lambda offer: not any(one.suggested for one in offer.fitting)))


def _broken(shown: Card) -> dict[str, str]:
    """Where the contract broke, while nobody has edited the value yet."""
    name = shown.failing.partition(".")[0]
    return {name: shown.error} if shown.needs_edit and name else {}


def _mode(request: HttpRequest) -> str:
    mode = request.GET.get("mode", "")
    return mode if mode in MODES else ""
