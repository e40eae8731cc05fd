"""The search of the bar: runs by number or goal, escalations by number, title or goal. Reads only."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from escalations import inbox
from runs.shown import listing
from runs.shown.listing import Wanted

MOST = 25


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    """What matches, newest first; at most MOST of each, from among the newest LOOK."""
    text = request.GET.get("q", "").strip().replace("\x00", "")[:200]
    context: dict[str, Any] = {"searched": text, "runs": (), "escalations": (), "most": MOST}
    if text:
        found = listing.page(Wanted(text=text), MOST)
        context |= {"runs": found.runs, "escalations": inbox.found(text, MOST), "looked": found.looked}
    return render(request, "escalations/search.html", context)
