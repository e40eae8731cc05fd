"""What the database decides within a permit, and which calls it counts, against the pure functions by which recorded
runs are judged: drawn sequences, on PostgreSQL itself.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from pytest_django import Settings

from runs.engine import breakers
from runs.engine.claimed import Claimed
from runs.engine.spend import calls
from runs.engine.spend.wanted import Result
from runs.errors import ErrorClass
from runs.guards.breaking import BreakerRule, Ended, Passing, Standing, admits, open_for, opens
from runs.guards.caps import crosses
from runs.models import Breaker, CallState, Run
from tests.faults import counts
from tests.spend.conftest import asking, at_work, used

pytestmark = pytest.mark.django_db(transaction=True)
SEQUENCES = counts.of(fast=200, soak=4000)
COUNTED = ("turns", "model_calls", "tool_calls", "tokens", "cost")
# One permit after the other, each as far as the database itself: what it refuses leaves nothing behind.
_TRY = """
    CREATE FUNCTION pg_temp.tried(
        p_run bigint, p_fence bigint, p_worker text, p_step bigint, p_attempt bigint, p_kind text, p_window text,
        p_scope_kind text, p_needs bigint[], p_cap bigint, p_chunk integer
    ) RETURNS boolean[] LANGUAGE plpgsql AS $$
    DECLARE
        passed boolean[] := '{}';
    BEGIN
        FOR i IN 1..cardinality(p_needs) LOOP
            BEGIN
                PERFORM * FROM runs_permit(p_run, p_fence, p_worker, p_step, p_attempt, 'model', 'writer', 'k' || i,
                    repeat('0', 64), '{}', 2, 'none', false, '', NULL, true, 'simulated/small', '', '{}'::jsonb, 0, '',
                    ARRAY[p_kind], ARRAY[p_window], ARRAY[p_scope_kind], ARRAY[''], ARRAY[p_needs[i]], ARRAY[p_cap],
                    ARRAY[1::bigint], NULL, 80, p_chunk, '{}', 120, NULL, NULL);
                IF NOT FOUND THEN RAISE 'something else than a cap is in the way'; END IF;
                passed := passed || true;
            EXCEPTION WHEN SQLSTATE 'OG001' THEN
                passed := passed || false;
            END;
        END LOOP;
        RETURN passed;
    END $$;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A cap, and what calls ask for one after the other; `chunk`: how many calls' worth a purse is given."""

    kind: str
    window: str
    needs: tuple[int, ...]
    cap: int | None
    chunk: int

    @property
    def decided(self) -> list[bool]:
        """By the pure function."""
        total, passed = 0, []
        for need in self.needs:
            passed.append(not crosses(total, need, self.cap))
            total += need if passed[-1] else 0
        return passed


def _drawn(rng: random.Random) -> Drawn:
    kind = rng.choice(COUNTED)
    most = 1 if kind not in ("tokens", "cost") else 9
    needs = tuple(rng.randint(1, most) for _ in range(rng.randint(1, 8)))
    cap = rng.choice((rng.randint(0, 6), sum(needs), sum(needs) - 1, None))
    window = rng.choice(("run", "day")) if kind in ("tokens", "cost") else "run"
    return Drawn(kind=kind, window=window, needs=needs, cap=cap, chunk=rng.choice((0, 1, 8)))


def _tried(claimed: Claimed, one: Drawn) -> list[bool]:
    """By the database; nothing of it stays."""
    who = (claimed.run.pk, claimed.fence, claimed.worker, claimed.step.pk, claimed.attempt.pk)
    scope_kind = "run" if one.window == "run" else "organisation"
    with transaction.atomic(), connection.cursor() as cursor:
        if one.window == "day":
            cursor.execute(
                'INSERT INTO runs_account (kind, "window", scope_kind, scope, run_id, begins)'
                " VALUES (%s, 'day', 'organisation', '', 0, date_trunc('day', clock_timestamp(), 'UTC'))",
                [one.kind],
            )
        cursor.execute(
            "SELECT pg_temp.tried(%s, %s, %s, %s, %s, %s, %s, %s, %s::bigint[], %s, %s)",
            [*who, one.kind, one.window, scope_kind, list(one.needs), one.cap, one.chunk],
        )
        (passed,) = cursor.fetchone() or ([],)
        transaction.set_rollback(True)
    return list(passed)


def test_what_a_permit_lets_pass_under_a_cap_is_what_the_pure_function_does() -> None:
    claimed, rng = at_work(), random.Random(SEQUENCES)
    Run.objects.filter(pk=claimed.run.pk).update(lease_until=_at(3600))
    with connection.cursor() as cursor:
        cursor.execute(_TRY)
    seen = set()
    for _ in range(SEQUENCES):
        one = _drawn(rng)
        assert _tried(claimed, one) == one.decided, one
        seen.add((one.kind, all(one.decided)))
    assert len(seen) == 2 * len(COUNTED)  # of each kind some were refused, and some were not


# breakers

MODEL = "drawn/model"


def _at(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("state", "forced", "retry", "probe"),
    list(product(("closed", "open", "half_open"), ("", "open", "closed"), (-5, 500), (-5, 500))),
)
def test_whom_a_breaker_lets_pass_is_what_the_pure_function_says(
    state: str, forced: str, retry: int, probe: int
) -> None:
    Breaker.objects.create(
        kind="model", name=MODEL, state=state, forced=forced, retry_at=_at(retry), probe_until=_at(probe)
    )
    due = (probe if state == "half_open" else retry) < 0
    assert _asked() is admits(Standing(state=state, forced=forced, due=due))


