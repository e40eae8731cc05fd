"""Setting and changing limits from a page: what must be rehearsed first and was not is, by the same press of a button.

Then nothing is set: what comes back is the rehearsal, to be looked at; the next press finds it. What lowers a limit
that is enforced already is held up only by a rehearsal that is over at once and says that runs would have gone
otherwise. The rules themselves are `limits` and `rehearsed`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from escalations import drafted, limits, rehearsals, rehearsed
from escalations.audit.refused import recorded
from escalations.expected import Refusal
from escalations.limit_lines import line_of
from escalations.limits import Done, Proposed
from escalations.models import Rehearsal, RehearsalState
from escalations.rehearsed import NotRehearsed
from escalations.roles import Act, Actor, allowed
from runs.engine.record import now
from runs.limits import written
from runs.limits.kinds import Mode
from runs.rehearsal.drafts import Draft


def set_limit(
    *, actor: Actor, given: Mapping[str, str], days: int, reason: str = "", unrehearsed: bool = False
) -> Done | Rehearsal:
    """`limits.set_limit`, or a rehearsal of it over the runs of so many days. Raises what both do."""
    done = _set(actor=actor, given=given, reason=reason, unrehearsed=unrehearsed)
    if done is not None:
        return done
    tried = drafted.alone(drafted.read(lambda: written.new_limit(given, at=now())))
    return _under_way(tried) or rehearsals.ask(actor=actor, given=given, days=days)


def change(
    *,
    actor: Actor,
    line: int,
    seen: str,
    given: Mapping[str, str],
    days: int,
    reason: str = "",
    unrehearsed: bool = False,
) -> Done | Proposed | Rehearsal:
    """`limits.change`, or a rehearsal of it over the runs of so many days. Raises what both do."""
    lowering = _lowering(line, seen, given) if allowed(actor, Act.CHANGE_LIMIT) else None
    if lowering is not None and rehearsed.tried(lowering.digest, now()) is None:
        found = None
        with contextlib.suppress(
            Exception
        ):  # lowering asks for nothing: not for a rehearsal that can be had either
            found = rehearsals.ask(actor=actor, given=given, line=line, seen=seen, days=days)
        if found is not None and found.state == RehearsalState.DONE and found.differ:
            return found
    done = _change(actor=actor, line=line, seen=seen, given=given, reason=reason, unrehearsed=unrehearsed)
    if done is not None:
        return done
    tried = _draft(line, given)
    waiting = _under_way(tried) if tried else None
    return waiting or rehearsals.ask(actor=actor, given=given, line=line, seen=seen, days=days)


@recorded(limits.on_new)
def _set(*, actor: Actor, given: Mapping[str, str], reason: str, unrehearsed: bool) -> Done | None:
    """None: it was not rehearsed, which is nothing that was refused."""
    with contextlib.suppress(NotRehearsed):
        return limits.set_now(actor=actor, given=given, reason=reason, unrehearsed=unrehearsed)
    return None


@recorded(limits.on_line(Act.CHANGE_LIMIT))
def _change(
    *, actor: Actor, line: int, seen: str, given: Mapping[str, str], reason: str, unrehearsed: bool
) -> Done | Proposed | None:
    with contextlib.suppress(NotRehearsed):
        return limits.change_now(
            actor=actor, line=line, seen=seen, given=given, reason=reason, unrehearsed=unrehearsed
        )
    return None


def _under_way(tried: Draft) -> Rehearsal | None:
    """The rehearsal of exactly this that goes on, so that pressing again asks for no second one."""
    one = rehearsed.tried(tried.digest, now())
    return one if one is not None and one.under_way else None


def _lowering(line: int, seen: str, given: Mapping[str, str]) -> Draft | None:
    """A smaller value of what is enforced already, as it was read; None for anything else."""
    tried = _draft(line, given)
    if tried is None or tried.new is None or tried.seen != seen:
        return None
    was = tried.old[0]
    enforced = was.mode is Mode.ENFORCE and tried.new.mode is Mode.ENFORCE
    return tried if enforced and tried.new.value < was.value else None


def _draft(line: int, given: Mapping[str, str]) -> Draft | None:
    moment = now()
    found = line_of(line, moment)
    if found is None or not found.rows:
        return None
    try:
        new = limits.wish(found, given, moment).new
    except Refusal:
        return None
    return None if new is None else drafted.alone(new, found)
