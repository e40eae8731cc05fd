"""Limits as people write them, in forms, commands and settings. Pure; whether a name exists is asked elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from runs.limits.kinds import KEYS, TABLE, LimitKind, LimitScope, Mode, Window, key, says
from runs.limits.rows import Row
from runs.limits.units import WrongValue, read

LONGEST_NAME = 150  # characters of a scope's name
ANY = "any"
FURTHEST = timedelta(days=3660)
Errors = list[tuple[str, str]]  # field and sentence


class Wrong(ValueError):
    """What was written is no limit; `errors` has a sentence for each wrong field."""

    def __init__(self, errors: Sequence[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{name}: {sentence}" for name, sentence in errors))
        self.errors = list(errors)


def new_limit(given: Mapping[str, str], *, at: datetime) -> Row:
    """A limit from `what` (a key such as "cost/month"), `scope_kind`, `scope`, `value`, `mode`, `since`, `until`.

    Raises Wrong with every wrong field.
    """
    errors: Errors = []
    what = KEYS.get(given.get("what", ""))
    if what is None:
        errors.append(("what", f"Choose what is limited: {', '.join(KEYS)}."))
    scope_kind = _scope_kind(given, what, errors)
    scope = _scope(given, scope_kind, errors)
    kind, window = what or (LimitKind.TURNS, Window.RUN)
    row = Row(
        kind=kind,
        window=window,
        scope_kind=scope_kind,
        scope=scope,
        value=_value(given, kind, errors) if what else 0,
        mode=_mode(given, errors),
        since=_since(given, errors, at),
        until=_moment(given, "until", errors),
    )
    _must_last(row, errors, at)
    if errors:
        raise Wrong(errors)
    return row


def changed(old: Row, given: Mapping[str, str], *, at: datetime) -> Row:
    """The same limit with another `value`, `mode`, `since`, `until`. Raises Wrong with every wrong field."""
    errors: Errors = []
    row = Row(
        kind=old.kind,
        window=old.window,
        scope_kind=old.scope_kind,
        scope=old.scope,
        value=_value(given, old.kind, errors),
        mode=_mode(given, errors),
        since=_since(given, errors, at),
        until=_moment(given, "until", errors),
    )
    _must_last(row, errors, at)
    if errors:
        raise Wrong(errors)
    return row


def amounts(given: str) -> dict[tuple[LimitKind, Window], int | None]:
    """From a setting such as "cost/day=$100, turns/run=50, retries/run=any": by key the value up to which one admin
    may allow alone; what it does not name keeps the amount of the table. Raises Wrong."""
    found: dict[tuple[LimitKind, Window], int | None] = {
        (kind, window): amount for kind in TABLE for window, amount in TABLE[kind].alone.items()
    }
    for entry in (part.strip() for part in _parts(given)):
        name, equals, text = entry.partition("=")
        what = KEYS.get(name.strip())
        if what is None or not equals:
            kinds = ", ".join(KEYS)
            raise Wrong([("", f"{entry[:80]!r} is not of the form KIND=VALUE with KIND one of {kinds}.")])
        try:
            found[what] = None if text.strip() == ANY else read(TABLE[what[0]].unit, text)
        except WrongValue as why:
            raise Wrong([("", f"{entry[:80]!r}: {why}")]) from why
    return found


def _parts(given: str) -> list[str]:
    """Entries stand between commas; a comma inside a number is followed by no name."""
    parts: list[str] = []
    for part in given.split(","):
        if parts and "=" not in part and part.strip():
            parts[-1] += f",{part}"
        elif part.strip():
            parts.append(part)
    return parts


def _scope_kind(
    given: Mapping[str, str], what: tuple[LimitKind, Window] | None, errors: Errors
) -> LimitScope:
    name = given.get("scope_kind", "")
    if name not in tuple(LimitScope):
        errors.append(("scope_kind", f"Choose one of {', '.join(LimitScope)}."))
        return LimitScope.ORGANISATION
    scope_kind = LimitScope(name)
    if what and scope_kind not in TABLE[what[0]].scopes:
        may = ", ".join(TABLE[what[0]].scopes)
        errors.append(
            ("scope_kind", f"{says(*what).capitalize()} cannot be limited by {name}: choose {may}.")
        )
    return scope_kind


def _scope(given: Mapping[str, str], scope_kind: LimitScope, errors: Errors) -> str:
    scope = given.get("scope", "").strip()
    if scope_kind is LimitScope.ORGANISATION:
        return ""
    if scope_kind is LimitScope.RUN:
        scope = scope.removeprefix("#")
        if not (scope.isascii() and scope.isdecimal() and len(scope) < 19):
            errors.append(("scope", "Write the number of the run."))
            return ""
        return str(int(scope))
    if not scope or len(scope) > LONGEST_NAME:
        errors.append(("scope", f"Write the name of the {scope_kind.value}."))
    return scope


def _value(given: Mapping[str, str], kind: LimitKind, errors: Errors) -> int:
    try:
        value = read(TABLE[kind].unit, given.get("value", ""))
    except WrongValue as why:
        errors.append(("value", str(why)))
        return 0
    if value < TABLE[kind].least:
        errors.append(("value", "Zero would let nothing happen: for that, engage a hold under Controls."))
    return value


def _mode(given: Mapping[str, str], errors: Errors) -> Mode:
    name = given.get("mode", "")
    if name in tuple(Mode):
        return Mode(name)
    errors.append(("mode", f"Choose one of {', '.join(Mode)}."))
    return Mode.ENFORCE


def _since(given: Mapping[str, str], errors: Errors, at: datetime) -> datetime:
    """Empty, or now: at once. A limit that began before it was set would falsify the history."""
    moment = _moment(given, "since", errors)
    if moment is None:
        return at
    if moment < at - timedelta(minutes=2):
        errors.append(("since", "That is past: leave it empty to begin at once."))
    return max(moment, at)


def _moment(given: Mapping[str, str], name: str, errors: Errors) -> datetime | None:
    """A day and an hour, to the second as forms have them; without a zone they are UTC."""
    text = given.get(name, "").strip()
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text).replace(microsecond=0)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        errors.append((name, "Write a day and an hour in UTC, such as 2026-12-01 08:00."))
        return None
    return moment


def _must_last(row: Row, errors: Errors, at: datetime) -> None:
    named = {name for name, _ in errors}
    if "since" not in named and row.since > at + FURTHEST:
        errors.append(("since", "That is more than ten years away."))
    if "until" in named or row.until is None:
        return
    if row.until <= row.since:
        errors.append(("until", "It would end before it begins: write a later moment, or leave it empty."))
    elif row.until > at + FURTHEST:
        errors.append(("until", "That is more than ten years away: leave it empty for no end."))


def as_written(row: Row) -> dict[str, str]:
    """A limit as its form writes it."""
    return {
        "what": key(row.kind, row.window),
        "scope_kind": row.scope_kind.value,
        "scope": row.scope,
        "value": row.amount,
        "mode": row.mode.value,
        "since": "",
        "until": moment_text(row.until),
    }


def moment_text(moment: datetime | None) -> str:
    """A moment as the browser's field for days and hours takes it, in UTC; seconds only where there are some."""
    if moment is None:
        return ""
    text = moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds")
    return text.removesuffix(":00") if text.count(":") == 2 else text
