"""What follows when a conversation has more tokens than a limit allows. Pure; the engine compacts and asks."""

from __future__ import annotations

import enum

from runs.limits.kinds import Mode


class Full(enum.StrEnum):
    TELL = "tell"  # the limit does not enforce: the request is sent as it is
    COMPACT = "compact"  # it is said again in fewer words first; if that does not help, a person is asked
    ASK = "ask"


def follows(mode: Mode, *, compacts: bool, more: bool) -> Full:
    """`compacts`: the agent's definition names who says it in fewer words; `more`: there is more in it than what the
    agent was given, which is never compacted."""
    if mode is not Mode.ENFORCE:
        return Full.TELL
    return Full.COMPACT if compacts and more else Full.ASK
