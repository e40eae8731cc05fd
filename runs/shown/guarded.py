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
from runs.limits.units import Unit, shown

MOST_TOLD = 200  # of a run: the newest; the list of events has all of them
# A wait is over with the next event of its step that is more than a guard's remark.
TOLD = f"""
(SELECT 'told', jsonb_build_object('seq', seq, 'kind', kind, 'at', at, 'step', step_id, 'data', data, 'over',
    CASE WHEN kind = 'waits' THEN (SELECT later.at FROM runs_event AS later
        WHERE later.run_id = %(run)s AND later.seq > told.seq AND later.kind <> 'guard'
            AND (told.step_id IS NULL OR later.step_id = told.step_id) ORDER BY later.seq LIMIT 1) END)::text
FROM runs_event AS told WHERE run_id = %(run)s AND kind IN ('guard', 'waits') ORDER BY seq DESC LIMIT {MOST_TOLD})
"""
# The same wait of a run in a list, as its data; null when it waits for no guard.
WAITS = """
(SELECT told.data FROM runs_event AS told WHERE told.run_id = runs_run.id AND told.kind = 'waits'
    AND told.kind IN ('guard', 'waits') AND NOT EXISTS (SELECT FROM runs_event AS later
        WHERE later.run_id = told.run_id AND later.seq > told.seq AND later.kind <> 'guard'
            AND (told.step_id IS NULL OR later.step_id = told.step_id))
    ORDER BY told.seq DESC LIMIT 1)
"""
_WORDS = {
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
        """The value against its cap: "13 of 12"."""
        told = [shown(_unit(self.guard), one) for one in (self.value, self.cap) if one is not None]
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
    """The run, or one step of it, waits for a guard, until `until` as far as that is known. `over`: it went on then."""

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

    @property
    def end(self) -> datetime | None:
        """When the guard let go, as far as that is known: what comes after `until` is not its doing."""
        return min((one for one in (self.until, self.over) if one is not None), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """Everything guards said of one run, oldest first."""

    told: tuple[Told, ...] = ()
    waits: tuple[Wait, ...] = ()

    def about(self, step: int | None) -> tuple[Told | Wait, ...]:
        """What was said of one step, or of none, in order."""
        every: tuple[Told | Wait, ...] = (*self.told, *self.waits)
        found = [one for one in every if one.step == step]
        return tuple(sorted(found, key=lambda one: one.seq))

    @property
    def waiting(self) -> tuple[Wait, ...]:
        """What has not ended yet; the first to be over stands first."""
        far = datetime.max.replace(tzinfo=UTC)
        return tuple(
            sorted((one for one in self.waits if one.over is None), key=lambda one: one.until or far)
        )


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


def guarded(rows: Iterable[Mapping[str, Any]]) -> Guarded:
    """From rows of TOLD, newest first. What an event does not say, or says otherwise than agreed, stays empty."""
    told, waits = [], []
    for row in reversed(list(rows)):
        data = row["data"] if isinstance(row["data"], dict) else {}
        if row["kind"] == "waits":
            waits.append(_wait(row, data))
        else:
            told.append(_told(row, data))
    return Guarded(told=tuple(told), waits=tuple(waits))


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
    """The wait of a run in a list, from the data of WAITS."""
    given = json.loads(data) if isinstance(data, str) else data
    if not isinstance(given, dict):
        return None
    return _wait({"seq": 0, "at": datetime.max.isoformat(), "step": None, "over": None}, given)


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _moment(value: Any) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
