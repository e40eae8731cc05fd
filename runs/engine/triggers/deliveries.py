"""Starts a run for a signed delivery. Knows no HTTP beyond the three headers of Standard Webhooks.

The delivery's id is part of the start key: the same id again is the same run. What the payload was is kept as a digest
in the run's first event, so that an id that comes again with another payload is told instead of believed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from django.conf import settings
from standardwebhooks import Webhook as Signature
from standardwebhooks.webhooks import WebhookVerificationError

from runs import registry
from runs.canonical import digest, told
from runs.engine import starts, triggers
from runs.engine.triggers import AWAY
from runs.models import Event, Run
from runs.starts_by import Webhook

MOST_BYTES = 1_000_000
TOLERANCE_SECONDS = 300  # what the package allows for webhook-timestamp, both ways
LONGEST_ID = 200
LONGEST_KEY = 200


class NoStart(Exception):
    """This delivery starts nothing; `sentence` says why."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class NotSetUp(NoStart):
    """The hook exists, but there is no secret for it."""


class NotSigned(NoStart):
    """No good signature. Always the same words: who guesses learns nothing."""

    def __init__(self) -> None:
        super().__init__(
            "This delivery is not signed with a secret of this hook, or its webhook-timestamp is more than "
            f"{TOLERANCE_SECONDS // 60} minutes from now."
        )


class NotReadable(NoStart):
    """It is signed, but the body or the id cannot be used."""


class NotUsable(NoStart):
    """The hook's own function could not make an input of the payload."""


class OtherContent(NoStart):
    """This id has come before with another payload."""

    def __init__(self, run: Run) -> None:
        super().__init__(
            f"This webhook-id has started run {run.pk} with another payload: nothing was started. "
            "A new message needs an id of its own."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What was sent: the body as it came, and the headers with their names in lower case."""

    body: bytes
    headers: Mapping[str, str]


def hook(workflow: str, name: str) -> Webhook | None:
    """The newest version's hook of that name, or None."""
    found = registry.newest(workflow)
    starts_of_it = found.starts if found else ()
    return next((one for one in starts_of_it if isinstance(one, Webhook) and one.name == name), None)


def secrets_of(workflow: str, name: str) -> tuple[str, ...]:
    """Its secrets as the settings have them; several while they are being changed."""
    return tuple(settings.WEBHOOK_SECRETS.get(f"{workflow}/{name}", ()))


def receive(workflow: str, start: Webhook, delivery: Delivery) -> starts.Started:
    """Start the delivery's run, or find the one it has started before.

    Raises NotSetUp, NotSigned, NotReadable, NotUsable, OtherContent, and what `runs.engine.starts.start` raises.
    """
    _must_be_signed(secrets_of(workflow, start.name), delivery)
    payload = _payload(delivery.body)
    key = _key(start, delivery.headers["webhook-id"])
    content = digest(payload)
    if run := triggers.known(workflow, key):
        return _again(run, content)
    begun = triggers.fire(workflow, start, _input(start, payload), key, payload=content)
    return begun if begun.created else _again(begun.run, content)


def _again(run: Run, content: str) -> starts.Started:
    first = Event.objects.filter(run=run, kind="started").first()
    if first is not None and first.data.get("payload", content) != content:
        raise OtherContent(run)
    return starts.Started(run=run, created=False)


def _must_be_signed(secrets: tuple[str, ...], delivery: Delivery) -> None:
    if not secrets:
        raise NotSetUp(
            "This hook is not set up yet: its secret is missing in WEBHOOK_SECRETS of the console."
        )
    if not any(_signed(secret, delivery) for secret in secrets):
        raise NotSigned


def _signed(secret: str, delivery: Delivery) -> bool:
    """Compared in constant time by the package, which raises ValueErrors of all kinds for headers that are none."""
    try:
        Signature(secret).verify(delivery.body, dict(delivery.headers), json_parse=False)
    except (WebhookVerificationError, ValueError):
        return False
    return True


def _payload(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
        digest(value)
    except (ValueError, RecursionError) as why:
        raise NotReadable(f"The body is not JSON that can be kept: {told(why)}.") from why
    if not isinstance(value, dict):
        raise NotReadable("The body is not a JSON object.")
    return value


def _key(start: Webhook, given: str) -> str:
    if len(given) > LONGEST_ID or not given.isprintable():
        raise NotReadable(
            f"The webhook-id is longer than {LONGEST_ID} characters, or holds what cannot be seen."
        )
    key = f"webhook:{start.name}:{given}"
    return key if len(key) <= LONGEST_KEY else f"webhook:{start.name}:{sha256(given.encode()).hexdigest()}"


def _input(start: Webhook, payload: dict[str, Any]) -> Mapping[str, Any]:
    if start.input is None:
        return payload
    try:
        return start.input(payload)
    except AWAY:
        raise
    except Exception as error:
        raise NotUsable(f"No input can be made of this payload: {triggers.words(error)}") from error
