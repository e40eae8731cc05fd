"""What waits for people: the queue as the inbox shows it. Reads only; who may decide is the acts' business."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.contrib.auth.models import User
from django.db.models import BooleanField, Count, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.expressions import RawSQL
from django.db.models.functions import Concat
from django.utils import timezone

from escalations.models import Escalation, EscalationState
from runs.definitions import Effect
from runs.models import Hold, QuestionKind, QuestionState, Run
from runs.shown import counted

MOST = 100  # rows of the queue on a page
LOOK = 20_000  # escalations that a search looks through for a text, which no index knows
SOON = timedelta(minutes=30)
_OPEN = Q(state=EscalationState.OPEN, question__state=QuestionState.OPEN)
_OF_A_ROW = (
    "opened_at",
    "question__kind",
    "question__title",
    "question__group",
    "question__effect",
    "question__simulated",
    "question__rank",
    "question__expires_at",
    "run__workflow",
    "run__goal",
    "run__hold",
    "run__recorded",
    "taken_by__username",
    "taken_by__first_name",
    "taken_by__last_name",
)
# Where the page before this one ended, by its last question; that row stays, whatever has become of the question.
_BEHIND = """
(runs_question.rank, runs_question.expires_at, runs_question.id)
    > (SELECT last.rank, last.expires_at, last.id FROM runs_question AS last WHERE last.id = %s)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which part of the queue: a filter by name ("" is all), a text looked for in title, goal and numbers, and the
    question after which a further page begins."""

    name: str = ""
    text: str = ""
    after: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Escalations with the same cause, which stand together. `key` is the same for these alone."""

    key: str
    kind: str
    label: str
    group: str
    workflow: str
    effect: str
    items: tuple[Escalation, ...]

    @property
    def ranked(self) -> list[tuple[Escalation, str]]:
        """Each item, and where it stands."""
        return [(item, rank(item)) for item in self.items]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """The numbers above the queue for everybody: how many each filter shows, counted to counted.MOST, and how many
    each person holds, by account."""

    counts: dict[str, int]
    mine: dict[int, int]
    oldest: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """The queue as it is shown: `items` in order, the same by cause, and how many each filter would show, which are
    counted to counted.MOST. `next` is the `after` of the following page, None on the last one."""

    items: tuple[Escalation, ...]
    causes: tuple[Cause, ...]
    counts: dict[str, int]
    next: int | None
    oldest: datetime | None

    @property
    def ever(self) -> bool:
        """Whether anybody was ever asked. One query; asked where nothing waits."""
        return Escalation.objects.exists()


def queue(actor: User, wanted: Wanted) -> Queue:
    """By risk, then time left. Two queries."""
    items, following = page(actor, wanted)
    return Queue(
        items=items,
        causes=causes(items),
        counts=counts(actor),
        next=following,
        oldest=min((item.opened_at for item in items), default=None),
    )


def page(actor: User, wanted: Wanted) -> tuple[tuple[Escalation, ...], int | None]:
    """MOST rows of the queue, with what a row shows and no more, and the `after` of the following ones. One query."""
    rows = list(_shown(_filtered(actor, wanted))[: MOST + 1])
    return tuple(rows[:MOST]), rows[MOST - 1].question_id if len(rows) > MOST else None


def after(items: Sequence[Escalation], escalation_id: int) -> int | None:
    """The number of the item to go to when that one is decided: the next, else the first of the others."""
    ids = [item.pk for item in items]
    others = [one for one in ids if one != escalation_id]
    if escalation_id not in ids or not others:
        return others[0] if others else None
    following = ids[ids.index(escalation_id) + 1 :]
    return following[0] if following else others[0]


def counts(actor: User) -> dict[str, int]:
    """How many open escalations each filter shows, counted to counted.MOST. One query."""
    filtered = {name: Escalation.objects.filter(_OPEN, one) for name, one in _filters(actor).items()}
    return counted.up_to(all=Escalation.objects.filter(state=EscalationState.OPEN), **filtered)


