"""The frame of every page, for templates and as fragments of its own (`escalations.frame`). Reads only."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from escalations.frame import PLACES, Frame

BARE = "bare.html"


def frame(request: HttpRequest) -> dict[str, object]:
    """The context processor. Anonymous pages get no frame. `around` is what a refusal stands in: Stop stands on
    every page of somebody who has a role, and no page stands inside a part of another."""
    if not getattr(request, "user", None) or not request.user.is_authenticated:
        return {"around": BARE}
    made = frame_of(request)
    return {
        "frame": made,
        "around": BARE if request.headers.get("HX-Request") or not made.roles else "base.html",
    }


def frame_of(request: HttpRequest) -> Frame:
    """The one frame of a request, however many parts are rendered for it."""
    known = getattr(request, "frame", None)
    if isinstance(known, Frame):
        return known
    made = Frame(request.user, getattr(request, "roles", None))
    request.frame = made  # type: ignore[attr-defined]
    return made


@require_safe
def places(request: HttpRequest) -> HttpResponse:
    """The places with their counts, as a fragment."""
    at = request.GET.get("at", "")
    return render(request, "_places.html", {"place": at if at in PLACES else ""})


@require_safe
def held(request: HttpRequest) -> HttpResponse:
    """The banner of what is held, as a fragment."""
    return render(request, "_held.html")
