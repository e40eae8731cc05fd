"""The journal's page, its list alone, and its export. Reads only; that an export is recorded is its own business."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from typing import IO, Any

from django.core.handlers.asgi import ASGIRequest
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from escalations import interventions
from escalations.audit import export as csv_export
from escalations.expected import Refusal
from escalations.interventions import filters_of
from escalations.views.actors import actor_of
from runs.shown.listing import number

PIECE = 64 * 1024  # bytes
_IN_MEMORY = (
    4 * 1024 * 1024
)  # bytes; a larger file goes to disk, because a slow reader would keep it in memory


@require_safe
def page(request: HttpRequest, seq: int | None = None) -> HttpResponse:
    """The entries, and one of them in full: the asked for, else the newest."""
    context = _list_context(request)
    listed: interventions.Page = context["page"]
    shown = interventions.one(seq or listed.newest)
    if seq is not None and shown is None:
        raise Http404(f"There is no entry {seq}.")
    context |= {
        "place": "interventions",
        "shown": shown,
        "chosen": seq is not None,
        "people": interventions.people(),
        "acts": interventions.acts(),
        "outcomes": interventions.outcomes(),
        "workflows": interventions.workflows(),
    }
    return render(request, "escalations/interventions.html", context)


@require_safe
def listed(request: HttpRequest) -> HttpResponse:
    """The entries alone."""
    return render(request, "escalations/_entries.html", _list_context(request))


@require_POST
def export(request: HttpRequest) -> HttpResponseBase:
    """The filtered entries as a CSV file."""
    try:
        pieces = csv_export.export(actor=actor_of(request), filters=filters_of(request.POST.dict()))
    except Refusal as refusal:
        context = {"exception": refusal.sentence}
        return render(request, "403.html", context, status=refusal.status)
    file = _written(pieces)
    response = StreamingHttpResponse(
        _async_pieces(file) if isinstance(request, ASGIRequest) else _pieces(file),
        content_type="text/csv; charset=utf-8",
    )
    name = f"interventions-{timezone.now():%Y%m%d-%H%M%S}.csv"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["Cache-Control"] = "no-store"
    return response


def _list_context(request: HttpRequest) -> dict[str, Any]:
    kept = request.GET.copy()
    before = number(kept.get("before", ""))
    kept.pop("before", None)
    filters = filters_of(request.GET.dict())
    return {
        "filters": filters,
        "page": interventions.page(filters, before),
        "before": before,
        "query": kept.urlencode(),
        "given": request.GET,
        "at": request.resolver_match.kwargs.get("seq") if request.resolver_match else None,
    }


def _written(pieces: Iterator[str]) -> IO[bytes]:
    """The whole file, before the first byte is sent: an error while reading becomes a page and not half a file."""
    file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115  # closed when it has been sent
    for piece in pieces:
        file.write(piece.encode())
    file.seek(0)
    return file


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while piece := file.read(PIECE):
            yield piece


async def _async_pieces(file: IO[bytes]) -> AsyncIterator[bytes]:
    """The same for a server that is asynchronous; reading a piece of a local file does not wait."""
    for piece in _pieces(file):
        yield piece