def _asked() -> Passing:
    """What `runs_pass` does with a call of the model; a refusal is rolled back as a permit's is."""
    with connection.cursor() as cursor:
        try:
            with transaction.atomic():
                cursor.execute("SELECT runs_pass(ARRAY[%s], 120)", [f"model:{MODEL}"])
                (probes,) = cursor.fetchone() or (None,)
        except DatabaseError as error:
            if getattr(error.__cause__, "sqlstate", "") != "OG001":
                raise
            return Passing.WAITS
    return Passing.PROBES if probes else Passing.PASSES


RULE = {
    "consecutive": 4,
    "ratio": 50,
    "slow_ratio": 60,
    "slow_ms": 50,
    "least": 6,
    "window": 60,
    "open_seconds": 30.0,
}
_GOOD = replace(used(), latency_ms=5)
_SLOW = replace(_GOOD, latency_ms=51)
_DOWN = Result(state=CallState.FAILED, error="503", error_class=ErrorClass.RECOVERABLE, latency_ms=5)
_WRONG = replace(_DOWN, error_class=ErrorClass.DATA)  # an answer, if a useless one
_GONE = Result(state=CallState.UNKNOWN, error="nobody knows", latency_ms=5)
_CUT = Result(state=CallState.CUT, error="stopped", latency_ms=5)
OUTCOMES = {"good": _GOOD, "slow": _SLOW, "down": _DOWN, "wrong": _WRONG, "gone": _GONE, "cut": _CUT}


class Modelled:
    """A breaker by the pure functions alone: what its calls came to, and how it stands."""

    def __init__(self) -> None:
        self.ended: list[Ended] = []
        self.standing, self.row = Standing(state="closed"), 0
        self.seconds = 0.0  # that it was opened for
        self.rule = BreakerRule(**RULE)  # type: ignore[arg-type]

    def call(self, outcome: str) -> Passing:
        passing = admits(self.standing)
        if passing is Passing.WAITS:
            return passing
        failed, slow = outcome in ("down", "gone"), outcome == "slow"
        if outcome != "cut":
            self.ended.insert(0, Ended(failed=failed, latency_ms=OUTCOMES[outcome].latency_ms))
        if passing is Passing.PROBES:
            self._probed(outcome, good=not failed and not slow)
        elif (failed or slow) and opens(self.rule, self.ended):
            self._open()
        return passing

    def _probed(self, outcome: str, *, good: bool) -> None:
        if outcome == "cut":
            self.standing = Standing(state="half_open", due=True)
        elif good:
            self.standing, self.row = Standing(state="closed"), 0
        else:
            self._open()

    def _open(self) -> None:
        self.row += 1
        self.seconds = open_for(self.rule, self.row)
        self.standing = Standing(state="open")

    def time_passes(self) -> None:
        if self.standing.state == "open":
            self.standing = Standing(state="open", due=True)


def _call(claimed: Claimed, key: str, outcome: str) -> Passing:
    """A call as the engine makes it, as far as breakers go: it asks, is written down, ends, and is looked at."""
    passing = _asked()
    if passing is Passing.WAITS:
        return passing
    result = OUTCOMES[outcome]
    call = calls.unsent(claimed, asking(key, name=f"agent {key}", model=MODEL))
    call.request.save()
    call.state, call.send, call.permitted_at = result.state, 1, _at(0)
    call.finished_at, call.latency_ms = _at(0), result.latency_ms
    call.error, call.error_class = result.error, result.error_class or ""
    call.probing = passing is Passing.PROBES
    call.save()
    if call.probing:
        Breaker.objects.filter(name=MODEL).update(probe=call.pk)
    breakers.ended(call)
    return passing


def _outcomes(rng: random.Random) -> Iterable[str]:
    kinds = rng.choice((("down", "good"), ("down", "gone", "wrong"), ("slow", "good"), tuple(OUTCOMES)))
    return [rng.choice((*kinds, "time", "cut")) for _ in range(rng.randint(8, 24))]


def test_breakers_open_probe_and_close_as_the_pure_functions_say(settings: Settings) -> None:
    settings.RUNS_BREAKERS = RULE
    claimed, rng = at_work(), random.Random(7)
    reached: set[tuple[str, str]] = set()
    for number in range(SEQUENCES // 10):
        modelled, given = Modelled(), _outcomes(rng)
        with transaction.atomic():
            for place, outcome in enumerate(given):
                _step(claimed, modelled, f"{number}-{place}", outcome, given)
                reached.add((modelled.standing.state, outcome))
            transaction.set_rollback(True)
    assert {state for state, _ in reached} == {"closed", "open", "half_open"}
    assert ("open", "slow") in reached


def _step(claimed: Claimed, modelled: Modelled, key: str, outcome: str, given: Any) -> None:
    if outcome == "time":
        Breaker.objects.filter(name=MODEL, state="open").update(retry_at=_at(-1))
        modelled.time_passes()
        return
    assert _call(claimed, key, outcome) is modelled.call(outcome), (key, given)
    assert _listed(breakers._last("model", MODEL)) == _listed(modelled.ended), (key, given)
    breaker = Breaker.objects.filter(kind="model", name=MODEL).first()
    state, row = (breaker.state, breaker.opens) if breaker else ("closed", 0)
    assert (state, row) == (modelled.standing.state, modelled.row), (key, given)
    if (
        breaker
        and outcome in ("down", "gone", "slow")
        and breaker.state == "open"
        and not modelled.standing.due
    ):
        assert breaker.retry_at is not None
        assert breaker.opened_at is not None
        assert (breaker.retry_at - breaker.opened_at).total_seconds() == pytest.approx(modelled.seconds)


def _listed(ended: Sequence[Ended]) -> list[tuple[bool, int | None]]:
    return [(one.failed, one.latency_ms) for one in ended]
