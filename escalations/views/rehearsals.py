"""Asking for a rehearsal from the forms of limits, and looking at one. Every rule is in `escalations.rehearsals`."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from escalations import rehearsals, rehearsed
from escalations.expected import NotThere, Refusal
from escalations.models import Rehearsal
from escalations.views import limits
from escalations.views.actors import actor_of


@require_POST
def ask(request: HttpRequest) -> HttpResponse:
    """Rehearse what a form holds; then the form again as it was, with what came of it beside it."""
    given = request.POST.dict() | {"traces": limits.traces_of(request.POST)}
    line = int(given["line"]) if given.get("line", "").isdecimal() and len(given["line"]) < 18 else None
    try:
        one = rehearsals.ask(
            actor=actor_of(request),
            given=given,
            line=line,
            seen=given.get("seen", ""),
            days=limits.days_of(request.POST),
        )
    except NotThere as why:
        raise Http404(why.sentence) from why
    except Refusal as refusal:
        return limits.again(request, refusal, line=line)
    return limits.beside(request, one, line=line)


@require_safe
def one(request: HttpRequest, number: int) -> HttpResponse:
    """A rehearsal alone: it asks for itself until it is over. Opened as a page it stands beside its form."""
    found = get_object_or_404(Rehearsal, pk=number)
    if not getattr(request, "htmx", False):
        return redirect(rehearsed.where(found))
    context = {
        "rehearsal": found,
        "rehearsed_counts": rehearsed.latest(found.digest, timezone.now()),
        "rehearsed_runs": rehearsed.rows(found),
        "rehearsed_exactly": True,
        "rehearsed_at": rehearsed.where(found),
    }
    return render(request, "escalations/_rehearsal.html", context)
