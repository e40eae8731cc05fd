"""Accounts outside of permits: booking what comes late, giving back what nobody uses, cards that need no answer any
more, spends of which nobody knows. Permits reserve by `runs_reserve` (migration 0021).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from psycopg.types.json import Jsonb

from runs.engine import answers, limits
from runs.engine.calls import read_json
from runs.limits.applying import Book
from runs.limits.kinds import LimitKind, LimitScope, Window
from runs.limits.rows import Where
from runs.models import CallState, Question, QuestionKind, QuestionState

ACCOUNTS_LOCK = 7050203  # shared by permits and records; whoever opens an account has it alone
ROOM = "there is room again"
_SHARED = "SELECT pg_advisory_xact_lock_shared(%s)"
_BOOK = "SELECT runs_book(%s, %s, %s::jsonb, %s, %s, %s)"
# The chunks of runs that nobody performs now go back, one account after the other.
_IDLE = """
    SELECT DISTINCT chunk.account_id FROM runs_chunk chunk JOIN runs_run run ON run.id = chunk.run_id
    WHERE run.state <> 'running' OR run.lease_until < clock_timestamp() - interval '1 minute'
    ORDER BY chunk.account_id LIMIT %s
"""
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


def book(run_id: int, call_id: int, reserved: Any, *, cost: int, tokens: int, known: bool) -> Any:
    """Book what a call used (millionths of a dollar, tokens) where it had reserved; what stays reserved, or None.

    The caller holds the run's row and the accounts' lock. `known` False: it may have been used, nobody knows.
    """
    if known:
        with connection.cursor() as cursor:
            cursor.execute("SELECT runs_rated(%s, %s)", [call_id, tokens])
    if reserved is None:
        return None
    with connection.cursor() as cursor:
        values: list[Any] = [run_id, call_id, Jsonb(reserved), cost, tokens, known]
        cursor.execute(_BOOK, values)
        row = cursor.fetchone()
    return read_json(row[0]) if row else None


def give_back(limit: int = 200) -> int:
    """Give back what runs hold in advance that nobody performs now; returns how many accounts had some."""
    with connection.cursor() as cursor:
        cursor.execute(_IDLE, [limit])
        accounts = [row[0] for row in cursor.fetchall()]
    for account_id in accounts:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(_GIVE_BACK, [account_id])
    return len(accounts)


def reconsider(limit: int = 200) -> int:
    """Take back cards about used-up limits that have room again: by a top-up, a raised limit, a new month. How many."""
    asked = Question.objects.filter(kind=QuestionKind.LIMIT, state=QuestionState.OPEN).order_by("pk")
    open_ones = list(asked.select_related("run__team")[:limit])
    if not open_ones:
        return 0
    book_now = limits.current()
    moment = datetime.now(UTC)
    return sum(
        answers.withdraw(question.pk, ROOM) for question in open_ones if _has_room(question, book_now, moment)
    )


def _has_room(question: Question, book_now: Book, moment: datetime) -> bool:
    """Whether what was asked for would fit now. The permit asks exactly; this only says that asking is worth it."""
    about = question.action
    kind, window = LimitKind(about["guard"]), Window(about["window"])
    caps = [
        row.value
        for row in book_now.caps(kind, window, to=_place(question), at=moment)
        if (row.scope_kind.value, row.scope) == (about["scope_kind"], about["scope"])
        or (window is Window.RUN and about["scope_kind"] == LimitScope.RUN)
    ]
    if not caps:
        return True
    used, more = _used(about["account"], kind, window)
    return used is None or used + int(about["need"]) <= min(caps) + more


def _place(question: Question) -> Where:
    run, about = question.run, question.action
    scope_kind, scope = about["scope_kind"], about["scope"]
    named = {scope_kind: scope} if scope_kind in ("agent", "tool", "model") else {}
    if scope_kind == "provider":
        named = {"model": f"{scope}/"}
    return Where(team=run.team.name, workflow=run.workflow, run=run.pk, **named)


def _used(account_id: int, kind: LimitKind, window: Window) -> tuple[int | None, int]:
    """What is used or reserved on the account now, None when its period is over; and what people added."""
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT spent + reserved, begins, coalesce((SELECT sum(t.amount) FROM runs_topup t
                WHERE t.account_id = a.id AND (t.until IS NULL OR t.until > clock_timestamp())), 0)::bigint,
                CASE WHEN "window" IN ('hour', 'day', 'month') THEN date_trunc("window", clock_timestamp(), 'UTC')
                    ELSE begins END
                FROM runs_account a WHERE a.id = %s""",
            [account_id],
        )
        row = cursor.fetchone()
    if row is None or row[1] != row[3]:
        return None, 0
    return int(row[0]), int(row[2])


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
            "SELECT state, fence FROM runs_call WHERE id = %s AND reserved IS NOT NULL FOR NO KEY UPDATE",
            [call_id],
        )
        call = cursor.fetchone()
        if run is None or call is None or (call == (CallState.PERMITTED, run[0]) and run[1] is None):
            return False
        cursor.execute("SELECT runs_settle(%s, %s)", [call_id, None if used is None else used.get("cost")])
    return True


def forget() -> int:
    """Drop what no window needs any more: rate entries older than two minutes, waits of steps that wait no more."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM runs_rateentry WHERE at < clock_timestamp() - interval '2 minutes'")
        count = int(cursor.rowcount)
        cursor.execute(
            "DELETE FROM runs_wait w USING runs_step s"
            " WHERE s.id = w.step_id AND s.state NOT IN ('sleeping', 'running')"
        )
        return count + int(cursor.rowcount)


PARTS = (give_back, reconsider, give_up_uncertain, forget)  # of each sweep
