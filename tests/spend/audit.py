"""An auditor who believes no account: adds up calls one by one and compares. Shares no code with what is checked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta

from runs.models import Account, Call, Chunk, Purse, RateEntry

_LENGTH = {"hour": timedelta(hours=1), "day": timedelta(days=1), "month": timedelta(days=32)}
_COUNTED = ("turns", "model_calls", "tool_calls")


def drifts() -> list[str]:
    """A sentence for every figure that is not what the calls say. Nothing may be under way in the database."""
    calls = list(Call.objects.select_related("run__team", "attempt"))
    return [
        said
        for account in Account.objects.order_by("pk")
        for said in _of(account, [call for call in calls if _within(account, call)], calls)
    ]


def _of(account: Account, within: list[Call], calls: list[Call]) -> Iterator[str]:
    purses = {purse.run_id: purse.accounts for purse in Purse.objects.all()}
    reserved = sum(_reserved(call, account, purses.get(call.run_id, [])) for call in calls)
    chunks = list(Chunk.objects.filter(account=account))
    if account.window == "minute":
        yield from _rate(account, within)
        return
    if account.kind == "concurrency":
        yield from _differs(account, "reserved", account.reserved, reserved + sum(one.held for one in chunks))
        return
    spent = account.spent + sum(chunk.spent for chunk in chunks)
    in_advance = sum(chunk.spent + chunk.held for chunk in chunks)
    yield from _differs(account, "spent", spent, sum(_counts(account.kind, call) for call in within))
    yield from _differs(account, "reserved", account.reserved, in_advance + reserved)


def _rate(account: Account, within: list[Call]) -> Iterator[str]:
    """By second, what calls reserved or used. What was under way when the account was opened counts nothing there."""
    entries: dict[datetime, int] = defaultdict(int)
    for entry in RateEntry.objects.filter(account=account):
        entries[entry.at] += entry.amount
    if account.kind == "requests":
        idle = sum(_idle(purse, account, within) for purse in Purse.objects.all())
        yield from _differs(account, "requests", sum(entries.values()) - idle, len(within))


def _idle(purse: Purse, account: Account, calls: list[Call]) -> int:
    """What a run may still ask of a rate within the next seconds. Each of its calls since took one."""
    if account.pk not in purse.accounts:
        return 0
    place = purse.accounts.index(account.pk)
    since = [call for call in calls if call.run_id == purse.run_id and call.pk > purse.tallied]
    return int(purse.held[place]) - sum(_drawn(call, place) for call in since)


def _drawn(call: Call, place: int) -> int:
    drawn = call.drawn or []
    return (drawn[place] or 0) if place < len(drawn) else 0


def _differs(account: Account, what: str, found: int, true: int) -> Iterator[str]:
    if found != true:
        yield f"{account}, {account.begins:%d %H:%M}, run {account.run_id}: {what} is {found}, the calls say {true}"


def _reserved(call: Call, account: Account, places: list[int]) -> int:
    """What stands on the call itself, and what a call took of its run's purse that has not said yet what it used."""
    said = sum(int(one[1]) for one in call.reserved or [] if one[0] == account.pk)
    silent = call.state in ("permitted", "unknown") and call.cost_micros is None and call.tokens_in is None
    if not silent or account.kind not in ("cost", "tokens", "concurrency"):
        return said
    return said + sum(_drawn(call, at) for at, place in enumerate(places) if place == account.pk)


def _within(account: Account, call: Call) -> bool:
    if call.kind == "look" or call.run.recorded:
        return False
    if account.run_id and call.run_id != account.run_id:
        return False
    if account.window in _LENGTH:
        end = account.begins + _LENGTH[account.window]
        end = end.replace(day=1) if account.window == "month" else end
        if not account.begins <= call.permitted_at < end:
            return False
    return _scope(account, call) and _kind(account, call)


def _scope(account: Account, call: Call) -> bool:
    match account.scope_kind:
        case "team":
            return call.run.team.name == account.scope
        case "workflow":
            return call.run.workflow == account.scope
        case "provider":
            return call.model.split("/")[0] == account.scope
        case "model":
            return call.model == account.scope
        case "agent":
            name = call.name if call.kind == "model" else call.attempt.agent
            return name == account.scope
        case "tool":
            return call.kind == "tool" and call.name == account.scope
    return True


def _kind(account: Account, call: Call) -> bool:
    match account.kind:
        case "turns":
            return call.kind == "model" and call.send == 1
        case "tool_calls":
            return call.kind == "tool"
        case "requests":
            return call.kind == ("tool" if account.scope_kind == "tool" else "model")
    return call.kind == "model"


def _counts(kind: str, call: Call) -> int:
    if kind in _COUNTED:
        return 1
    if kind == "cost":
        return call.cost_micros or 0
    return (call.tokens_in or 0) + (call.tokens_out or 0)
