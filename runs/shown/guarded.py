"""What guards said in a run, as values, and for what the run waits without a person. Reads events; decides nothing.

An event `guard` says what a guard found, `waits` that the run waits for one: for a rate, a breaker, a budget.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from runs.limits.kinds import TABLE, LimitKind, Mode
from runs.limits.units import Unit, about, shown

MOST_TOLD = 200  # of a run: the newest; the list of events has all of them
# A wait is over with the next call of its step, or with the next event of it that is more than another look.
_LOOKS = "('guard', 'went on', 'cut', 'given back', 'worker lost')"
TOLD = f"""
SELECT 'told', jsonb_build_object('seq', seq, 'kind', kind, 'at', at, 'step', step_id, 'data', data, 'over',
    CASE WHEN kind = 'waits' THEN least(
        (SELECT min(call.permitted_at) FROM called AS call
            WHERE call.step_id = told.step_id AND call.permitted_at > told.at),
        (SELECT later.at FROM runs_event AS later WHERE later.run_id = %(run)s AND later.seq > told.seq
            AND later.kind NOT IN {_LOOKS} AND (told.step_id IS NULL OR later.step_id = told.step_id)
            ORDER BY later.seq LIMIT 1)) END)::text
FROM (SELECT * FROM runs_event WHERE run_id = %(run)s AND kind IN ('guard', 'waits')
    ORDER BY seq DESC LIMIT {MOST_TOLD}) AS told
UNION ALL
SELECT 'wait', jsonb_build_object('step', step_id, 'guard', guard, 'since', since, 'until', until, 'says', says)::text
FROM runs_wait WHERE run_id = %(run)s
"""
# The first of them of a run in a list; null when it waits for no guard.
WAITS = """
(SELECT jsonb_build_object('step', step_id, 'guard', guard, 'since', since, 'until', until, 'says', says)
FROM runs_wait WHERE run_id = runs_run.id ORDER BY until LIMIT 1)
"""
_WORDS = {
    "again": "the same failing call",
    "taint": "origin of a value",
    "context": "context",
    "schema": "arguments",
    "requests": "rate of requests",
    "tokens": "tokens",
    "concurrency": "calls at once",
    "cost": "budget",
    "fan_out_width": "tasks a plan",
    "fan_out_depth": "plans in plans",
    "context_tokens": "context",
}
_DID = {Mode.ENFORCE: "refused", Mode.WARN: "warned", Mode.OBSERVE: "noted"}
# What is not to be taken on trust; the others say that something runs out.
_DOUBTS = frozenset({"taint", "schema", "unknown_tool", "contract_drift", "verify"})


def words(guard: str) -> str:
    """A guard as people call it."""
    return _WORDS.get(guard) or guard.replace("_", " ") or "a guard"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a guard found. `limit` is the number of a row of the table of limits, 0 for a bound that nobody set there;
    `cap` and `value` are whole numbers of the kind's unit."""

    seq: int
    at: datetime
    step: int | None
    guard: str
    mode: Mode
    scope: str
    limit: int
    cap: int | None
    value: int | None
    says: str

    @property
    def what(self) -> str:
        return f"{words(self.guard)} {_DID[self.mode]}"

    @property
    def figure(self) -> str:
        """The value against its cap: "13 of 12"; where nothing at all is allowed, it says nothing."""
        if self.cap == 0:
            return ""
        unit = _unit(self.guard)
        value = [] if self.value is None else [about(unit, self.value)]
        told = [*value, *([] if self.cap is None else [shown(unit, self.cap)])]
        return " of ".join(told) if self.value is not None else f"at most {told[0]}" if told else ""

    @property
    def refused(self) -> bool:
        return self.mode is Mode.ENFORCE

    @property
    def tone(self) -> str:
        if not self.refused:
            return "idle"
        return "doubt" if self.guard in _DOUBTS else "care"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """A step waits for a guard, or the run does; at `until` it looks again. `over`: it went on then."""

    seq: int
    at: datetime
    step: int | None
    guard: str
    until: datetime | None
    says: str
    over: datetime | None = None

    @property
    def what(self) -> str:
        return f"{'waits' if self.over is None else 'waited'} for {_article(self.guard)}"

    @property
    def tone(self) -> str:
        return "care" if self.over is None else "idle"


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """Everything guards said of one run, oldest first. `waiting`: for what it waits now, first what is over first."""

    told: tuple[Told, ...] = ()
    waits: tuple[Wait, ...] = ()
    waiting: tuple[Wait, ...] = ()

    def about(self, step: int | None) -> tuple[Told | Wait, ...]:
        """What was said of one step, or of none, in order."""
        every: tuple[Told | Wait, ...] = (*self.told, *self.waits)
        found = [one for one in every if one.step == step]
        return tuple(sorted(found, key=lambda one: one.seq))


def _article(guard: str) -> str:
    return {
        "requests": "a rate",
        "tokens": "a rate of tokens",
        "cost": "a budget",
        "breaker": "a breaker",
        "concurrency": "a free place",
    }.get(guard, words(guard))


def _unit(guard: str) -> Unit:
    kind = {"context": LimitKind.CONTEXT_TOKENS.value}.get(guard, guard)
    return TABLE[LimitKind(kind)].unit if kind in {one.value for one in LimitKind} else Unit.COUNT


def guarded(rows: Iterable[Mapping[str, Any]], waiting: Iterable[Mapping[str, Any]] = ()) -> Guarded:
    """From rows of TOLD. What an event does not say, or says otherwise than agreed, stays empty."""
    told, waits = [], []
    now = sorted(
        (one for one in map(waits_of, waiting) if one), key=lambda one: (one.until or one.at, one.step or 0)
    )
    for row in sorted(rows, key=lambda one: int(one["seq"])):
        data = row["data"] if isinstance(row["data"], dict) else {}
        if row["kind"] == "waits":
            waits.append(_wait(row, data))
        else:
            told.append(_told(row, data))
    return Guarded(told=tuple(told), waits=tuple(waits), waiting=tuple(now))


def _told(row: Mapping[str, Any], data: Mapping[str, Any]) -> Told:
    mode = str(data.get("mode", ""))
    return Told(
        seq=row["seq"],
        at=datetime.fromisoformat(row["at"]),
        step=row["step"],
        guard=str(data.get("guard", "")),
        mode=Mode(mode) if mode in {one.value for one in Mode} else Mode.ENFORCE,
        scope=str(data.get("scope", "")),
        limit=_whole(data.get("limit")) or 0,
        cap=_whole(data.get("cap")),
        value=_whole(data.get("value")),
        says=str(data.get("says", "")),
    )


def _wait(row: Mapping[str, Any], data: Mapping[str, Any]) -> Wait:
    return Wait(
        seq=row["seq"],
        at=datetime.fromisoformat(row["at"]),
        step=row["step"],
        guard=str(data.get("guard", "")),
        until=_moment(data.get("until")),
        says=str(data.get("says", "")),
        over=datetime.fromisoformat(row["over"]) if row["over"] else None,
    )


def waits_of(data: Any) -> Wait | None:
    """What a run waits for now, from a row of WAITS."""
    given = json.loads(data) if isinstance(data, str) else data
    if not isinstance(given, dict):
        return None
    return _wait({"seq": 0, "at": given["since"], "step": given["step"], "over": None}, given)


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _moment(value: Any) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
