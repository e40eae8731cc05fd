"""Under everything at once accounts say what the calls say: misbehaving agents, dying connections, changing limits."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import pytest
from django.db import DatabaseError, Error, connection, transaction
from django.db.models import F

from runs.engine import breakers, holds
from runs.engine.claimed import Claimed
from runs.engine.outcomes import Blocked, Park, Refused
from runs.engine.spend import budgets, permits
from runs.engine.spend.estimates import Estimate
from runs.engine.spend.wanted import Result, Wanted
from runs.errors import ErrorClass
from runs.models import Account, Breaker, Call, CallState, Limit, Run, TopUp
from tests.faults import counts
from tests.spend.audit import drifts
from tests.spend.conftest import MODEL, asking, at_work, held, keep_leases, limit, tool, used

pytestmark = pytest.mark.django_db(transaction=True)
THREADS = 8
ACTS = counts.of(fast=120, soak=3000)  # of each thread
COST, NEED = Estimate(asking()).of("cost"), Estimate(asking()).of("tokens")
# With a kind's usual need of one call, and for how many calls there is room at first.
LIMITS = [
    ("cost/day", "", COST, 300),
    ("cost/hour", "workflow:plain", COST, 20),
    ("cost/month", f"model:{MODEL}", COST, 100_000),
    ("tokens/day", "provider:simulated", NEED, 40),
    ("tokens/month", "agent:writer", NEED, 100_000),
    ("tokens/run", "", NEED, 60),
    ("cost/run", "agent:writer", COST, 30),
    ("turns/run", "", 1, 500),
    ("tool_calls/run", "", 1, 100),
    ("requests/minute", "", 1, 400),
    ("tokens/minute", f"model:{MODEL}", NEED, 300),
    ("concurrency", "", 1, 12),
    ("concurrency", "tool:cashbox.pay", 1, 3),
]
LOST = Result(state=CallState.FAILED, error="timeout", certain=False, error_class=ErrorClass.RECOVERABLE)
CUT = Result(state=CallState.CUT, error="a stop", certain=False)
BUSY = Result(state=CallState.FAILED, error="503", certain=True, error_class=ErrorClass.RECOVERABLE)


@dataclass
class World:
    """What the threads share."""

    claims: list[Claimed]
    # With what was said of it when nobody knows whether that is on record: it is said again, and not otherwise.
    flying: list[tuple[Claimed, Call, Result | None]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    permitted: int = 0
    refused: int = 0
    killed: int = 0
    changing: threading.Lock = field(default_factory=threading.Lock)
    stopping: threading.Lock = field(default_factory=threading.Lock)


def test_accounts_say_what_the_calls_say_whatever_happens_at_once() -> None:
    world = World(claims=[at_work() for _ in range(THREADS + 2)])
    keep_leases()
    for what, scope, need, fits in LIMITS:
        limit(what, need * fits, scope)
    before = _deadlocks()
    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(lambda n: _live(world, n), range(THREADS)))
    assert not world.errors, "\n\n".join(world.errors)
    assert world.permitted > THREADS
    assert world.refused
    assert world.killed
    assert "\n".join(drifts()) == ""
    _land(world)
    assert "\n".join(drifts()) == ""
    at_once = Account.objects.filter(kind="concurrency").values_list("pk", flat=True)
    assert all(held(account)[1] == 0 for account in at_once) or _uncertain()
    assert _deadlocks() == before


def _uncertain() -> bool:
    return Call.objects.filter(reserved__isnull=False).exists()


def _live(world: World, n: int) -> None:
    dice = random.Random(n)
    acts = [
        *[_call] * 10,
        *[_end] * 9,
        *[_end_again] * 2,
        *[_settle] * 2,
        _give_back,
        _move_fence,
        _change_a_limit,
        _top_up,
        _stop,
        _force,
        _forget,
        _kill,
    ]
    try:
        for _ in range(ACTS):
            _dare(world, lambda: dice.choice(acts)(world, dice))
    finally:
        connection.close()


def _dare(world: World, act: object) -> None:
    """A killed connection is the attack, not a finding; any other error is one."""
    try:
        act()  # type: ignore[operator]
    except Error as error:
        state = getattr(error.__cause__, "sqlstate", None) or ""
        connection.close()
        if state not in ("", "57P01", "57P02", "57P03"):
            world.errors.append(f"{state} {error}")
    except (Blocked, Park, Refused):
        world.refused += 1


def _wanted(dice: random.Random) -> Wanted:
    key = f"{dice.random()}"
    if dice.random() < 0.2:
        return tool(key)
    return asking(
        key,
        name=dice.choice(["writer", "writer", "reader", 'o\'dd: "nämé" %s']),
        parameters={"max_tokens": dice.choice([1, 1000, 1000, 4000])},
    )


def _call(world: World, dice: random.Random) -> None:
    claimed = dice.choice(world.claims)
    call = permits.permit(claimed, _wanted(dice))
    world.permitted += 1
    world.flying.append((claimed, call, None))


def _result(call: Call, dice: random.Random) -> Result:
    if call.kind == "tool":
        return replace(used(), usage=None, cost_micros=None)
    factor = dice.choice([0.1, 0.5, 1, 1, 3])
    usual = used(
        tokens_in=dice.randint(1, 20),
        tokens_out=int(1000 * factor),
        cost=int(COST * dice.choice([0.1, 1, 3])),
    )
    return dice.choice([usual, usual, usual, usual, LOST, CUT, BUSY])


def _taken(world: World, dice: random.Random) -> tuple[Claimed, Call, Result | None] | None:
    with world.changing:
        return world.flying.pop(dice.randrange(len(world.flying))) if world.flying else None


def _end(world: World, dice: random.Random) -> None:
    flown = _taken(world, dice)
    if flown is None:
        return
    claimed, call, said = flown
    result = said or _result(call, dice)
    try:
        permits.record(claimed, call, result)
    except DatabaseError:
        connection.close()
        world.flying.append((claimed, call, result))
        raise


def _end_again(world: World, dice: random.Random) -> None:
    """What was said already, or comes late, or both. What certainly cost nothing is not said otherwise later."""
    last = Call.objects.order_by("-pk").values_list("pk", flat=True).first() or 1
    ended = Call.objects.filter(kind="model").exclude(state=CallState.PERMITTED)
    with world.changing:
        call = ended.filter(pk=dice.randint(max(1, last - 40), last)).first()
        claimed = next((one for one in world.claims if call and one.run.pk == call.run_id), None)
        if call is None or claimed is None or (call.cost_micros is None and call.reserved is None):
            return
        permits.record(claimed, call, replace(_result(call, dice), certain=True))


def _settle(world: World, dice: random.Random) -> None:
    call = (
        Call.objects.filter(reserved__isnull=False).exclude(state=CallState.PERMITTED).order_by("?").first()
    )
    if call is None:
        return
    budgets.reconcile(call.pk, call.run_id, used=dice.choice([None, {"cost": 7}]))


def _give_back(world: World, dice: random.Random) -> None:
    run = dice.choice(world.claims).run.pk
    Run.objects.filter(pk=run).update(lease_until="2020-01-01T00:00:00+00:00")
    try:
        budgets.give_back()
    finally:
        connection.close()
        Run.objects.filter(pk=run).update(lease_until="2100-01-01T00:00:00+00:00")


def _move_fence(world: World, dice: random.Random) -> None:
    n = dice.randrange(len(world.claims))
    with world.changing:
        old = world.claims[n]
        Run.objects.filter(pk=old.run.pk, fence=old.fence).update(fence=F("fence") + 1)
        world.claims[n] = replace(old, fence=Run.objects.values_list("fence", flat=True).get(pk=old.run.pk))


def _change_a_limit(world: World, dice: random.Random) -> None:
    what, scope, need, _ = dice.choice(LIMITS)
    kind, _, window = what.partition("/")
    scope_kind, _, name = scope.partition(":")
    with world.changing, transaction.atomic():
        rows = Limit.objects.filter(kind=kind, window=window, valid_until=None)
        old = rows.filter(scope_kind=scope_kind or "organisation", scope=name).first()
        if old is not None:
            old.valid_until, old.ended_at, old.ended_by = old.valid_from, old.valid_from, "Ines"
            old.save()
        mode = dice.choice(["enforce", "enforce", "warn"])
        there = Account.objects.filter(kind=kind, window=window).values_list("spent", "reserved")
        limit(what, max((sum(one) for one in there), default=0) + need * dice.randint(3, 60), scope, mode)


def _top_up(world: World, dice: random.Random) -> None:
    account = Account.objects.exclude(window="minute").order_by("?").first()
    if account is not None:
        TopUp.objects.create(
            account=account, amount=dice.randint(1, COST * 5), made_by="Ines", reason="go on"
        )


def _stop(world: World, dice: random.Random) -> None:
    with world.stopping:
        with transaction.atomic():
            control, _ = holds.engage("stop", "workflow", "plain", by="Ines")
        _surely(lambda: holds.release(control.pk, by="Ines", reason="on"))


def _force(world: World, dice: random.Random) -> None:
    names = list(Breaker.objects.exclude(state="closed").values_list("kind", "name"))
    breakers.force("model", MODEL, dice.choice(["open", "closed"]), by="Ines", why="tried")
    for kind, name in [*names, ("model", MODEL)]:
        _surely(lambda kind=kind, name=name: breakers.force(kind, name, "", by="Ines", why="on"))
    for number in Breaker.objects.exclude(state="closed").values_list("pk", flat=True):
        Breaker.objects.filter(pk=number).update(retry_at="2020-01-01T00:00:00+00:00")


def _surely(act: object) -> None:
    """Whoever is killed at it does it again: the world would stand still."""
    for _ in range(20):
        try:
            act()  # type: ignore[operator]
            return
        except DatabaseError:
            connection.close()


def _forget(world: World, dice: random.Random) -> None:
    budgets.forget()


def _kill(world: World, dice: random.Random) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND state <> 'idle' ORDER BY random() LIMIT 1"
        )
        world.killed += len(cursor.fetchall())


def _deadlocks() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        row = cursor.fetchone()
    assert row is not None
    return int(row[0])


def _land(world: World) -> None:
    """Whatever is still under way ends, late or not."""
    dice = random.Random(0)
    for claimed, call, said in world.flying:
        permits.record(claimed, call, said or _result(call, dice))
