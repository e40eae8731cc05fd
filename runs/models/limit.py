"""Limits that people set. A row is never edited: a change ends it and begins another of the same line.

Triggers (migration 0017) hold that, refuse two rows that say different things of the same at the same time, and count
every change in `LimitEdition`, whose row also puts changes in order.
"""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from runs.limits.kinds import SETTABLE, TABLE, LimitKind, LimitScope, Mode, Window
from runs.limits.rows import Row
from runs.limits.units import MOST


def _choices(names: type[LimitKind] | type[Window] | type[LimitScope] | type[Mode]) -> list[tuple[str, str]]:
    return [(one.value, one.value) for one in names]


def _legal() -> Q:
    """What may be limited by whom and over what: the table of kinds, as the database checks it."""
    legal = Q()
    for kind in SETTABLE:
        one = TABLE[kind]
        legal |= Q(
            kind=kind.value,
            window__in=[window.value for window in one.windows],
            scope_kind__in=[scope.value for scope in one.scopes],
            value__gte=one.least,
        )
    return legal


class Limit(models.Model):
    """One row of a limit's line: it holds from `valid_from` to `valid_until`, null without end.

    The rows of a line share `first`: null for the first itself. A row that ended before it began has both moments the
    same and never held. Values are whole numbers of the kind's unit: millionths of a US dollar, milliseconds, tokens,
    pieces.
    """

    first = models.ForeignKey("self", null=True, on_delete=models.PROTECT, related_name="later")
    kind = models.CharField(max_length=20, choices=_choices(LimitKind))
    window = models.CharField(max_length=10, choices=_choices(Window), blank=True)
    scope_kind = models.CharField(max_length=12, choices=_choices(LimitScope))
    scope = models.CharField(max_length=150, blank=True)
    value = models.BigIntegerField()
    mode = models.CharField(max_length=8, choices=_choices(Mode))
    valid_from = models.DateTimeField()
    valid_until = models.DateTimeField(null=True)
    set_at = models.DateTimeField(db_default=Now())
    set_by = models.CharField(max_length=150)
    agreed_by = models.CharField(
        max_length=150, blank=True, help_text="the second admin, where one was asked"
    )
    reason = models.TextField(blank=True)
    ended_at = models.DateTimeField(null=True, help_text="when a change ended it, or planned its end")
    ended_by = models.CharField(max_length=150, blank=True)
    end_reason = models.TextField(blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=_legal(), name="limit_legal"),
            models.CheckConstraint(condition=Q(value__lte=MOST), name="limit_value_kept"),
            models.CheckConstraint(
                condition=Q(mode__in=[mode.value for mode in Mode]), name="limit_mode_known"
            ),
            models.CheckConstraint(
                condition=Q(scope_kind="organisation", scope="")
                | (~Q(scope_kind="organisation") & ~Q(scope="")),
                name="limit_scope_named",
            ),
            models.CheckConstraint(
                condition=Q(valid_until__isnull=True) | Q(valid_until__gte=F("valid_from")),
                name="limit_ends_after_it_begins",
            ),
            models.CheckConstraint(
                condition=Q(ended_at__isnull=True, ended_by="")
                | (Q(ended_at__isnull=False, valid_until__isnull=False) & ~Q(ended_by="")),
                name="limit_ended_by_somebody",
            ),
        ]
        indexes = [
            models.Index(fields=["scope_kind", "scope", "kind", "window"], name="limit_by_scope"),
            models.Index(fields=["valid_until"], name="limit_by_end"),
        ]

    def __str__(self) -> str:
        return f"{self.row.what} of {self.row.scope_words}: {self.row.amount}, {self.mode}"

    @property
    def line(self) -> int:
        """The number under which all rows of this limit are found."""
        return self.first_id or self.pk

    @property
    def row(self) -> Row:
        """The same as a value."""
        return Row(
            id=self.pk or 0,
            kind=LimitKind(self.kind),
            window=Window(self.window),
            scope_kind=LimitScope(self.scope_kind),
            scope=self.scope,
            value=self.value,
            mode=Mode(self.mode),
            since=self.valid_from,
            until=self.valid_until,
        )

    def over(self, at: datetime) -> bool:
        return self.valid_until is not None and self.valid_until <= at


class LimitEdition(models.Model):
    """One row: its number grows with every change of limits. Whoever keeps a copy of them sees by it whether it is old.

    A time in microseconds, so that no two databases or restores come to the same number by chance.
    """

    number = models.PositiveBigIntegerField(default=0)

    def __str__(self) -> str:
        return f"edition {self.number}"
