"""The list of runs and the page of one run, each also in the parts that are redrawn. Reads only.

What people do to a run are forms that post to the people's addresses; their part of the page comes by URL.
"""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils import timezone
from django.views.decorators.http import require_safe

from runs import registry
from runs.canonical import plain
from runs.models import Body, Event, Run, RunState, Team
from runs.models.run import ACTIVE
from runs.shown import counted, history, inspected, limited, listing, versions, words
from runs.shown.history import History
from runs.shown.listing import Wanted, number

PART = 100_000  # characters of a stored text on one page


@require_safe
def runs(request: HttpRequest) -> HttpResponse:
    """Every run, newest first, filtered."""
    context = _list_context(request)
    names = {one.name for one in registry.all_newest()} | {context["wanted"].workflow}
    context |= {
        "place": "runs",
        "workflows": sorted(names - {""}),
        "teams": Team.objects.order_by("name").values_list("name", flat=True),
        "states": RunState.choices,
    }
    return render(request, "runs/runs.html", context)


@require_safe
def listed(request: HttpRequest) -> HttpResponse:
    """The list alone."""
    return render(request, "runs/_runs.html", _list_context(request))


@require_safe
def run(request: HttpRequest, run_id: int) -> HttpResponse:
    """One run. `attempt` or `call` choose what the inspector shows, `until` the stretch of steps, `before` and `find`
    the page of events."""
    found = _found(run_id)
    context = _moving_context(request, found)
    past: History = context["past"]
    context |= _inspector_context(request, found, past.newest_attempt) | _events_context(request, found)
    return render(request, "runs/run.html", context | {"place": "runs"})


@require_safe
def moving(request: HttpRequest, run_id: int) -> HttpResponse:
    """What changes while a run goes on: drawing and timeline, with head and figures beside them."""
    context = _moving_context(request, _found(run_id)) | {"inspected": None}
    parts = [render_to_string("runs/_moving.html", context, request)]
    for name in ("runs/_head.html", "runs/_bounds.html", "runs/_figures.html"):
        parts.append(render_to_string(name, context | {"oob": True}, request))
    return HttpResponse("".join(parts))


@require_safe
def inspector(request: HttpRequest, run_id: int) -> HttpResponse:
    """One attempt or call."""
    found = _found(run_id)
    context = _inspector_context(request, found, history.newest_attempt(found))
    return render(request, "runs/_inspector.html", context | {"run": found})


@require_safe
def events(request: HttpRequest, run_id: int) -> HttpResponse:
    """A page of events."""
    found = _found(run_id)
    return render(request, "runs/_events.html", {"run": found} | _events_context(request, found))


@require_safe
def body(request: HttpRequest, run_id: int, digest: str) -> HttpResponse:
    """A stored text, if this run has anything to do with it: in full, or when it is very long PART of it, `from` a
    character on."""
    found = _found(run_id)
    stored = Body.objects.filter(pk=digest).defer("content").first()
    if stored is None or not _belongs(found, digest):
        raise Http404(f"Run {run_id} has no body {digest[:12]}.")
    begin = number(request.GET.get("from", "")) or 0
    part = inspected.part(stored, begin, PART)
    context = {"run": found, "body": stored, "part": part, "begin": begin, "place": "runs"}
    return render(request, "runs/body.html", context)


def _found(run_id: int) -> Run:
    """Raises Http404."""
    rows = Run.objects.select_related("team", "held_by", "input", "output")
    found = rows.defer("input__content", "output__content").filter(pk=run_id).first()
    if found is None:
        raise Http404(f"There is no run {run_id}.")
    return found


def _list_context(request: HttpRequest) -> dict[str, Any]:
    wanted = Wanted.of(request.GET)
    kept = request.GET.copy()
    for name in ("before", "upto"):
        kept.pop(name, None)
    return {
        "wanted": wanted,
        "page": listing.page(wanted),
        "counts": listing.counts(),
        "query": kept.urlencode(),
        "active": ACTIVE,
    }


def _moving_context(request: HttpRequest, found: Run) -> dict[str, Any]:
    until, plan = number(request.GET.get("until", "")), number(request.GET.get("plan", ""))
    past = history.history(found, until=until, unfolded=plan)
    now = timezone.now()
    waits_on = past.guarded.waiting if not found.final else ()
    bound = limited.limited(past, now)
    drawn = history.waterfall(past, now, bound.marks)
    asked = [one.question.step_id for one in past.waits if one.question.step_id]
    tasks = [row.id for row in drawn.rows if row.task]
    return {
        "run": found,
        "past": past,
        "migrations": versions.migrations(found) if past.migrated else (),
        "definition": registry.workflow(found.workflow, found.version),
        "course": history.taken(past),
        "timeline": drawn,
        "chain": bound.chain,
        "binding": bound.binding,
        "waits_on": waits_on,
        "waits_only_on": waits_on[0] if waits_on and found.state == RunState.SLEEPING else None,
        "stretch": history.between(past, drawn),
        "task_names": past.task_names([*tasks, *asked]),
        "unfolded": plan,
        "until": until,
        "kept": "".join(f"&{name}={value}" for name, value in (("plan", plan), ("until", until)) if value),
        "waits_for": past.waits[0].question if past.all_waits == 1 else None,
        "waits": past.waits,
        "all_waits": past.all_waits,
        "now": now,
    }


def _inspector_context(request: HttpRequest, found: Run, newest: int | None) -> dict[str, Any]:
    attempt = number(request.GET.get("attempt", ""))
    call = number(request.GET.get("call", ""))
    chosen = attempt is not None or call is not None
    if not chosen:
        attempt = newest
    shown = inspected.of(found, attempt, call)
    given = inspected.loaded(shown.context) if shown else None
    turns, earlier = inspected.turns(given)
    task = shown is not None and shown.step.parent_id is not None
    return {
        "chosen": chosen,
        "inspected": shown,
        "context_value": given,
        "task_name": words.of_task(shown.task_head) if shown and task else "",
        "attempt_words": words.of_attempt(shown.attempt) if shown else "",
        "turns": turns,
        "earlier_turns": earlier,
        "output_value": inspected.loaded(shown.output) if shown else None,
    }


def _events_context(request: HttpRequest, found: Run) -> dict[str, Any]:
    before = number(request.GET.get("before", ""))
    find = plain(request.GET.get("find", "").strip())[:200]
    many = "many" in request.GET
    return {
        "told": history.events(found, before, find, history.MOST_EVENTS if many else history.EVENTS),
        "many": many,
        "most_events": history.MOST_EVENTS,
        "before": before,
        "find": find,
        "last_event": found.event_seq,
    }


def _belongs(found: Run, digest: str) -> bool:
    """Whether the run's steps, attempts, calls or events name this body."""
    if digest in (found.input_id, found.output_id):
        return True
    steps, calls = found.steps.all(), found.calls.all()
    there = counted.up_to(
        1,
        input=steps.filter(input_id=digest),
        output=steps.filter(output_id=digest),
        refused=steps.filter(attempts__rejected_output_id=digest),
        request=calls.filter(request_id=digest),
        response=calls.filter(response_id=digest),
        event=Event.objects.filter(run=found, data__body=digest),
    )
    return any(there.values())
