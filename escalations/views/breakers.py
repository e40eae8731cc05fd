"""The breakers page and its forms. Rules are in `escalations.breakers`, what is shown in `breakers_table`."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from escalations import breakers, breakers_table
from escalations.expected import Invalid, NotThere, Refusal
from escalations.views.actors import actor_of
from runs.canonical import plain


@require_safe
def page(request: HttpRequest, kind: str = "", name: str = "") -> HttpResponse:
    """Every breaker; one of them in full with its history and forms."""
    return _page(request, kind, name)


@require_safe
def listed(request: HttpRequest) -> HttpResponse:
    """The table alone."""
    return render(request, "escalations/_breakers.html", _table_context(request))


@require_POST
def force(request: HttpRequest) -> HttpResponse:
    given = request.POST
    kind, name = plain(given.get("kind", "")[:10]), plain(given.get("name", "")[:120])
    to = given.get("to", "-")
    try:
        breakers.force(actor=actor_of(request), kind=kind, name=name, to=to, reason=given.get("reason", ""))
    except NotThere as why:
        raise Http404(why.sentence) from why
    except Refusal as refusal:
        return _page(request, kind, name, refusal=refusal)
    said = f"The breaker of {kind} {name} is {breakers.WORDS[to]}."
    messages.success(request, said, extra_tags="hand" if to == breakers.OPEN else "sound")
    return redirect("breaker", kind=kind, name=name)


def _page(request: HttpRequest, kind: str, name: str, *, refusal: Refusal | None = None) -> HttpResponse:
    context = _table_context(request) | {
        "place": "breakers",
        "rule": breakers_table.rule_words(),
        "refusal": refusal,
        "errors": dict(refusal.errors) if isinstance(refusal, Invalid) else {},
        "reason": request.POST.get("reason", ""),
        "now": timezone.now(),
    }
    if kind:
        found = breakers_table.one(kind, name)
        if found is None:
            raise Http404(f"There is no {kind} called {name}.")
        context |= {
            "chosen": found,
            "history": breakers_table.history(found.breaker),
            "waits": breakers_table.waiting_for(found.breaker),
        }
    return render(request, "escalations/breakers.html", context, status=refusal.status if refusal else 200)


def _table_context(request: HttpRequest) -> dict[str, Any]:
    text = request.GET.get("text", "").strip()[:100]
    state = request.GET.get("state", "")[:10]
    rows, total = breakers_table.table(text, state)
    narrowed = {name: value for name, value in (("text", text), ("state", state)) if value}
    return {"rows": rows, "total": total, "text": text, "state": state, "narrowed": narrowed}
