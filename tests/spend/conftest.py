"""Calls that ask for permits under limits, without a worker and without sending anything."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import F

from runs.agents.door import Usage
from runs.engine.claim import claim
from runs.engine.claimed import Claimed
from runs.engine.outcomes import Blocked, Park
from runs.engine.record import now
from runs.engine.spend import permits
from runs.engine.spend.wanted import Result, Wanted
from runs.models import Account, Call, CallKind, CallState, Chunk, Limit, Run
from tests.runs.conftest import _empty_cashbox, _no_pauses, only, runtime, start

MODEL = "simulated/small"
_LONG_AGO = "2026-01-01T00:00:00+00:00"


def at_work(workflow: str = "plain") -> Claimed:
    return only(claim(start(workflow, text="a").pk, worker="w"))


def keep_leases() -> None:
    """Of all runs there are: nobody extends them here, and a slow machine takes longer than one lasts."""
    Run.objects.update(lease_until="2100-01-01T00:00:00+00:00")


def limit(
    what: str, value: int, scope: str = "", mode: str = "enforce", since: datetime | str = _LONG_AGO
) -> Limit:
    """`what` such as "cost/month"; `scope` such as "team:care", empty for the organisation."""
    kind, _, window = what.partition("/")
    scope_kind, _, name = scope.partition(":")
    return Limit.objects.create(
        kind=kind,
        window=window,
        scope_kind=scope_kind or "organisation",
        scope=name,
        value=value,
        mode=mode,
        valid_from=since,
        set_by="Ines",
    )


def asking(key: str = "k", **values: Any) -> Wanted:
    """A model call of agent writer that may use 1,000 tokens out and about as many in as its text has."""
    given: dict[str, Any] = {
        "kind": CallKind.MODEL,
        "name": "writer",
        "key": key,
        "request": {"say": "hello"},
        "model": MODEL,
        "parameters": {"max_tokens": 1000},
    }
    return Wanted(**given | values)


def tool(key: str = "k", name: str = "cashbox.pay") -> Wanted:
    return Wanted(kind=CallKind.TOOL, name=name, key=key, request={"tool": name})


def used(tokens_in: int = 6, tokens_out: int = 1000, cost: int = 10_015) -> Result:
    return Result(
        state=CallState.DONE,
        response={"text": "yes"},
        usage=Usage(tokens_in=tokens_in, tokens_out=tokens_out),
        cost_micros=cost,
        model_returned=MODEL,
        latency_ms=5,
    )


def tried(claimed: Claimed, wanted: Wanted) -> Call | Blocked | Park:
    """The permit, or what stood in its way."""
    try:
        return permits.permit(claimed, wanted)
    except (Blocked, Park) as stood:
        return stood


def account(what: str, scope: str = "") -> Account:
    kind, _, window = what.partition("/")
    scope_kind, _, name = scope.partition(":")
    found = Account.objects.filter(
        kind=kind, window=window, scope_kind=scope_kind or "organisation", scope=name
    )
    return found.get()


def held(account_id: int) -> tuple[int, int]:
    """What was spent, and what calls may still use: what chunks have spent is spent, what they hold is free."""
    row = Account.objects.get(pk=account_id)
    chunks = list(Chunk.objects.filter(account_id=account_id).values_list("spent", "held"))
    spent = sum(one for one, _ in chunks)
    return row.spent + spent, row.reserved - spent - sum(one for _, one in chunks)


def empty_accounts() -> None:
    with connection.cursor() as cursor:
        for table in ("runs_purse", "runs_rateentry", "runs_account"):
            cursor.execute(f"DELETE FROM {table}")
    Limit.objects.filter(valid_until=None).update(
        valid_until=F("valid_from"), ended_at=F("valid_from"), ended_by="Ines"
    )


__all__ = ["_empty_cashbox", "_no_pauses", "now", "runtime"]
