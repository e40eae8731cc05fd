"""Starting a run: a form made from the workflow's input contract. Checks nothing: the act and the engine do."""

from __future__ import annotations

import secrets
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from escalations import starts
from escalations.expected import IntakeFull, Invalid, NotThere, Refusal
from escalations.views.actors import actor_of
from escalations.views.inbox import FIELD, FormField
from runs import registry
from runs.canonical import plain
from runs.definitions import Workflow
from runs.engine import edits


@require_safe
def choose(request: HttpRequest) -> HttpResponse:
    """Which workflow to start."""
    return render(
        request, "escalations/start_choose.html", {"place": "runs", "workflows": registry.all_newest()}
    )


@require_http_methods(["GET", "HEAD", "POST"])
def page(request: HttpRequest, workflow: str) -> HttpResponse:
    """The form, and what it sends. The hidden start key makes a second sending start nothing."""
    found = registry.newest(workflow)
    if found is None:
        raise Http404(f"There is no workflow {workflow!r}.")
    if request.method != "POST":
        return _form(request, found, {}, None)
    return _start(request, found)


def _start(request: HttpRequest, workflow: Workflow) -> HttpResponse:
    values = {
        name.removeprefix(FIELD): str(value) for name, value in request.POST.items() if name.startswith(FIELD)
    }
    try:
        started = starts.start_run(
            actor=actor_of(request),
            workflow=workflow.name,
            raw_input=_read(workflow, values),
            start_key=request.POST.get("start_key", ""),
        )
    except NotThere as why:
        raise Http404(why.sentence) from why
    except Refusal as refusal:
        return _form(request, workflow, values, refusal)
    if not started.created:
        messages.info(
            request, f"This form had started run {started.run.pk} already; nothing was started twice."
        )
    return redirect("run", run_id=started.run.pk)


def _read(workflow: Workflow, values: dict[str, str]) -> dict[str, Any]:
    """The form's texts as values of the contract; what cannot be read goes on as text and is refused there."""
    try:
        read: dict[str, Any] = plain(edits.parse(workflow.takes, values))
    except edits.Broken:
        return dict(values)
    return read


def _form(
    request: HttpRequest, workflow: Workflow, values: dict[str, str], refusal: Refusal | None
) -> HttpResponse:
    errors = _errors(refusal)
    fields = [
        FormField(field=one, value=values.get(one.name, one.value), error=errors.get(one.name, ""))
        for one in edits.form_fields(workflow.takes, {})
    ]
    known = {one.field.name for one in fields}
    context = {
        "place": "runs",
        "workflow": workflow,
        "fields": fields,
        "refusal": refusal,
        "others": {name: message for name, message in errors.items() if name not in known},
        "start_key": request.POST.get("start_key") or secrets.token_urlsafe(18),
    }
    response = render(request, "escalations/start.html", context, status=refusal.status if refusal else 200)
    if isinstance(refusal, IntakeFull):
        response["Retry-After"] = str(refusal.retry_after_seconds)
    return response


def _errors(refusal: Refusal | None) -> dict[str, str]:
    """What is wrong, by the first part of the path: the field on the form."""
    if not isinstance(refusal, Invalid):
        return {}
    found: dict[str, str] = {}
    for path, message in refusal.errors:
        name, _, rest = path.partition(".")
        found.setdefault(name, f"{rest}: {message}" if rest else message)
    return found
