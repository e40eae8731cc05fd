"""The limits page and its forms. Every rule is in `escalations.limits`; what is shown comes from `limits_table`.

The forms are plain: each answers with a redirect, or with the page again: what was typed kept, what was refused said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from escalations import drafted, enforcing, limits, limits_table, rehearsals, rehearsed
from escalations.expected import Invalid, NotThere, Refusal
from escalations.limit_changes import Plan, Wish, plan_of
from escalations.limit_lines import Line, Moved, line_from
from escalations.limits import Proposed
from escalations.limits_table import Wanted
from escalations.models import Imported, LimitProposal, Rehearsal, RehearsalState
from escalations.roles import Act
from escalations.views.actors import actor_of
from runs.limits import written
from runs.limits.kinds import Mode
from runs.models import Limit
from runs.rehearsal.drafts import Draft

_PLACE = ("team", "workflow", "agent", "tool", "model")
_FIELDS = ("what", "scope_kind", "scope", "value", "mode", "since", "until", "then", "reason")
_BESIDE = ("days", "traces")  # what a form says that is no part of the limit
_KEPT = (*_FIELDS, *_BESIDE)


@require_safe
def page(request: HttpRequest, line: int | None = None) -> HttpResponse:
    """Every limit; one of them in full with its form and history; what applies at a place.

    A limit is found by the number of any of its rows.
    """
    rows = limits_table.history(line) if line else None
    if line and not rows:
        first = Limit.objects.filter(pk=line).values_list("first", flat=True).first()
        if first:
            return redirect("limit", line=first)
    return _page(request, line=line, rows=rows)


@require_safe
def new(request: HttpRequest) -> HttpResponse:
    """The page with the form of a new limit."""
    return _page(request, making=True)


@require_safe
def listed(request: HttpRequest) -> HttpResponse:
    """The table alone."""
    proposals = limits_table.open_proposals(timezone.now())
    return render(request, "escalations/_limits.html", _table_context(request, proposals))


@require_safe
def proposals(request: HttpRequest) -> HttpResponse:
    """What waits for a second admin, alone."""
    waiting = limits_table.open_proposals(timezone.now())
    return render(request, "escalations/_limit_proposals.html", {"proposals": waiting})


@require_safe
def asks(request: HttpRequest, line: int) -> HttpResponse:
    """What a change would ask for, alone."""
    at = timezone.now()
    found = line_from(limits_table.history(line), line, at)
    if not found.rows:
        raise Http404(f"There is no limit {line} that holds.")
    context = _asks_context(found, request.GET, at, limits_table.rows_now())
    return render(request, "escalations/_limit_asks.html", context | {"line": found})


@require_POST
def set_limit(request: HttpRequest) -> HttpResponse:
    def act() -> tuple[int, str] | Rehearsal:
        done = enforcing.set_limit(actor=actor_of(request), **_wanted(request))
        return done if isinstance(done, Rehearsal) else (done.line, "The limit is set.")

    return _act(request, act, making=True)


@require_POST
def change(request: HttpRequest, line: int) -> HttpResponse:
    seen = request.POST.get("seen", "")

    def act() -> tuple[int, str] | Rehearsal:
        done = enforcing.change(actor=actor_of(request), line=line, seen=seen, **_wanted(request))
        return done if isinstance(done, Rehearsal) else (line, _said(done, "The limit is changed."))

    return _act(request, act, line=line)


@require_POST
def end(request: HttpRequest, line: int) -> HttpResponse:
    given = request.POST

    def act() -> tuple[int, str]:
        seen, reason = given.get("seen", ""), given.get("reason", "")
        done = limits.end(actor=actor_of(request), line=line, seen=seen, reason=reason)
        return line, _said(done, "The limit is over.")

    return _act(request, act, line=line)


@require_POST
def agree(request: HttpRequest, proposal_id: int) -> HttpResponse:
    given = request.POST

    def act() -> tuple[int, str]:
        digest, reason = given.get("digest", ""), given.get("reason", "")
        done = limits.agree(actor=actor_of(request), proposal_id=proposal_id, digest=digest, reason=reason)
        return done.line, "You agreed: the limit is changed."

    return _act(request, act)


@require_POST
def decline(request: HttpRequest, proposal_id: int) -> HttpResponse:
    def act() -> tuple[int, str]:
        reason = request.POST.get("reason", "")
        proposal = limits.decline(actor=actor_of(request), proposal_id=proposal_id, reason=reason)
        return proposal.line_id, "Declined: the limit stays as it is."

    return _act(request, act)


def _wanted(request: HttpRequest) -> dict[str, Any]:
    """A limit as its form has it, and how it is rehearsed where it must be."""
    given = request.POST
    return {
        "given": given.dict() | {"traces": traces_of(given)},
        "days": days_of(given),
        "reason": given.get("reason", ""),
        "unrehearsed": bool(given.get("unrehearsed")),
    }


def _said(done: limits.Done | Proposed, words: str) -> str:
    if isinstance(done, Proposed):
        return "Proposed: another admin must agree. Until then the limit stays as it is."
    return words


def _act(
    request: HttpRequest,
    act: Callable[[], tuple[int, str] | Rehearsal],
    *,
    line: int | None = None,
    making: bool = False,
) -> HttpResponse:
    try:
        done = act()
    except NotThere as why:
        raise Http404(why.sentence) from why
    except Refusal as refusal:
        return _page(request, line=line, making=making, refusal=refusal)
    if isinstance(done, Rehearsal):
        return beside(request, done, line=line)
    number, said = done
    messages.success(request, said, extra_tags="hand" if said.startswith("Proposed") else "sound")
    return redirect("limit", line=number)


def beside(request: HttpRequest, one: Rehearsal, *, line: int | None) -> HttpResponse:
    """On to the form as it was typed, with a rehearsal beside it."""
    given = request.POST.dict() | {"traces": traces_of(request.POST)}
    kept = {name: given[name] for name in _KEPT if given.get(name)} | {"rehearsal": str(one.pk)}
    where = reverse("limit", args=[line]) if line else reverse("limit-new")
    return redirect(f"{where}?{urlencode(kept)}#rehearsal")


def again(request: HttpRequest, refusal: Refusal, *, line: int | None) -> HttpResponse:
    """The page with its form as it was typed, and what was refused."""
    return _page(request, line=line, making=line is None, refusal=refusal)


def _page(
    request: HttpRequest,
    *,
    line: int | None = None,
    rows: list[Limit] | None = None,
    making: bool = False,
    refusal: Refusal | None = None,
) -> HttpResponse:
    """`rows`: those of the line, where they are read already."""
    at = timezone.now()
    waiting = limits_table.open_proposals(at)
    context = _table_context(request, waiting)
    context |= {
        "place": "limits",
        "proposals": waiting,
        "choices": limits_table.choices(),
        "making": making,
        "not_asked": limits_table.not_asked(),
        "refusal": refusal,
        "errors": dict(refusal.errors) if isinstance(refusal, Invalid) else {},
        "differences": refusal.differences if isinstance(refusal, Moved) else [],
        "typed": _typed(request),
        "now": at,
    }
    context |= _applies_context(request, context["limits"], at)
    if line is not None:
        rows = limits_table.history(line) if rows is None else rows
        context |= _line_context(request, line, rows, at, context["limits"])
    if making or line is not None:
        context |= _rehearsal_context(request, context, at)
    return render(request, "escalations/limits.html", context, status=refusal.status if refusal else 200)


def _table_context(request: HttpRequest, waiting: list[LimitProposal]) -> dict[str, Any]:
    given = request.GET
    wanted = Wanted(
        scope_kind=given.get("by_scope", "")[:20],
        what=given.get("by_what", "")[:40],
        by=given.get("by", "")[:20],
        text=given.get("text", "").strip()[:100],
    )
    if wanted.by == limits_table.OVER:
        rows, shown = limits_table.rows_now_and_over(timezone.now())
    else:
        rows = shown = limits_table.rows_now()
    narrowed = {name: given[name] for name in ("by_scope", "by_what", "by", "text") if given.get(name)}
    return {
        "limits": rows,
        "table": limits_table.table(shown, waiting, wanted),
        "wanted": wanted,
        "narrowed": narrowed,
    }


def _applies_context(request: HttpRequest, rows: list[Limit], at: datetime) -> dict[str, Any]:
    given = request.GET.dict()
    where = limits_table.place(given)
    applied = limits_table.effective(rows, where, at)
    return {
        "where": {name: getattr(where, name) for name in _PLACE},
        "asked_where": any(given.get(name) for name in _PLACE),
        "applied": [(one, limits_table.because(one)) for one in applied],
    }


def _line_context(
    request: HttpRequest, line: int, rows: list[Limit], at: datetime, known: list[Limit]
) -> dict[str, Any]:
    """One limit: its history, and for what holds the form with what it would ask for."""
    if not rows:
        raise Http404(f"There is no limit {line}.")
    found = line_from(rows, line, at)
    context: dict[str, Any] = {"line": found, "history": rows, "newest": rows[0]}
    context["holding"] = next((one.pk for one in found.limits if one.valid_from <= at), None)
    if not found.rows:
        return context
    first = found.rows[0]
    given = _typed(request) or written.as_written(first)
    ends = plan_of(found, Wish(act=Act.END_LIMIT, new=None), at, known)
    context |= {"first": first, "form": given, "end_asks": limits_table.asks(ends, at)}
    return context | (_asks_context(found, given, at, known) if _typed(request) else {})


def _rehearsal_context(request: HttpRequest, context: dict[str, Any], at: datetime) -> dict[str, Any]:
    """The rehearsal that was asked for last, and whether the form as it stands was rehearsed."""
    given = request.POST if request.method == "POST" else request.GET
    first = context.get("first")
    weaker = context["making"] or (first is not None and first.mode is not Mode.ENFORCE)
    asked: dict[str, Any] = {"days": rehearsals.DAYS, "was_weaker": weaker}
    wanted = context["typed"].get("traces", "").split(",")
    asked["imported"] = [(one, str(one.pk) in wanted) for one in Imported.objects.only("name", "runs")]
    tried = _draft(context, at)
    number = given.get("rehearsal", "")
    asks_one = number.isdecimal() and len(number) < 18
    one: Rehearsal | None = None
    stands: tuple[Rehearsal | None, bool] = None, False
    if asks_one or tried is not None:
        digest = tried.digest if tried is not None else ""
        one, stands = rehearsed.named_and_standing(int(number) if asks_one else 0, digest, at)
    exactly = tried is not None and one is not None and tried.digest == one.digest
    counts, is_empty = None, False
    if tried is not None and (exactly or (one is None and weaker and tried.enforces)):
        counts, is_empty = stands
    one = one or counts
    if one is None:
        return asked
    if exactly and one.state == RehearsalState.DONE and counts is None:
        asked["rehearsed_not"] = rehearsed.NO_RUN if is_empty else rehearsed.OLD
    rows = given.get("rows", "")
    most = int(rows) if rows.isdecimal() and len(rows) < 6 else rehearsed.PAGE
    found = rehearsed.rows(one, min(rehearsed.MOST_SHOWN, most))
    return asked | {
        "rehearsal": one,
        "rehearsed_runs": found,
        "rehearsed_exactly": exactly or one is counts,
        "rehearsed_counts": counts,
        "rehearsed_at": rehearsed.where(one),
        "rehearsed_more": _more(request, one, most) if len(found) == most < rehearsed.MOST_SHOWN else "",
    }


def _more(request: HttpRequest, one: Rehearsal, most: int) -> str:
    """The same page with more of the runs."""
    kept = {name: value for name, value in _typed(request).items() if value}
    return urlencode(kept | {"rehearsal": one.pk, "rows": most * 5})


def _draft(context: Mapping[str, Any], at: datetime) -> Draft | None:
    """What the form holds; None when it cannot be read."""
    typed = context["typed"]
    try:
        if context["making"]:
            return drafted.alone(written.new_limit(typed, at=at)) if typed else None
        found = context["line"]
        if not found.rows:
            return None
        given = typed or written.as_written(found.rows[0])
        return drafted.alone(written.changed(found.rows[0], given | {"since": "", "until": ""}, at=at), found)
    except written.Wrong:
        return None


def _asks_context(found: Line, given: Mapping[str, str], at: datetime, known: list[Limit]) -> dict[str, Any]:
    """What the change would ask for; what cannot be read is said where it was written."""
    try:
        plan: Plan = plan_of(found, limits.wish(found, given, at), at, known)
    except Invalid as wrong:
        return {"plan": None, "unread": wrong.errors}
    tone, sentence = limits_table.asks(plan, at)
    return {"plan": plan, "tone": tone, "asks": sentence}


def _typed(request: HttpRequest) -> dict[str, str]:
    """What came with a form, of a POST or of a GET that only asks; empty for a page that was just opened."""
    given = request.POST if request.method == "POST" else request.GET
    if "value" not in given:
        return {}
    return {name: given.get(name, "") for name in _KEPT} | {"traces": traces_of(given)}


def traces_of(given: QueryDict) -> str:
    """The imported traces of a form's boxes, or of an address: "3,5"."""
    return ",".join(one for many in given.getlist("traces") for one in many.split(",") if one)


def days_of(given: QueryDict) -> int:
    """Over how many days a form rehearses."""
    days = given.get("days", "")
    return int(days) if days.isdecimal() and len(days) < 5 else 30
