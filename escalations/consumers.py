"""The live socket: says what changed, replays what was missed. Decides nothing and changes nothing.

It says hello, journal, runs, run, beat and reload; it hears {"after": N}.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs

from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.utils import timezone

from escalations import live
from escalations.pulse import pulse, read, replay
from escalations.sessions import Seat

SIGNED_OUT = 4401
MALFORMED = 4400


class LiveConsumer(AsyncJsonWebsocketConsumer):  # type: ignore[misc]  # channels has no types
    """One browser page. `?run=ID` adds the hints about that run."""

    seat: Seat

    async def connect(self) -> None:
        # Accepted first: a browser only sees the close code of an accepted socket.
        await self.accept()
        seat = _seat(self.scope)
        reading = await read(frozenset({seat} if seat else ()))
        if seat is None or seat not in reading.valid:
            await self.close(SIGNED_OUT)
            return
        self.seat = seat
        self.groups = [live.GROUP, "runs", *_run_group(self.scope)]  # left again by the base class
        for group in self.groups:
            await self.channel_layer.group_add(group, self.channel_name)
        pulse.join(self)
        # Read anew: what was committed before the groups were joined has not been announced to this socket.
        await self._say("hello", (await read(frozenset())).head)

    async def disconnect(self, code: int) -> None:
        pulse.leave(self)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        after = _asked(text_data)
        if after is None:
            await self.close(MALFORMED)
            return
        missed = await replay(after, live.REPLAY_LIMIT + 1)
        if len(missed) > live.REPLAY_LIMIT:
            missed = [{"type": "reload"}]
        for message in missed:
            await self.send_json(message)

    async def hint(self, event: dict[str, Any]) -> None:
        """A hint from `runs.live.announce`, passed on as it is."""
        await self.send_json(event["message"])

    async def beat(self, head: int) -> None:
        await self._say("beat", head)

    async def dismiss(self) -> None:
        await self.close(SIGNED_OUT)

    async def _say(self, kind: str, head: int) -> None:
        await self.send_json({"type": kind, "seq": head, "now": timezone.now().isoformat()})


def _seat(scope: dict[str, Any]) -> Seat | None:
    user, session = scope.get("user"), scope.get("session")
    if user is None or session is None or not user.is_authenticated or not session.session_key:
        return None
    return Seat(session_key=session.session_key, user_id=user.pk)


def _run_group(scope: dict[str, Any]) -> list[str]:
    asked = parse_qs(scope.get("query_string", b"").decode("ascii", "replace")).get("run", [""])[0]
    return [f"run.{int(asked)}"] if asked.isascii() and asked.isdecimal() and len(asked) < 19 else []


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
