"""What can be limited: every kind with its unit, its scopes, its windows and the amount that one admin may allow alone.

Data alone. One table, TABLE; screens, forms, CHECKs of the database and docs/limits.md are made from it.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from runs.limits.units import Unit


class LimitKind(enum.StrEnum):
    TURNS = "turns"  # an agent's goes: one answer of a model, with the tool calls it asked for
    MODEL_CALLS = "model_calls"
    TOOL_CALLS = "tool_calls"
    WALL_TIME = "wall_time"  # of a run, held time left out
    STEP_LATENCY = "step_latency"
    CONTEXT_TOKENS = "context_tokens"  # of the history that a model call is sent with
    TOKENS = "tokens"  # in and out together
    COST = "cost"
    REQUESTS = "requests"
    CONCURRENCY = "concurrency"  # calls under way at the same moment
    RETRIES = "retries"
    FAN_OUT_WIDTH = "fan_out_width"  # tasks of one plan
    FAN_OUT_DEPTH = "fan_out_depth"  # plans in plans; 1: the supervisor's only
    # What the guards go by that look for loops and for injected arguments; each has a value that is built in.
    REPEATS = (
        "repeats"  # of the same call with the same answer, or of the same words, with nothing new in between
    )
    IDLE_TURNS = "idle_turns"  # calls in a row that bring nothing new
    TAINTED_CALLS = "tainted_calls"  # with an argument out of something read, that go without asking
    # Never set by people: they stand in definitions and settings.
    STEPS_AT_ONCE = "steps_at_once"
    INTAKE = "intake"


class Window(enum.StrEnum):
    """Over what a limit counts. Hours, days and months are those of the calendar in UTC, a minute is any 60 seconds."""

    NONE = ""  # the figure of one moment or one thing
    RUN = "run"
    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    MONTH = "month"
    ATTEMPT = "attempt"  # only in definitions


class Mode(enum.StrEnum):
    """From weak to strong."""

    OBSERVE = "observe"  # counted and shown, nobody is told
    WARN = "warn"  # people are told
    ENFORCE = "enforce"  # what would cross it does not happen

    @property
    def strength(self) -> int:
        return _STRENGTH[self]


class LimitScope(enum.StrEnum):
    """Whom a limit binds, from wide to narrow: what stands later is more specific."""

    ORGANISATION = "organisation"
    TEAM = "team"
    WORKFLOW = "workflow"
    PROVIDER = "provider"  # of models: what stands before the slash of their names
    MODEL = "model"
    AGENT = "agent"
    TOOL = "tool"
    RUN = "run"

    @property
    def specific(self) -> int:
        return _SPECIFIC[self]


_STRENGTH = {mode: n for n, mode in enumerate(Mode)}
_SPECIFIC = {scope: n for n, scope in enumerate(LimitScope)}
S, W = LimitScope, Window
_PLACES = (S.ORGANISATION, S.TEAM, S.WORKFLOW, S.RUN)
_AGENTS = (S.ORGANISATION, S.TEAM, S.WORKFLOW, S.AGENT, S.RUN)
_MODELS = (S.ORGANISATION, S.TEAM, S.WORKFLOW, S.PROVIDER, S.MODEL, S.AGENT, S.RUN)
_RATED = (S.ORGANISATION, S.TEAM, S.WORKFLOW, S.PROVIDER, S.MODEL, S.AGENT, S.TOOL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of limit. Less is always stricter.

    `alone`: by window, the value up to which one admin may raise it alone; the windows that it can be set for are the
    keys. Without any it cannot be set. `least`: the smallest value; letting nothing happen is the business of a hold.
    """

    words: str
    unit: Unit = Unit.COUNT
    scopes: tuple[LimitScope, ...] = ()
    alone: Mapping[Window, int] = field(default_factory=dict)
    least: int = 1

    @property
    def windows(self) -> tuple[Window, ...]:
        return tuple(self.alone)


