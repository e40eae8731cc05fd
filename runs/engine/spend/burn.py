"""Adding up what model calls used by time and place (`runs.models.burn`), a little at each sweep. Decides nothing: caps
are counted on accounts, in the permit's transaction.

A span of five minutes is added up from its calls, an hour from its spans, a day from its hours. Calls end late and
uncertain spends are booked later: the last quarter of an hour is added up again each time, and so is every span in
which calls were under way, or of which somebody says that more is known (`again`).
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from runs.models import BurnMark, Call, CallState

SPAN, HOUR, DAY = 5, 60, 1440  # minutes
EVERY_SECONDS = 20.0
A_WHILE = 1.0  # seconds one turn may take
_SLICE = timedelta(minutes=SPAN)
_STEP = timedelta(hours=1)
_FRESH = timedelta(minutes=15)
_BACK = timedelta(days=32)
_KEPT = ((SPAN, timedelta(days=3)), (HOUR, timedelta(days=45)))
_MOST_AGAIN = 500
_DROP = "DELETE FROM runs_burn WHERE span = 5 AND at >= %(since)s AND at < %(until)s"
_ADD = """
    INSERT INTO runs_burn (span, at, team, workflow, agent, model, calls, tokens, cost)
        SELECT 5, date_bin('5 minutes', c.permitted_at, '2000-01-01 00:00+00'), t.name, r.workflow, c.name, c.model,
            count(*), coalesce(sum(c.tokens_in::bigint + c.tokens_out), 0), coalesce(sum(c.cost_micros), 0)
        FROM runs_call c JOIN runs_run r ON r.id = c.run_id JOIN runs_team t ON t.id = r.team_id
        WHERE c.permitted_at >= %(since)s AND c.permitted_at < %(until)s AND c.kind = 'model' AND NOT r.recorded
        GROUP BY 2, 3, 4, 5, 6
"""
_DROP_SUM = """
    DELETE FROM runs_burn WHERE span = %(to)s
        AND at >= date_trunc(%(unit)s::text, %(since)s::timestamptz, 'UTC') AND at < %(until)s
"""
_SUM = """
    INSERT INTO runs_burn (span, at, team, workflow, agent, model, calls, tokens, cost)
        SELECT %(to)s::int, date_trunc(%(unit)s::text, at, 'UTC'), team, workflow, agent, model, sum(calls),
            sum(tokens), sum(cost)
        FROM runs_burn WHERE span = %(of)s AND at >= date_trunc(%(unit)s::text, %(since)s::timestamptz, 'UTC')
            AND at < date_trunc(%(unit)s::text, %(until)s::timestamptz - interval '1 us', 'UTC') + %(one)s::interval
        GROUP BY 2, 3, 4, 5, 6
"""
_LEVELS = (
    {"to": HOUR, "of": SPAN, "unit": "hour", "one": "1 hour"},
    {"to": DAY, "of": HOUR, "unit": "day", "one": "1 day"},
)


def roll_up() -> int:
    """Add up what is new, at most for A_WHILE; how many stretches of time were added up."""
    with transaction.atomic():
        moment = timezone.now()
        mark = _mark(moment)
        if mark is None:
            return 0
        behind = moment - mark.until > _STEP
        if not behind and (moment - mark.looked_at).total_seconds() < EVERY_SECONDS:
            return 0
        count = sum(_add(span, span + _SLICE) for span in _said_again(mark, moment))
        count += _go_on(mark, moment)
        mark.looked_at, mark.again = moment, _under_way(moment)
        mark.save()
        _forget(moment)
    return count


def again(at: datetime) -> None:
    """More has become known of the calls that were permitted then."""
    with transaction.atomic():
        mark = BurnMark.objects.select_for_update().filter(pk=1).first()
        if mark is not None:
            mark.again = [*mark.again, _begin(at).isoformat()][-_MOST_AGAIN:]
            mark.save(update_fields=["again"])


def _mark(moment: datetime) -> BurnMark | None:
    """The mark, locked; None when somebody else is at it, or nothing was ever called."""
    rows = BurnMark.objects.select_for_update(skip_locked=True).filter(pk=1)
    mark = rows.first()
    if mark is not None or BurnMark.objects.filter(pk=1).exists():
        return mark
    first = Call.objects.order_by("pk").values_list("permitted_at", flat=True).first()
    if first is None:
        return None
    begin = _begin(max(first, moment - _BACK))
    BurnMark.objects.bulk_create(
        [BurnMark(pk=1, until=begin, looked_at=begin - _FRESH, again=[])], ignore_conflicts=True
    )
    return rows.first()


def _go_on(mark: BurnMark, moment: datetime) -> int:
    """From the mark to now, an hour at a time. Whatever is left goes on at the next turn."""
    ends = time.monotonic() + A_WHILE
    since, count = _begin(min(mark.until, moment) - _FRESH), 0
    while since < moment and time.monotonic() < ends:
        until = min(since + _STEP, _begin(moment) + _SLICE)
        count += _add(since, until)
        mark.until = since = until
    return count


def _add(since: datetime, until: datetime) -> int:
    with connection.cursor() as cursor:
        between: dict[str, Any] = {"since": since, "until": until}
        for sql in (_DROP, _ADD):
            cursor.execute(sql, between)
        for level in _LEVELS:
            for sql in (_DROP_SUM, _SUM):
                cursor.execute(sql, between | level)
    return 1


def _said_again(mark: BurnMark, moment: datetime) -> list[datetime]:
    """Older ones are not there any more in such detail."""
    oldest = moment - _KEPT[0][1] + _STEP
    spans = {datetime.fromisoformat(text) for text in mark.again}
    return sorted(span for span in spans if oldest < span < mark.until - _FRESH)


def _under_way(moment: datetime) -> list[str]:
    """The older spans with calls under way now: what they use becomes known later."""
    open_calls = Call.objects.filter(state=CallState.PERMITTED, permitted_at__lt=moment - _FRESH / 2)
    begun = open_calls.order_by("-pk").values_list("permitted_at", flat=True)[:_MOST_AGAIN]
    return sorted({_begin(at).isoformat() for at in begun})


def _forget(moment: datetime) -> None:
    with connection.cursor() as cursor:
        for span, kept in _KEPT:
            cursor.execute("DELETE FROM runs_burn WHERE span = %s AND at < %s", [span, moment - kept])


def _begin(at: datetime) -> datetime:
    """The beginning of the span of that moment."""
    return at.replace(minute=at.minute - at.minute % SPAN, second=0, microsecond=0)
