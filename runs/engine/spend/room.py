"""How an account stands against its caps: used, cap, what people added, what one call lacks. Reserves nothing.

The permit asks exactly, in its own transaction; this is what cards, top-ups and `budgets.reconsider` go by.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from runs.limits.applying import Book
from runs.limits.kinds import TABLE, LimitKind, LimitScope, Mode, Window, says
from runs.limits.rows import Row, Where
from runs.limits.units import about, shown
from runs.models import Account, Question, Run

_NAMED = (LimitScope.AGENT, LimitScope.TOOL, LimitScope.MODEL)
# Of an account: what is used or reserved (what runs hold in advance comes back before anybody is refused), what people
# added, and when its period began. A minute is any 60 seconds: what counts then is whether the call fits at all.
_STANDS = """
    SELECT a.id, CASE WHEN a."window" = 'minute' THEN 0 ELSE a.spent + a.reserved - coalesce((
            SELECT sum(c.held) FROM runs_chunk c WHERE c.account_id = a.id), 0) END::bigint,
        coalesce((SELECT sum(t.amount) FROM runs_topup t
            WHERE t.account_id = a.id AND (t.until IS NULL OR t.until > clock_timestamp())), 0)::bigint
    FROM runs_account a
    WHERE a.kind = %(kind)s AND a."window" = %(window)s AND a.scope_kind = %(scope_kind)s AND a.scope = %(scope)s
        AND a.run_id = %(run)s AND a.begins = CASE WHEN a."window" IN ('hour', 'day', 'month')
            THEN date_trunc(a."window", clock_timestamp(), 'UTC') ELSE 'epoch'::timestamptz END
"""
_SPENT = "SELECT runs_spent(%(kind)s::text, %(scope_kind)s::text, %(scope)s::text, %(run)s::bigint, 'epoch')"
# A permit that is refused takes the account back that it had begun.
_OWN = "SELECT runs_own(%(kind)s::text, %(scope_kind)s::text, %(scope)s::text, %(run)s::bigint)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """An account now, in its kind's unit. `account` None: not begun. `row`: the limit that decides, None for none.

    `used` has what is spent and what is reserved; `more` is what people added; `need` what one call may need.
    """

    kind: LimitKind
    window: Window
    scope_kind: str
    scope: str
    account: int | None
    row: Row | None
    used: int
    more: int
    need: int

    @property
    def cap(self) -> int | None:
        """With what people added; None: nothing is enforced (any more)."""
        return None if self.row is None else self.row.value + self.more

    @property
    def left(self) -> int:
        return max(0, (self.cap or 0) - self.used)

    @property
    def lacks(self) -> int:
        """How much more the call needs than there is; 0 when it fits."""
        return 0 if self.cap is None else max(0, self.used + self.need - self.cap)

    @property
    def what(self) -> str:
        return TABLE[self.kind].words if self._of_this_run else says(self.kind, self.window)

    @property
    def scope_words(self) -> str:
        if self.scope_kind == LimitScope.ORGANISATION:
            return "the organisation"
        return "this run" if self._of_this_run else self.named

    @property
    def _of_this_run(self) -> bool:
        return self.scope_kind == LimitScope.RUN and not self.scope

    @property
    def named(self) -> str:
        return f"{self.scope_kind} {self.scope}"

    @property
    def used_words(self) -> str:
        return about(TABLE[self.kind].unit, self.used)

    @property
    def cap_words(self) -> str:
        return self.words(self.cap)

    @property
    def more_words(self) -> str:
        return self.words(self.more)

    @property
    def need_words(self) -> str:
        return self.words(self.need)

    @property
    def lacks_words(self) -> str:
        return self.words(self.lacks)

    def words(self, amount: int | None) -> str:
        """An amount as people read it."""
        return "" if amount is None else shown(TABLE[self.kind].unit, amount)


def of_question(question: Question, book: Book, at: datetime) -> Standing:
    """Of what the card of a used-up cap is about; its run and team are loaded. One query, two for a new account."""
    about = question.action
    kind, window = LimitKind(about["guard"]), Window(about["window"])
    key = key_of(question)
    account, used, more = _stands(key)
    rows = [
        row
        for row in book.caps(kind, window, to=_place(question), at=at)
        if (row.scope_kind.value, row.scope) == (about["scope_kind"], about["scope"])
        or (window is Window.RUN and about["scope_kind"] == LimitScope.RUN)
    ]
    return Standing(
        kind=kind,
        window=window,
        scope_kind=about["scope_kind"],
        scope=about["scope"],
        account=account,
        row=min(rows, key=lambda row: row.strictness, default=None),
        used=used,
        more=more,
        need=int(about["need"]),
    )


def of_account(account: Account, book: Book, at: datetime) -> Standing | None:
    """Of an account by itself; None when its period is over. Of a run's own the run is read. One query, or two."""
    kind, window = LimitKind(account.kind), Window(account.window)
    key: dict[str, str | int] = {
        "kind": account.kind,
        "window": account.window,
        "scope_kind": account.scope_kind,
        "scope": account.scope,
        "run": account.run_id,
    }
    number, used, more = _stands(key)
    if number != account.pk:
        return None
    return Standing(
        kind=kind,
        window=window,
        scope_kind=account.scope_kind,
        scope=account.scope,
        account=number,
        row=_cap(book, kind, window, account, at),
        used=used,
        more=more,
        need=0,
    )


