"""The budgets page and its forms. Rules are in `escalations.topups` and `spends`; what is shown in `budgets`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from escalations import spends, topups
from escalations.budgets import accounts, part
from escalations.budgets.budget import Budget
from escalations.budgets.course import course
from escalations.budgets.doubts import in_doubt
from escalations.budgets.periods import PERIODS, SUMS, ends_of
from escalations.budgets.spend import spent_within
from escalations.expected import Invalid, NotThere, Refusal
from escalations.topups import Proposed
from escalations.views.actors import actor_of
from runs.limits.kinds import Window
from runs.models import Account
from runs.shown.listing import number

_FARTHEST = 1_000_000  # names before those that are shown
_FIELDS = ("amount", "until", "reason")


@require_safe
def page(request: HttpRequest, account_id: int | None = None) -> HttpResponse:
    """Budgets of the present periods; one of them in full."""
    return _page(request, account_id)


@require_safe
def listed(request: HttpRequest) -> HttpResponse:
    """The table alone."""
    uncertain = in_doubt().sums
    return render(request, "escalations/_budgets.html", _table_context(request, uncertain, timezone.now()))


@require_safe
def proposals(request: HttpRequest) -> HttpResponse:
    """What waits for a second person, alone."""
    waiting = accounts.open_proposals(timezone.now())
    return render(request, "escalations/_budget_proposals.html", {"proposals": waiting})


@require_safe
def uncertain(request: HttpRequest) -> HttpResponse:
    """Spends of which nobody knows, alone."""
    return render(request, "escalations/_budget_doubts.html", {"doubts": in_doubt()})


@require_safe
def spend(request: HttpRequest) -> HttpResponse:
    """What was spent where, alone."""
    return render(request, "escalations/_budget_spend.html", _spend_context(request, None, timezone.now()))


@require_POST
def top_up(request: HttpRequest, account_id: int) -> HttpResponse:
    given = {name: request.POST.get(name, "") for name in _FIELDS}

    def act() -> str:
        seen = request.POST.get("seen", "")[:20]
        done = topups.top_up_budget(actor=actor_of(request), account_id=account_id, seen=seen, **given)
        if isinstance(done, Proposed):
            return "Proposed: another admin must agree. Until then nothing more is allowed."
        return "Topped up. Runs that waited for it and have room now go on by themselves."

    return _act(request, act, account_id=account_id)


@require_POST
def book(request: HttpRequest, call_id: int) -> HttpResponse:
    amount, reason = request.POST.get("amount", ""), request.POST.get("reason", "")

    def act() -> str:
        spends.book(actor=actor_of(request), call_id=call_id, amount=amount, reason=reason)
        return f"Booked: what call {call_id} used is certain now."

    return _act(request, act, call_id=call_id)


@require_POST
def agree(request: HttpRequest, proposal_id: int) -> HttpResponse:
    digest = request.POST.get("digest", "")[:64]

    def act() -> str:
        topups.agree(actor=actor_of(request), proposal_id=proposal_id, digest=digest)
        return "You agreed: it is topped up."

    return _act(request, act)


@require_POST
def decline(request: HttpRequest, proposal_id: int) -> HttpResponse:
    def act() -> str:
        topups.decline(actor=actor_of(request), proposal_id=proposal_id)
        return "Declined: nothing more is allowed."

    return _act(request, act)


def _act(
    request: HttpRequest, act: Callable[[], str], *, account_id: int | None = None, call_id: int | None = None
) -> HttpResponse:
    try:
        said = act()
    except NotThere as why:
        raise Http404(why.sentence) from why
    except Refusal as refusal:
        return _page(request, account_id, refusal=refusal, call_id=call_id)
    messages.success(request, said, extra_tags="hand" if said.startswith("Proposed") else "sound")
    return redirect("budget", account_id=account_id) if account_id else redirect("budgets")


def _page(
    request: HttpRequest,
    account_id: int | None,
    *,
    refusal: Refusal | None = None,
    call_id: int | None = None,
) -> HttpResponse:
    at = timezone.now()
    doubts = in_doubt()
    context = _table_context(request, doubts.sums, at)
    found = context["table"].known.get(account_id)
    if account_id is not None and found is None:
        own = Account.objects.filter(pk=account_id).values_list("run_id", flat=True).first()
        if own:
            return redirect("run", run_id=own)
        found = accounts.past(account_id, doubts.sums, at)
        if found is None:
            raise Http404(f"There is no budget {account_id}.")
    context |= _spend_context(request, context["table"], at) | {
        "place": "budgets",
        "proposals": accounts.open_proposals(at),
        "doubts": doubts,
        "refusal": refusal,
        "errors": dict(refusal.errors) if isinstance(refusal, Invalid) else {},
        "typed": {name: request.POST.get(name, "") for name in _FIELDS},
        "booking": call_id,
        "now": at,
    }
    if found is not None:
        top_ups = accounts.top_ups(found)
        context |= {
            "chosen": found,
            "top_ups": top_ups,
            "seen": max((one.pk for one, _ in top_ups), default=0),
        }
    else:
        found = _first(context["table"], context["per"], at)
    context |= {"drawn": found, "plot": course(found, at)}
    if found.begins is not None and found.window in SUMS:
        context["ends"] = ends_of(found.window, found.begins)
    return render(request, "escalations/budgets.html", context, status=refusal.status if refusal else 200)


def _first(table: accounts.Budgets, per: Window, at: datetime) -> Budget:
    """What is drawn when nobody chose: the organisation's cost of the period, as its limit has it, if there is one."""
    whole = accounts.whole(per, at)
    same = (whole.kind, whole.window, whole.scope_kind)
    found = (one for one in table.budgets if (one.kind, one.window, one.scope_kind) == same)
    return next(found, whole)


def _table_context(request: HttpRequest, uncertain: Mapping[int, int], at: datetime) -> dict[str, Any]:
    text = request.GET.get("text", "").strip()[:100]
    only = request.GET.get("only", "")
    only = only if only in PERIODS else ""
    narrowed = {name: value for name, value in (("text", text), ("only", only)) if value}
    table = accounts.present(text, only, uncertain, at)
    return {"table": table, "text": text, "only": only, "narrowed": narrowed}


def _spend_context(request: HttpRequest, table: accounts.Budgets | None, at: datetime) -> dict[str, Any]:
    """All four parts side by side, or one of them as plots. `table`: what was read of the accounts already."""
    per = PERIODS.get(request.GET.get("per", ""), Window.MONTH)
    by, of = request.GET.get("by", ""), request.GET.get("of", "")
    by, of = by if by in part.BY else "", of if of in part.OF else "money"
    context = {
        "per": per,
        "periods": tuple(PERIODS),
        "by": by,
        "of": of,
        "bys": tuple(part.BY),
        "ofs": tuple(part.OF),
    }
    if not by:
        return context | {"spend": spent_within(per, at)}
    known = accounts.present("", "", {}, at) if table is None else table
    first = min(number(request.GET.get("from", "")) or 0, _FARTHEST)
    return context | {"spend": part.spent_by(by, of, per, first, known, at)}
