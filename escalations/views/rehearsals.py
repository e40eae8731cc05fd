"""Asking for a rehearsal from the forms of limits, and looking at one. Every rule is in `escalations.rehearsals`."""

from __future__ import annotations

from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from escalations import rehearsals, rehearsed
from escalations.expected import NotThere, Refusal
from escalations.models import Rehearsal
from escalations.views import limits
from escalations.views.actors import actor_of

_KEPT = ("what", "scope_kind", "scope", "value", "mode", "since", "until", "then", "reason", "days")


@require_POST
def ask(request: HttpRequest) -> HttpResponse:
    """Rehearse what a form holds; then the form again as it was, with what came of it beside it."""
    given = request.POST
    line = int(given["line"]) if given.get("line", "").isdecimal() and len(given["line"]) < 18 else None
    days = int(given["days"]) if given.get("days", "").isdecimal() and len(given["days"]) < 5 else 30
    try:
        one = rehearsals.ask(
            actor=actor_of(request), given=given.dict(), line=line, seen=given.get("seen", ""), days=days
        )
    except NotThere as why:
        raise Http404(why.sentence) from why
    except Refusal as refusal:
        return limits.again(request, refusal, line=line)
    kept = {name: given.get(name, "") for name in _KEPT if given.get(name)} | {"rehearsal": str(one.pk)}
    where = reverse("limit", args=[line]) if line else reverse("limit-new")
    return redirect(f"{where}?{urlencode(kept)}#rehearsal")


@require_safe
def one(request: HttpRequest, number: int) -> HttpResponse:
    """A rehearsal alone: it asks for itself until it is over. Opened as a page it stands beside its form."""
    found = get_object_or_404(Rehearsal, pk=number)
    if not getattr(request, "htmx", False):
        return redirect(rehearsed.where(found))
    context = {
        "rehearsal": found,
        "rehearsed_runs": rehearsed.rows(found),
        "rehearsed_exactly": True,
        "rehearsed_at": rehearsed.where(found),
    }
    return render(request, "escalations/_rehearsal.html", context)