def _cap(book: Book, kind: LimitKind, window: Window, account: Account, at: datetime) -> Row | None:
    """The strictest enforced limit that is counted on that account."""
    if account.run_id and account.scope_kind == LimitScope.RUN:
        run = Run.objects.select_related("team").get(pk=account.run_id)
        to = Where(team=run.team.name, workflow=run.workflow, run=run.pk)
        return min(book.caps(kind, window, to=to, at=at), key=lambda row: row.strictness, default=None)
    rows = [
        row
        for row in book.rows
        if (row.kind, row.window, row.mode) == (kind, window, Mode.ENFORCE)
        and (row.scope_kind.value, row.scope) == (account.scope_kind, account.scope)
        and row.holds(at)
    ]
    return min(rows, key=lambda row: row.strictness, default=None)


def begun(question: Question) -> int:
    """The account of the present period that a card is about, begun where it is a run's own. The caller holds the
    run's row. Raises LookupError when its period is over."""
    key = key_of(question)
    if key["run"]:
        with connection.cursor() as cursor:
            cursor.execute(_OWN, key)
    account, _, _ = _stands(key)
    if account is None:
        raise LookupError(f"there is no account of {key['kind']} now")
    return account


def key_of(question: Question) -> dict[str, str | int]:
    """By what an account is found, for the present period."""
    about = question.action
    return {
        "kind": about["guard"],
        "window": about["window"],
        "scope_kind": about["scope_kind"],
        "scope": about["scope"],
        "run": question.run_id if about["window"] == Window.RUN else 0,
    }


def _place(question: Question) -> Where:
    run, about = question.run, question.action
    scope_kind, scope = about["scope_kind"], about["scope"]
    named = {scope_kind: scope} if scope_kind in _NAMED else {}
    if scope_kind == LimitScope.PROVIDER:
        named = {"model": f"{scope}/"}
    return Where(team=run.team.name, workflow=run.workflow, run=run.pk, **named)


def _stands(key: dict[str, str | int]) -> tuple[int | None, int, int]:
    """Its number, what is used or reserved, and what people added; of a run's own that is not begun, what was used."""
    with connection.cursor() as cursor:
        cursor.execute(_STANDS, key)
        row = cursor.fetchone()
        if row is not None:
            return int(row[0]), int(row[1]), int(row[2])
        if not key["run"]:
            return None, 0, 0
        cursor.execute(_SPENT, key)
        spent = cursor.fetchone()
    return None, int(spent[0]) if spent else 0, 0
