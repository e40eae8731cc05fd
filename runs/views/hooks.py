"""The address for signed deliveries: HTTP in, one JSON sentence out. What is decided, `triggers.deliveries` decides.

No session and no CSRF token: the signature says who it is. Open to everybody for that reason.
"""

from __future__ import annotations

import logging
from typing import Any

from django.http import HttpRequest, JsonResponse, UnreadablePostError
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt

from runs.engine import starts, triggers
from runs.engine.triggers import AWAY, deliveries, turned_away
from runs.engine.triggers.deliveries import MOST_BYTES, Delivery
from runs.starts_by import Webhook

_log = logging.getLogger("opsconsole.webhooks")
_HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")
_AGAIN_SECONDS = 30  # when a stop, or a database that is away, asks a sender to come back
_UNKNOWN = "There is no such hook."


class _TooLarge(Exception):
    """The body is larger than a delivery may be."""


@csrf_exempt
@never_cache
def receive(request: HttpRequest, workflow: str, name: str) -> JsonResponse:
    """202 started, 200 known, otherwise why not."""
    start = deliveries.hook(workflow, name)
    if start is None:
        turned_away.note(turned_away.Kind(workflow="", start=None, why=_UNKNOWN))
        return _answer(404, _UNKNOWN)
    if request.method != "POST":
        return _answer(405, "Deliveries are sent with POST.", headers={"Allow": "POST"})
    try:
        begun = deliveries.receive(workflow, start, _delivery(request))
    except UnreadablePostError:
        return _answer(400, "The delivery broke off.")
    except AWAY:
        return _answer(503, "The database does not answer; send it again later.", after=_AGAIN_SECONDS)
    except (_TooLarge, deliveries.NoStart, starts.NotStarted) as why:
        return _refused(workflow, start, why)
    except Exception:
        _log.exception("webhook %s of %s failed", name, workflow)
        return _answer(500, "Something went wrong here; it is in the console's log. Nothing was started.")
    says = f"Run {begun.run.pk} {'was started.' if begun.created else 'had been started by this delivery before.'}"
    return _answer(202 if begun.created else 200, says, run=begun.run.pk, created=begun.created)


def _delivery(request: HttpRequest) -> Delivery:
    """Raises _TooLarge, if it can before the body is read."""
    length = request.headers.get("Content-Length", "")
    if length.isdecimal() and (len(length) > 12 or int(length) > MOST_BYTES):
        raise _TooLarge
    body = request.read(MOST_BYTES + 1)
    if len(body) > MOST_BYTES:
        raise _TooLarge
    return Delivery(body=body, headers={name: request.headers.get(name, "") for name in _HEADERS})


def _refused(workflow: str, start: Webhook, why: Exception) -> JsonResponse:
    match why:
        case starts.IntakeFull():
            _stands_in_the_way(workflow, start, why.sentence)
            return _answer(429, why.sentence, after=why.retry_after_seconds)
        case starts.Held():
            _stands_in_the_way(workflow, start, why.sentence)
            return _answer(423, why.sentence, after=_AGAIN_SECONDS)
        case deliveries.NotSetUp():
            return _answer(503, why.sentence, after=_AGAIN_SECONDS)
    turned_away.note(turned_away.Kind(workflow=workflow, start=start, why=_class_of(why)))
    match why:
        case _TooLarge():
            return _answer(413, f"The body is larger than {MOST_BYTES} bytes.")
        case deliveries.NotSigned():
            return _answer(401, why.sentence)
        case deliveries.NotReadable():
            return _answer(400, why.sentence)
        case deliveries.OtherContent():
            return _answer(409, why.sentence)
        case starts.BadInput():
            wrong = [{"path": path, "message": message} for path, message in why.errors]
            return _answer(422, why.sentence, errors=wrong)
        case deliveries.NotUsable():
            return _answer(422, why.sentence)
        case _:  # the workflow is gone since we looked
            return _answer(404, _UNKNOWN)


def _stands_in_the_way(workflow: str, start: Webhook, sentence: str) -> None:
    try:
        triggers.failed(triggers.row(workflow, start), sentence)
    except AWAY:
        _log.warning("webhook %s of %s: %s", start.name, workflow, sentence)


def _class_of(why: Exception) -> str:
    """Why, in words of ours: a sender's words stay out of the log."""
    return {
        _TooLarge: "the body was too large",
        deliveries.NotSigned: "no good signature",
        deliveries.NotReadable: "the body or the id could not be read",
        deliveries.NotUsable: "no input could be made of the payload",
        deliveries.OtherContent: "an id that had come before with another payload",
        starts.BadInput: "the input did not meet the contract",
    }.get(type(why), "no such workflow")


def _answer(
    status: int, says: str, *, after: int = 0, headers: dict[str, str] | None = None, **more: Any
) -> JsonResponse:
    response = JsonResponse({"says": says, **more}, status=status, headers=headers or {})
    if after:
        response["Retry-After"] = str(after)
    response._has_been_logged = True  # type: ignore[attr-defined]  # Django's own mark: a refusal is counted, not logged
    return response
