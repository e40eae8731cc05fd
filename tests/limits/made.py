"""Limits and places made up for tests, by hypothesis and by hand. No database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from runs.limits.kinds import LimitKind, LimitScope, Mode, Window
from runs.limits.rows import Row, Where

START = datetime(2026, 1, 1, tzinfo=UTC)


def hours(number: float) -> datetime:
    return START + timedelta(hours=number)


def row(value: int = 10, scope: str = "", mode: str = "enforce", **given: Any) -> Row:
    """A limit of turns a run; `scope` such as "workflow:refunds", empty for the organisation."""
    scope_kind, _, name = scope.partition(":")
    return Row(
        kind=given.pop("kind", LimitKind.TURNS),
        window=given.pop("window", Window.RUN),
        scope_kind=LimitScope(scope_kind or "organisation"),
        scope=name,
        value=value,
        mode=Mode(mode),
        since=given.pop("since", START),
        **given,
    )


NAMES = {
    LimitScope.TEAM: ["care", "money"],
    LimitScope.WORKFLOW: ["refunds", "invoices"],
    LimitScope.PROVIDER: ["openai", "local"],
    LimitScope.MODEL: ["openai/small", "openai/large", "local/small", "bare"],
    LimitScope.AGENT: ["clerk", "judge"],
    LimitScope.TOOL: ["pay", "look"],
    LimitScope.RUN: ["1", "2"],
}
_scopes = st.one_of(
    st.just((LimitScope.ORGANISATION, "")),
    *(st.tuples(st.just(scope), st.sampled_from(names)) for scope, names in NAMES.items()),
)
KINDS = [(LimitKind.TURNS, Window.RUN), (LimitKind.COST, Window.DAY), (LimitKind.COST, Window.MONTH)]
_moments = st.integers(0, 6).map(hours)


@st.composite
def rows(draw: st.DrawFn) -> Row:
    scope_kind, scope = draw(_scopes)
    kind, window = draw(st.sampled_from(KINDS))
    since = draw(_moments)
    until = draw(st.none() | st.integers(1, 6).map(lambda n: since + timedelta(hours=n)))
    return Row(
        kind=kind,
        window=window,
        scope_kind=scope_kind,
        scope=scope,
        value=draw(st.integers(1, 6)),
        mode=draw(st.sampled_from(list(Mode))),
        since=since,
        until=until,
        id=draw(st.integers(1, 10_000)),
    )


@st.composite
def places(draw: st.DrawFn) -> Where:
    def some(scope: LimitScope) -> str:
        return draw(st.sampled_from(["", "other", *NAMES[scope]]))

    return Where(
        team=some(LimitScope.TEAM),
        workflow=some(LimitScope.WORKFLOW),
        agent=some(LimitScope.AGENT),
        tool=some(LimitScope.TOOL),
        model=draw(st.sampled_from(["", "other/one", *NAMES[LimitScope.MODEL]])),
        run=draw(st.sampled_from([None, 1, 2, 3])),
    )


moments = st.integers(-1, 26).map(lambda half: hours(half / 2))
