"""What a top-up comes to: how its account stands under lock, what was written, what it allows, its row. No act: nobody
is asked who he is, and nothing is journalled.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.conf import settings

from escalations.audit.record import Subject
from escalations.changes import Change
from escalations.expected import IllegalMove, Invalid, NotThere
from escalations.texts import given_text
from runs.engine import limits
from runs.engine.record import now
from runs.engine.spend import budgets, room
from runs.engine.spend.room import Standing
from runs.limits.kinds import TABLE
from runs.limits.rows import moment_words
from runs.limits.units import MOST, WrongValue, read
from runs.models import Account, Question, TopUp
from runs.moments import told


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """An account, its row locked, and how it stands: two top-ups of it are added up one after the other."""

    account: Account
    standing: Standing


@dataclass(frozen=True, slots=True, kw_only=True)
class TopUpPlan:
    """So much more on an account, in its kind's unit; `until` None: as long as the account counts."""

    place: Place
    amount: int
    until: datetime | None
    reason: str

    @property
    def cap(self) -> tuple[str, str]:
        """Before and after, as people read it."""
        standing = self.place.standing
        return standing.words(standing.cap), standing.words((standing.cap or 0) + self.amount)

    @property
    def allows(self) -> str:
        """What it comes to, as a clause: "turns of this run: from 12 to 20"."""
        standing = self.place.standing
        before = standing.words(standing.cap or 0)
        return f"{standing.what} of {standing.scope_words}: from {before} to {self.cap[1]}"

    @property
    def needs_another(self) -> bool:
        """Whether an admin other than who wants it must agree, by the settings' amounts."""
        return above(self.place.standing, self.amount)

    @property
    def details(self) -> dict[str, Any]:
        """For the journal: what the cap was and what it comes to."""
        standing = self.place.standing
        before, after = self.cap
        told: list[Change] = [{"field": "cap", "before": before, "after": after}]
        return {
            "account": self.place.account.pk,
            "what": f"{standing.what} of {standing.scope_words}",
            "limit": standing.row.id if standing.row else 0,
            "added": standing.words(self.amount),
            "until": moment_words(self.until),
            "used": standing.words(standing.used),
            "changes": told,
        }

    def perform(self, *, made_by: str, agreed_by: str = "", question: Question | None = None) -> None:
        """From now on so much more is allowed."""
        TopUp.objects.create(
            account=self.place.account,
            amount=self.amount,
            until=self.until,
            made_by=made_by,
            agreed_by=agreed_by,
            reason=self.reason,
            question=question,
        )


def most_alone(standing: Standing) -> int | None:
    """The cap up to which one person may top up alone; None: any."""
    what = (standing.kind, standing.window)
    return settings.LIMITS_ALONE.get(what, TABLE[standing.kind].alone.get(standing.window))


def above(standing: Standing, amount: int) -> bool:
    """Whether nobody may allow it alone: the cap, with what was added already and this, passes the settings' amount."""
    most = most_alone(standing)
    return most is not None and (standing.cap or 0) + amount > most


def place_of(account_id: int) -> Place:
    """An account by its number. Raises NotThere, IllegalMove when no limit is enforced there, or its period is over."""
    budgets.lock_accounts()
    account = Account.objects.select_for_update().filter(pk=account_id).first()
    if account is None:
        raise NotThere(f"There is no account {account_id}.")
    standing = room.of_account(account, limits.current(), now())
    if standing is None:
        raise IllegalMove("What this account counted is over: a new one began. Nothing was done.")
    if standing.row is None:
        raise IllegalMove("No limit is enforced there: there is nothing to top up.")
    return Place(account=account, standing=standing)


def must_be_as_seen(account_id: int, seen: str) -> None:
    """Whoever sends a form of before somebody's top-up, or the same one twice, is told. The account is locked. Raises
    IllegalMove."""
    newest = TopUp.objects.filter(account=account_id).order_by("-pk").first()
    if not seen or seen == str(newest.pk if newest else 0):
        return
    if newest is None:
        raise IllegalMove("This was not topped up as you saw it. Read it again. Nothing was done.")
    raise IllegalMove(
        f"{newest.made_by} topped this up at {told(newest.made_at)} UTC, after your page was loaded. "
        "Read what it has now before you add more. Nothing was done."
    )


def place_asked(question: Question) -> Place:
    """The account that a card is about. Raises IllegalMove when its period or its limit is over."""
    budgets.lock_accounts()
    try:
        number = room.begun(question)
    except LookupError as why:
        raise IllegalMove(
            "The time over which this was counted is over: the run goes on by itself, or look again."
        ) from why
    account = Account.objects.select_for_update().get(pk=number)
    standing = room.of_question(question, limits.current(), now())
    if standing.row is None:
        raise IllegalMove("This is not limited any more: look again, and the run goes on.")
    return Place(account=account, standing=standing)


def about(account_id: int) -> Subject:
    """The subject of an entry about an account that may not exist."""
    found = Account.objects.filter(pk=account_id).first()
    if found is None:
        return Subject(target=f"account {account_id}")
    named = found.scope if found.scope_kind != "organisation" else ""
    run = f" of run {found.run_id}" if found.run_id else ""
    target = f"account {found.pk}: {found.kind} a {found.window} of {found.scope_kind} {named}".strip() + run
    return Subject(
        target=target,
        run_id=found.run_id or None,
        workflow=named if found.scope_kind == "workflow" else "",
        team=named if found.scope_kind == "team" else "",
    )


def written(place: Place, amount: str, until: str, reason: str) -> TopUpPlan:
    """A top-up as somebody wrote it. Raises Invalid with every wrong field."""
    errors: list[tuple[str, str]] = []
    value, ends = 0, None
    try:
        value = _amount(place.standing, amount)
    except Invalid as wrong:
        errors += wrong.errors
    try:
        ends = _moment(until)
    except Invalid as wrong:
        errors += wrong.errors
    try:
        reason = given_text("reason", reason, required="Say why more is allowed.")
    except Invalid as wrong:
        errors += wrong.errors
    if errors:
        raise Invalid(errors)
    return TopUpPlan(place=place, amount=value, until=ends, reason=reason)


def _amount(standing: Standing, given: str) -> int:
    try:
        value = read(TABLE[standing.kind].unit, given)
    except WrongValue as why:
        raise Invalid([("amount", str(why))]) from why
    if not 0 < value <= MOST:
        raise Invalid([("amount", f"More than nothing, and at most {standing.words(MOST)}.")])
    return value


def _moment(given: str) -> datetime | None:
    if not given.strip():
        return None
    try:
        found = datetime.fromisoformat(given.strip())
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError) as why:
        raise Invalid([("until", "Write a day and a time, such as 2026-12-31 18:00 (UTC).")]) from why
    if found <= now():
        raise Invalid([("until", "That has passed: a top-up holds until a moment to come.")])
    return found
