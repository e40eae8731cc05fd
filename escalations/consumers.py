"""The live socket: says what changed, replays what was missed. Decides nothing and changes nothing.

It says hello, journal, controls, runs, run, beat and reload; it hears {"after": N}.
"""

from __future__ import annotations

import contextlib
import json
from typing import Any
from urllib.parse import parse_qs

from autobahn.exception import Disconnected
from channels.generic.websocket import AsyncWebsocketConsumer
from django.utils import timezone

from escalations import live, parts, pulse
from escalations.roles import Role
from escalations.sessions import Seat

SIGNED_OUT = 4401
MALFORMED = 4400
GONE = (Disconnected, OSError)  # what a server raises for a socket that is there no more


class LiveConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels has no types
    """One browser page. `?run=ID` adds the hints about that run, `?at=PLACE` the parts of that place.

    The socket has no channel of its own: its process hears for all (`escalations.pulse`).
    """

    channel_layer_alias = "none"
    seat: Seat
    roles: frozenset[Role]
    place: str
    run: int | None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def quietly(message: dict[str, Any]) -> None:
            with contextlib.suppress(*GONE):  # it closed meanwhile; that will be heard next
                await send(message)

        await super().__call__(scope, receive, quietly)

    async def connect(self) -> None:
        # Accepted first: a browser only sees the close code of an accepted socket.
        await self.accept()
        seat = _seat(self.scope)
        valid = (await pulse.read(frozenset({seat} if seat else ()))).valid
        if seat is None or seat not in valid:
            await self.close(SIGNED_OUT)
            return
        self.seat, self.roles = seat, valid[seat]
        asked = parse_qs(self.scope.get("query_string", b"").decode("ascii", "replace"))
        self.place = parts.place_of(asked.get("at", [""])[0])
        self.run = _number(asked.get("run", [""])[0])
        await pulse.here().join(self)

    async def disconnect(self, code: int) -> None:
        await pulse.here().leave(self)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        after = _asked(text_data)
        if after is None:
            await self.close(MALFORMED)
            return
        missed = await pulse.replay(after, live.REPLAY_LIMIT + 1)
        if len(missed) > live.REPLAY_LIMIT:
            missed = [{"type": "reload"}]
        for message in missed:
            await self.tell(json.dumps(message))

    async def tell(self, text: str) -> None:
        """Send a message that was written already, to whoever still is there."""
        await self.base_send({"type": "websocket.send", "text": text})  # the short way: there are hundreds

    async def hello(self, head: int) -> None:
        await self._say("hello", head)

    async def beat(self, head: int) -> None:
        await self._say("beat", head)

    async def dismiss(self) -> None:
        await self.close(SIGNED_OUT)

    async def _say(self, kind: str, head: int) -> None:
        await self.tell(json.dumps({"type": kind, "seq": head, "now": timezone.now().isoformat()}))


def _seat(scope: dict[str, Any]) -> Seat | None:
    user, session = scope.get("user"), scope.get("session")
    if user is None or session is None or not user.is_authenticated or not session.session_key:
        return None
    return Seat(session_key=session.session_key, user_id=user.pk)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None


def _asked(text: str | None) -> int | None:
    """N of {"after": N}; None for anything else."""
    try:
        content = json.loads(text or "")
    except (ValueError, RecursionError):
        return None
    after = content.get("after") if isinstance(content, dict) else None
    if not isinstance(after, int) or isinstance(after, bool) or not 0 <= after < 2**63:
        return None
    return after
