"""What is pushed to screens: entries of the journal with the parts of pages they changed, rendered once for everybody
who is at the same place with the same roles. Reads only.

Never a form, because forms bear their person's token; never what depends on who looks, only on what they may see.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.template.loader import render_to_string
from django.utils import timezone

from escalations import inbox, live
from escalations.frame import PLACES, Frame
from escalations.live import Message
from escalations.models import Escalation
from escalations.roles import Role
from runs.templatetags.console import capped, since

MOST_ITEMS = 20  # changed at once; beyond, a queue is fetched again
_OF_CONTROLS = re.compile(r"(engage|release) (pause|stop)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Audience:
    """Screens that are shown the same."""

    place: str  # one of PLACES, or "" for elsewhere
    roles: frozenset[Role]


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What has happened up to entry `head`: one text an entry, for each audience, in order."""

    head: int
    plain: tuple[str, ...]
    rendered: Mapping[Audience, tuple[str, ...]]

    def texts(self, audience: Audience) -> tuple[str, ...]:
        """Without parts for an audience that was not there yet: its screens fetch theirs."""
        return self.rendered.get(audience, self.plain)


def place_of(text: str) -> str:
    """A place as a page names it; "" for anything else."""
    return text if text in PLACES else ""


def news(after: int, audiences: frozenset[Audience]) -> News:
    """The entries after that number, at most `live.REPLAY_LIMIT`. One query without any, else about six.

    The parts are those of the last state, so they go with the last entry; the ones before it say that they do.
    """
    entries = live.after(after)
    if not entries:
        return News(head=after, plain=(), rendered={})
    queue = _queue(entries) if any(one.place == "inbox" for one in audiences) else {}
    frames = _frames(audiences)
    rendered = {one: _texts(entries, _parts(one, frames[one], entries, queue)) for one in audiences}
    return News(head=entries[-1]["seq"], plain=tuple(map(json.dumps, entries)), rendered=rendered)


def held(audiences: frozenset[Audience]) -> dict[Audience, tuple[str, ...]]:
    """What is held, as a message without a number: a worker has confirmed a control."""
    frames = _frames(audiences)
    messages = {one: {"type": "controls", "parts": {"held": _held(frames[one])}} for one in audiences}
    return {one: (json.dumps(message),) for one, message in messages.items()}


def _texts(entries: list[Message], parts: Mapping[str, Any]) -> tuple[str, ...]:
    before = tuple(json.dumps({**entry, "parts": {}}) for entry in entries[:-1])
    return (*before, json.dumps({**entries[-1], "parts": parts}))


def _parts(
    audience: Audience, frame: Frame, entries: Iterable[Message], queue: Mapping[str, Any]
) -> dict[str, Any]:
    parts: dict[str, Any] = {"places": _places(frame, audience.place)}
    if any(_OF_CONTROLS.fullmatch(entry["act"]) for entry in entries):
        parts["held"] = _held(frame)
    if audience.place == "inbox" and queue:
        parts["queue"] = queue
    return parts


def _frames(audiences: Iterable[Audience]) -> dict[Audience, Frame]:
    """The frame of nobody in particular with the roles of each audience; what is the same for all is read once."""
    shared = Frame(AnonymousUser(), frozenset())
    return {one: shared.seen_by(one.roles) for one in audiences}


def _places(frame: Frame, place: str) -> str:
    return render_to_string("_places.html", {"frame": frame, "place": place})


def _held(frame: Frame) -> str:
    return render_to_string("_held.html", {"frame": frame})


def _queue(entries: Iterable[Message]) -> dict[str, Any]:
    """The items that changed and the numbers above the queue, for everybody; nothing when that would be too much.

    Whose an item is stands on it by number: the page says "You".
    """
    changed = {entry["escalation"] for entry in entries if entry["escalation"] is not None}
    if not changed or len(changed) > MOST_ITEMS:
        return {}
    tally = inbox.tally()
    items = {item.pk: _item(item) for item in inbox.of(changed)}
    return {
        "items": {str(pk): items.get(pk, "") for pk in sorted(changed)},
        "counts": {name: capped(count) for name, count in tally.counts.items()},
        "mine": {str(person): capped(count) for person, count in tally.mine.items()},
        "oldest": since(tally.oldest) if tally.oldest else "",
    }


def _item(item: Escalation) -> str:
    """One item under its cause, as a queue without any filter has it."""
    (cause,) = inbox.causes([item])
    return render_to_string("escalations/_cause.html", {"cause": cause, "now": timezone.now()})
