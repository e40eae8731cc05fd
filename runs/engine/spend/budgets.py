"""Accounts outside of permits: booking what comes late, giving back what nobody uses, cards that need no answer any
more, spends of which nobody knows. Permits reserve by `runs_reserve` (migration 0036).
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from runs.engine import answers, limits
from runs.engine.spend import burn, room
from runs.engine.spend.calls import read_json
from runs.limits.kinds import Window
from runs.models import CallState, Question, QuestionKind, QuestionState, TopUp

ACCOUNTS_LOCK = 7050203  # shared by permits and records; whoever opens an account has it alone
ROOM = "there is room again"
AT_A_TIME = 50  # purses that are given back in one transaction
GIVEN = timedelta(seconds=10)  # in which a run that was topped up takes its room
_SHARED = "SELECT pg_advisory_xact_lock_shared(%s)"
_BOOK = "SELECT runs_used(%s, %s, %s, %s, %s, %s)"
_GIVE_BACK = "SELECT runs_give_back(%s)"
_UNCERTAIN = """
    SELECT c.id, c.run_id FROM runs_call c JOIN runs_run r ON r.id = c.run_id
    WHERE c.reserved IS NOT NULL AND (c.state <> 'permitted' OR c.fence <> r.fence OR r.finished_at IS NOT NULL)
        AND c.permitted_at < clock_timestamp() - make_interval(hours => %s) ORDER BY c.id LIMIT %s
"""


def lock_accounts() -> None:
    """As every permit and record does, after the run's row and before the call's."""
    with connection.cursor() as cursor:
        cursor.execute(_SHARED, [ACCOUNTS_LOCK])


def book(run_id: int, call_id: int, *, cost: int, tokens: int, known: bool, overran: bool) -> Any:
    """Book what a call used (millionths of a dollar, tokens) where it had reserved; what stays reserved, or None.

    The caller holds the run's row and the accounts' lock. `known` False: it may have been used, nobody knows.
    `overran`: it may be more than the call had taken of its run's purse.
    """
    with connection.cursor() as cursor:
        values: list[Any] = [run_id, call_id, cost, tokens, known, overran]
        cursor.execute(_BOOK, values)
        row = cursor.fetchone()
    return read_json(row[0]) if row else None


def give_back(limit: int = 1000) -> int:
    """Give back what runs hold in advance that nobody performs now; returns how many runs held some.

    A few at a time: permits that need these accounts wait for it, and they hold the gate.
    """
    given = 0
    while given < limit:
        with connection.cursor() as cursor:
            cursor.execute(_GIVE_BACK, [min(AT_A_TIME, limit - given)])
            row = cursor.fetchone()
        if row is None or not row[0]:
            break
        given += row[0]
    return given


def reconsider(limit: int = 200) -> int:
    """Take back cards about used-up limits that have room again: by a top-up, a raised limit, a new month. How many.

    The oldest go first, and room is given to one of them only; whoever was just topped up has his already.
    """
    asked = Question.objects.filter(kind=QuestionKind.LIMIT, state=QuestionState.OPEN).order_by("pk")
    open_ones = list(asked.select_related("run__team")[:limit])
    if not open_ones:
        return 0
    book_now = limits.current()
    moment = datetime.now(UTC)
    given = _just_given(moment)
    count = 0
    for question in open_ones:
        standing = room.of_question(question, book_now, moment)
        given_there = given.get(standing.account, 0) if standing.account else 0
        if replace(standing, used=standing.used + given_there).lacks:
            continue
        if standing.account and standing.window is not Window.MINUTE:
            given[standing.account] = given_there + standing.need
        count += answers.withdraw(question.pk, ROOM)
    return count


def _just_given(moment: datetime) -> dict[int, int]:
    """By account, the room of those who were just topped up and may not have taken it yet."""
    found: dict[int, int] = {}
    recent = TopUp.objects.filter(made_at__gt=moment - GIVEN, question__isnull=False)
    for account, action in recent.values_list("account", "question__action"):
        found[account] = found.get(account, 0) + int(action["need"])
    return found


def give_up_uncertain(limit: int = 100) -> int:
    """Book what has been uncertain for too long as if all of it had been used (the settings say how long); how many."""
    with connection.cursor() as cursor:
        cursor.execute(_UNCERTAIN, [int(settings.RUNS_UNCERTAIN_HOURS), limit])
        found = cursor.fetchall()
    return sum(reconcile(call_id, run_id, used=None) for call_id, run_id in found)


def reconcile(call_id: int, run_id: int, *, used: dict[str, int] | None) -> bool:
    """Book an uncertain spend: `used` by kind (cost in millionths of a dollar, tokens), None: all that is reserved.

    False when it is not uncertain any more.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT fence, finished_at FROM runs_run WHERE id = %s FOR NO KEY UPDATE", [run_id])
        run = cursor.fetchone()
        lock_accounts()
        cursor.execute(
            "SELECT state, fence, permitted_at FROM runs_call"
            " WHERE id = %s AND reserved IS NOT NULL FOR NO KEY UPDATE",
            [call_id],
        )
        call = cursor.fetchone()
        if run is None or call is None or (call[:2] == (CallState.PERMITTED, run[0]) and run[1] is None):
            return False
        cursor.execute("SELECT runs_settle(%s, %s)", [call_id, None if used is None else used.get("cost")])
        burn.again(call[2])
    return True


def forget() -> int:
    """Drop what no window needs any more: rate entries older than two minutes, waits of steps that wait no more."""
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM runs_rateentry e USING (SELECT id FROM runs_rateentry"
            " WHERE at < clock_timestamp() - interval '2 minutes' FOR UPDATE SKIP LOCKED) old WHERE e.id = old.id"
        )
        count = int(cursor.rowcount)
        cursor.execute(
            "DELETE FROM runs_wait w USING runs_step s"
            " WHERE s.id = w.step_id AND s.state NOT IN ('sleeping', 'running')"
        )
        return count + int(cursor.rowcount)


PARTS = (give_back, reconsider, give_up_uncertain, forget, burn.roll_up)  # of each sweep