def tally() -> Tally:
    """What `counts` says, for everybody at once. Three queries."""
    open_now = Escalation.objects.filter(state=EscalationState.OPEN)
    filtered = {name: Escalation.objects.filter(_OPEN, one) for name, one in _shared().items()}
    held = open_now.filter(taken_by__isnull=False).values_list("taken_by").annotate(held=Count("pk"))
    return Tally(
        counts=counted.up_to(all=open_now, **filtered),
        mine=dict(held.order_by("taken_by")),
        oldest=open_now.order_by("pk").values_list("opened_at", flat=True).first(),
    )


def of(ids: Iterable[int]) -> tuple[Escalation, ...]:
    """Those of these escalations that are open, with what a row shows. One query."""
    return tuple(_shown(Escalation.objects.filter(_OPEN, pk__in=ids)))


def rank(item: Escalation) -> str:
    """Where an item stands in the queue: texts that sort as the queue does."""
    question = item.question
    due = int(question.expires_at.timestamp() * 1_000_000)
    return f"{question.rank + 1_000_000_000:010d}.{due:020d}.{item.question_id:020d}"


def found(text: str, most: int) -> list[Escalation]:
    """Escalations that match, open or not: those of exactly this number, then others, newest first, from among the
    newest LOOK. Two queries."""
    newest = Escalation.objects.order_by("-pk").values("pk")[:1]
    rows = _with_about(Escalation.objects.select_related("question", "run")).only(
        "state", "question__title", "run__goal", "run__workflow"
    )
    exactly = _numbered(text)
    recent = rows.filter(_worded(text), pk__gt=Subquery(newest) - LOOK).exclude(exactly)
    return [*rows.filter(exactly).order_by("-pk")[:most], *recent.order_by("-pk")[:most]][:most]


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
        key=json.dumps([kind, group, workflow]),
        kind=kind,
        label=QuestionKind(kind).label,
        group=group_words(group, workflow, QuestionKind(kind).label),
        workflow=workflow,
        effect=items[0].question.effect,
        items=items,
    )


def _filters(actor: User) -> dict[str, Q]:
    return {"mine": Q(taken_by=actor), **_shared()}


def _shared() -> dict[str, Q]:
    """The filters that show the same to everybody."""
    return {
        "free": Q(taken_by=None),
        "irreversible": Q(question__effect=Effect.IRREVERSIBLE),
        "soon": Q(question__expires_at__lte=timezone.now() + SOON) & ~Q(run__in=_held()),
    }


def _held() -> QuerySet[Run]:
    """Their clocks stand still. Few, and found by an index of their own; a join would read every run."""
    return Run.objects.exclude(hold=Hold.NONE)


def _filtered(actor: User, wanted: Wanted) -> QuerySet[Escalation]:
    """In the order of the index question_queue."""
    rows = _with_about(Escalation.objects.filter(_OPEN))
    condition = _filters(actor).get(wanted.name)
    if condition is not None:
        rows = rows.filter(condition)
    if wanted.text:
        rows = rows.filter(matching(wanted.text))
    if wanted.after is not None:
        rows = rows.filter(RawSQL(_BEHIND, [wanted.after], output_field=BooleanField()))
    return rows.order_by("question__rank", "question__expires_at", "question_id")


def _shown(rows: QuerySet[Escalation]) -> QuerySet[Escalation]:
    return rows.select_related("question", "run", "taken_by").only(*_OF_A_ROW)


def matching(text: str) -> Q:
    """In title, goal or workflow; a bare number also as run or escalation, "E-12" as that escalation."""
    return _worded(text) | _numbered(text)


def _with_about(rows: QuerySet[Escalation]) -> QuerySet[Escalation]:
    """With `about`, the words of the run, read row by row: joined, the whole table of runs would be read."""
    words = Run.objects.filter(pk=OuterRef("run_id")).values_list(Concat("workflow", Value(" "), "goal"))
    return rows.alias(about=Subquery(words[:1]))


def _worded(text: str) -> Q:
    text = text.strip().replace("\x00", "")
    return Q(question__title__icontains=text) | Q(about__icontains=text)


def _numbered(text: str) -> Q:
    text = text.strip().upper()
    number = text.removeprefix("E-").removeprefix("#")
    if not (number.isascii() and number.isdecimal() and len(number) < 19):
        return Q(pk=None)
    escalation = Q(pk=int(number))
    return escalation if text.startswith("E-") else escalation | Q(run_id=int(number))