_MINUTE, _HOUR, _DAY = 60_000, 3_600_000, 86_400_000  # ms
_DOLLAR = 1_000_000
TABLE: Mapping[LimitKind, Kind] = {
    LimitKind.TURNS: Kind(words="turns", scopes=_AGENTS, alone={W.RUN: 50}),
    LimitKind.MODEL_CALLS: Kind(words="model calls", scopes=_MODELS, alone={W.RUN: 100}),
    LimitKind.TOOL_CALLS: Kind(words="tool calls", scopes=(*_AGENTS, S.TOOL), alone={W.RUN: 200}, least=0),
    LimitKind.WALL_TIME: Kind(
        words="wall time", unit=Unit.DURATION, scopes=_PLACES, alone={W.RUN: 24 * _HOUR}
    ),
    LimitKind.STEP_LATENCY: Kind(
        words="step latency", unit=Unit.DURATION, scopes=_AGENTS, alone={W.NONE: 10 * _MINUTE}
    ),
    LimitKind.CONTEXT_TOKENS: Kind(
        words="context tokens", unit=Unit.TOKENS, scopes=_MODELS, alone={W.NONE: 100_000}
    ),
    LimitKind.TOKENS: Kind(
        words="tokens",
        unit=Unit.TOKENS,
        scopes=_MODELS,
        alone={
            W.RUN: 1_000_000,
            W.MINUTE: 1_000_000,
            W.HOUR: 10_000_000,
            W.DAY: 50_000_000,
            W.MONTH: 500_000_000,
        },
    ),
    LimitKind.COST: Kind(
        words="cost",
        unit=Unit.MONEY,
        scopes=_MODELS,
        alone={W.RUN: 5 * _DOLLAR, W.HOUR: 20 * _DOLLAR, W.DAY: 100 * _DOLLAR, W.MONTH: 2000 * _DOLLAR},
    ),
    LimitKind.REQUESTS: Kind(words="requests", scopes=_RATED, alone={W.MINUTE: 600}),
    LimitKind.CONCURRENCY: Kind(words="calls at once", scopes=_RATED, alone={W.NONE: 64}),
    LimitKind.RETRIES: Kind(words="retries", scopes=_PLACES, alone={W.RUN: 20}, least=0),
    LimitKind.FAN_OUT_WIDTH: Kind(words="tasks a plan", scopes=_PLACES, alone={W.NONE: 100}),
    LimitKind.FAN_OUT_DEPTH: Kind(words="plans deep", scopes=_PLACES, alone={W.NONE: 2}),
    LimitKind.REPEATS: Kind(words="repeats", scopes=(*_AGENTS, S.TOOL), alone={W.NONE: 5}, least=2),
    LimitKind.IDLE_TURNS: Kind(words="idle turns", scopes=_AGENTS, alone={W.NONE: 20}, least=2),
    LimitKind.TAINTED_CALLS: Kind(
        words="tainted calls", scopes=(*_AGENTS, S.TOOL), alone={W.RUN: 1}, least=0
    ),
    LimitKind.STEPS_AT_ONCE: Kind(words="steps at once"),
    LimitKind.INTAKE: Kind(words="runs under way"),
}
SETTABLE = tuple(kind for kind, one in TABLE.items() if one.windows)
# A sum within one of these is a budget; within a minute it is a rate.
PLACE = {(kind, window): n for n, (kind, window) in enumerate((k, w) for k in LimitKind for w in Window)}


def says(kind: LimitKind, window: Window) -> str:
    """What is limited, as people say it: "cost a month", "context tokens"."""
    words = TABLE[kind].words
    if window is Window.NONE:
        return words
    if window is Window.ATTEMPT:
        return f"{words} a try"
    return f"{words} {'an' if window is Window.HOUR else 'a'} {window.value}"


def used_up(kind: LimitKind, what: str, whose: str) -> str:
    """That nothing of it is left, as a clause: "turns of this run are used up"."""
    one = kind in (LimitKind.COST, LimitKind.WALL_TIME, LimitKind.STEP_LATENCY)
    return f"{what} of {whose} {'is' if one else 'are'} used up"


def key(kind: LimitKind, window: Window) -> str:
    """The same as one word, for settings, forms and commands: "cost/month", "context_tokens"."""
    return f"{kind.value}/{window.value}" if window.value else kind.value


KEYS: Mapping[str, tuple[LimitKind, Window]] = {
    key(kind, window): (kind, window) for kind in SETTABLE for window in TABLE[kind].windows
}
# What the permit of a call of a model and of a tool counts. Requests and calls at once are those of models; of a tool,
# the tool's.
# ASKED: what some guard asks before it lets something happen. Whoever builds such a guard adds its kinds and windows:
# until then the page says that a limit of that kind is kept and shown, and stops nothing.
_SUMS = (W.RUN, W.HOUR, W.DAY, W.MONTH)
OF_MODELS: frozenset[tuple[LimitKind, Window]] = frozenset(
    {
        (LimitKind.TURNS, W.RUN),
        (LimitKind.MODEL_CALLS, W.RUN),
        (LimitKind.REQUESTS, W.MINUTE),
        (LimitKind.TOKENS, W.MINUTE),
        (LimitKind.CONCURRENCY, W.NONE),
        *((kind, window) for kind in (LimitKind.TOKENS, LimitKind.COST) for window in _SUMS),
    }
)
OF_TOOLS: frozenset[tuple[LimitKind, Window]] = frozenset(
    {(LimitKind.TOOL_CALLS, W.RUN), (LimitKind.REQUESTS, W.MINUTE), (LimitKind.CONCURRENCY, W.NONE)}
)
OF_RUNS: frozenset[tuple[LimitKind, Window]] = frozenset(
    {
        # runs.engine.watched, runs.engine.fullness, runs.engine.bounds: what acquires nothing
        (LimitKind.REPEATS, W.NONE),
        (LimitKind.IDLE_TURNS, W.NONE),
        (LimitKind.TAINTED_CALLS, W.RUN),
        (LimitKind.CONTEXT_TOKENS, W.NONE),
        (LimitKind.WALL_TIME, W.RUN),
        (LimitKind.STEP_LATENCY, W.NONE),
        (LimitKind.RETRIES, W.RUN),
        (LimitKind.FAN_OUT_WIDTH, W.NONE),
        (LimitKind.FAN_OUT_DEPTH, W.NONE),
    }
)
ASKED = OF_MODELS | OF_TOOLS | OF_RUNS
