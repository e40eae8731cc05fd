"""The controls page and its forms: engage, release, resume. Every rule is in `escalations.controls`.

These forms are plain on purpose: no htmx on the way of a stop. Each answers with a redirect to the page that
shows how it took hold.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from escalations import controls, holding
from escalations.expected import Invalid, NotThere, Refusal
from escalations.views.actors import actor_of
from escalations.views.frame import frame_of
from runs.canonical import plain
from runs.models import Control, Run, ScopeKind
from runs.shown.listing import number


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    return _page(request)


@require_safe
def held_now(request: HttpRequest) -> HttpResponse:
    """What is held now, alone."""
    return render(request, "escalations/_held_now.html", _held_context(request))


@require_safe
def hits(request: HttpRequest) -> HttpResponse:
    """What the chosen hold would hit, alone."""
    return render(request, "escalations/_hits.html", _scope_context(request))


@require_safe
def receipt(request: HttpRequest, control_id: int) -> HttpResponse:
    """Who has confirmed a control, alone."""
    return render(request, "escalations/_receipt.html", {"held": holding.one(_found(control_id))})


@require_safe
def left_behind(request: HttpRequest) -> HttpResponse:
    """What released stops left behind, alone."""
    return render(request, "escalations/_left.html", {"left": holding.left_behind()})


@require_POST
def engage(request: HttpRequest) -> HttpResponse:
    given = request.POST
    try:
        control = controls.engage(
            actor=actor_of(request),
            kind=given.get("kind", ""),
            scope_kind=given.get("scope_kind", ""),
            scope=given.get("scope", ""),
            reason=given.get("reason", ""),
        )
    except Refusal as refusal:
        return _refused(request, refusal)
    if given.get("next") == "run" and control.scope_kind == ScopeKind.RUN:
        return redirect("run", run_id=int(control.scope))
    return redirect(f"{reverse('controls')}?control={control.pk}#receipt")


@require_POST
def release(request: HttpRequest, control_id: int) -> HttpResponse:
    reason = request.POST.get("reason", "")

    def act() -> str:
        control = controls.release(actor=actor_of(request), control_id=control_id, reason=reason)
        if control.kind == "stop":
            return f"Released: {control}. Its runs stay where they are until they are resumed."
        return f"Released: {control}. Its runs go on."

    return _act(request, act, control_id=control_id)


@require_POST
def resume(request: HttpRequest, run_id: int) -> HttpResponse:
    def act() -> str:
        controls.resume(actor=actor_of(request), run_id=run_id, reason=request.POST.get("reason", ""))
        return f"Run {run_id} goes on."

    to = reverse("controls") + "#left" if request.POST.get("next") == "controls" else None
    return _act(request, act, to=to or reverse("run", args=[run_id]))


@require_POST
def resume_all(request: HttpRequest, control_id: int) -> HttpResponse:
    def act() -> str:
        resumed = controls.resume_all(
            actor=actor_of(request), control_id=control_id, reason=request.POST.get("reason", "")
        )
        return f"{resumed} run{'' if resumed == 1 else 's'} resumed."

    return _act(request, act)


def _act(
    request: HttpRequest, act: Callable[[], str], *, to: str = "", control_id: int | None = None
) -> HttpResponse:
    try:
        said = act()
    except NotThere as why:
        raise Http404(why.sentence) from why
    except Refusal as refusal:
        return _refused(request, refusal, control_id)
    messages.success(request, said, extra_tags="sound")
    return redirect(to or reverse("controls"))


def _refused(request: HttpRequest, refusal: Refusal, control_id: int | None = None) -> HttpResponse:
    """The page again, with what was refused and why; what was typed is kept."""
    return _page(request, refusal=refusal, control_id=control_id, status=refusal.status)


def _page(
    request: HttpRequest,
    *,
    refusal: Refusal | None = None,
    control_id: int | None = None,
    status: int = 200,
) -> HttpResponse:
    context = _held_context(request, control_id) | _scope_context(request)
    errors = dict(refusal.errors) if isinstance(refusal, Invalid) else {}
    context |= {
        "place": "controls",
        "scopes": holding.scopes(),
        "left": holding.left_behind(),
        "refusal": refusal,
        "errors": errors,
        "typed": request.POST.get("reason", ""),
    }
    return render(request, "escalations/controls.html", context, status=status)


def _held_context(request: HttpRequest, control_id: int | None = None) -> dict[str, Any]:
    """The engaged controls, and the one whose receipt is shown: the asked for, else the first."""
    frame = frame_of(request)
    held = frame.all_held
    wanted = control_id or number(request.GET.get("control", ""))
    chosen = next((one for one in held if one.control.pk == wanted), None)
    if chosen is None and wanted is not None:
        released = Control.objects.filter(pk=wanted).first()
        chosen = frame.held(released) if released else None
    chosen = chosen or next(iter(held), None)
    return {"all_held": held, "held": chosen, "silent": holding.silent(), "now": timezone.now()}


def _scope_context(request: HttpRequest) -> dict[str, Any]:
    """The scope of the form, and what a hold over it would hit. An unknown run is said, not guessed."""
    given = request.POST if request.method == "POST" else request.GET
    kind, scope = given.get("scope_kind", ""), plain(given.get("scope", "").strip().removeprefix("#"))
    if kind not in ScopeKind.values or (kind == ScopeKind.EVERYTHING or not scope):
        kind, scope = ScopeKind.EVERYTHING, ""
    run = Run.objects.filter(pk=number(scope) or 0).first() if kind == ScopeKind.RUN else None
    unknown = kind == ScopeKind.RUN and run is None
    return {
        "scope_kind": str(kind),
        "scope": scope,
        "scope_run": run,
        "unknown_run": unknown,
        "hits": None if unknown else holding.hits(kind, scope),
        "as_of": timezone.now(),
    }


def _found(control_id: int) -> Control:
    control = Control.objects.filter(pk=control_id).first()
    if control is None:
        raise Http404(f"There is no control {control_id}.")
    return control
