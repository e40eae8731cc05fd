"""The people's part of a run's page, fetched by URL: what waits for them and what they did. Reads only."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from escalations.models import Escalation, EscalationState, JournalEntry
from runs.models import Run

MOST = 30


@require_safe
def fragment(request: HttpRequest, run_id: int) -> HttpResponse:
    """Open escalation, those before it, and the newest entries of the journal about this run."""
    if not Run.objects.filter(pk=run_id).exists():
        raise Http404(f"There is no run {run_id}.")
    rows = Escalation.objects.filter(run_id=run_id).select_related("question", "taken_by", "decision__by")
    escalations = list(rows.order_by("-pk")[:MOST])
    context = {
        "run_id": run_id,
        "waiting": [one for one in escalations if one.state == EscalationState.OPEN],
        "closed": [one for one in escalations if one.state != EscalationState.OPEN],
        "entries": list(JournalEntry.objects.filter(run_id=run_id).order_by("-seq")[:MOST]),
    }
    return render(request, "escalations/_people.html", context)
