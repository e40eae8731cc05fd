"""What waits for people: the queue as the inbox shows it. Reads only; who may decide is the acts' business."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.contrib.auth.models import User
from django.db.models import Case, Count, IntegerField, Q, QuerySet, Value, When
from django.utils import timezone

from escalations.models import Escalation, EscalationState
from runs.definitions import Effect
from runs.models import QuestionKind

MOST = 200  # rows of the queue; the rest is behind filters and search
SOON = timedelta(minutes=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which part of the queue: a filter by name ("" is all) and a text looked for in title, goal and numbers."""

    name: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Escalations with the same cause, which stand together."""

    kind: str
    label: str
    group: str
    workflow: str
    effect: str
    items: tuple[Escalation, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """The queue as it is shown: `items` in order, the same by cause, and how many each filter would show."""

    items: tuple[Escalation, ...]
    causes: tuple[Cause, ...]
    counts: dict[str, int]
    more: bool
    oldest: datetime | None


def queue(actor: User, wanted: Wanted) -> Queue:
    """By risk, then time left. Two queries."""
    rows = list(_filtered(actor, wanted)[: MOST + 1])
    items = tuple(rows[:MOST])
    return Queue(
        items=items,
        causes=causes(items),
        counts=counts(actor),
        more=len(rows) > MOST,
        oldest=min((item.opened_at for item in items), default=None),
    )


def after(items: Sequence[Escalation], escalation_id: int) -> int | None:
    """The number of the item to go to when that one is decided: the next, else the first of the others."""
    ids = [item.pk for item in items]
    others = [one for one in ids if one != escalation_id]
    if escalation_id not in ids or not others:
        return others[0] if others else None
    following = ids[ids.index(escalation_id) + 1 :]
    return following[0] if following else others[0]


def waiting() -> int:
    """How many escalations are open."""
    return _open().count()


def counts(actor: User) -> dict[str, int]:
    """How many open escalations each filter shows. One query."""
    totals = _open().aggregate(
        all=Count("pk"),
        **{name: Count("pk", filter=condition) for name, condition in _filters(actor).items()},
    )
    return {str(name): int(total) for name, total in totals.items()}


def causes(items: Sequence[Escalation]) -> tuple[Cause, ...]:
    """The items by kind, group and workflow; causes and items keep the order of the items."""
    found: dict[tuple[str, str, str], list[Escalation]] = {}
    for item in items:
        question = item.question
        found.setdefault((question.kind, question.group, item.run.workflow), []).append(item)
    return tuple(_cause(*key, tuple(members)) for key, members in found.items())


def group_words(group: str, *said: str) -> str:
    """A group as people read it: without what is said beside it already, and without underscores."""
    for word in said:
        group = group.removeprefix(f"{word}:")
    return group.replace("_", " ").strip()


def _cause(kind: str, group: str, workflow: str, items: tuple[Escalation, ...]) -> Cause:
    return Cause(
        kind=kind,
        label=QuestionKind(kind).label,
        group=group_words(group, workflow, QuestionKind(kind).label),
        workflow=workflow,
        effect=items[0].question.effect,
        items=items,
    )


def _open() -> QuerySet[Escalation]:
    return Escalation.objects.filter(state=EscalationState.OPEN)


def _filters(actor: User) -> dict[str, Q]:
    return {
        "mine": Q(taken_by=actor),
        "free": Q(taken_by=None),
        "irreversible": Q(question__effect=Effect.IRREVERSIBLE),
        "soon": Q(question__expires_at__lte=timezone.now() + SOON, run__hold=""),
    }


def _filtered(actor: User, wanted: Wanted) -> QuerySet[Escalation]:
    rows = _open().select_related("question__step", "run__team", "team", "taken_by", "edited_by")
    condition = _filters(actor).get(wanted.name)
    if condition is not None:
        rows = rows.filter(condition)
    if wanted.text:
        rows = rows.filter(matching(wanted.text))
    return rows.annotate(risk=_risk()).order_by("risk", "-question__priority", "question__expires_at", "pk")


def matching(text: str) -> Q:
    """In title or goal; a bare number also as run or escalation, "E-12" as that escalation."""
    text = text.strip().replace("\x00", "")
    found = Q(question__title__icontains=text) | Q(run__goal__icontains=text) | Q(run__workflow__iexact=text)
    number = text.upper().removeprefix("E-").removeprefix("#")
    if number.isascii() and number.isdecimal() and len(number) < 19:
        found |= Q(pk=int(number))
        if not text.upper().startswith("E-"):
            found |= Q(run_id=int(number))
    return found


def _risk() -> Case:
    """What may have happened comes first, then what cannot be undone."""
    return Case(
        When(question__kind=QuestionKind.UNKNOWN, then=Value(0)),
        When(question__effect=Effect.IRREVERSIBLE, then=Value(1)),
        default=Value(2),
        output_field=IntegerField(),
    )
