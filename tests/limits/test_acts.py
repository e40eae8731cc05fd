"""Admins set, change and end limits through the one door: what it asks for, who was first, what is on record."""

from __future__ import annotations

import json
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.utils import timezone
from pytest_django import Settings

from escalations import limits
from escalations.audit import chain
from escalations.expected import IllegalMove, Invalid, NotAllowed, NotThere
from escalations.limit_lines import Moved
from escalations.limits import Done, Proposed
from escalations.models import LimitProposal
from runs.engine import limits as in_force
from runs.engine.record import now
from runs.limits import fixed, written
from runs.limits.applying import Book
from runs.limits.kinds import LimitKind, Window
from runs.limits.rows import Where
from runs.models import Limit
from tests import factories
from tests.factories import at_once, journal
from tests.limits.setting import change, line, made, says, seen

pytestmark = pytest.mark.django_db(transaction=True)

ROUNDS = 5
WHAT = (LimitKind.TURNS, Window.RUN)
REFUNDS = Where(workflow="refund_desk")


def ends(actor: User, number: int, reason: str = "") -> Done | Proposed:
    return limits.end(actor=actor, line=number, seen=seen(number), reason=reason)


def test_a_limit_is_set_without_a_reason_and_stands_in_the_journal(ines: User) -> None:
    number = made(ines)
    (entry,) = journal(act="set limit")
    assert (entry.outcome, entry.workflow, entry.target) == (
        "done",
        "refund_desk",
        f"limit {number}: turns a run of workflow refund_desk",
    )
    assert '"after":"12","field":"value"' in entry.body
    bound = in_force.current().bound(*WHAT, to=REFUNDS, at=now())
    assert bound is not None
    assert (bound.value, bound.id) == (12, number)


def test_lowering_asks_for_nothing_and_counts_at_once(ines: User) -> None:
    number = made(ines)
    assert change(ines, number, value="8") == Done(line=number, more=())
    assert says(number) == [(8, "enforce")]
    (entry,) = journal(act="change limit")
    assert '"changes":[{"after":"8","before":"12","field":"value"}]' in entry.body
    bound = in_force.current().bound(*WHAT, to=REFUNDS, at=now())
    assert bound is not None
    assert bound.value == 8


def test_raising_asks_for_a_reason(ines: User) -> None:
    number = made(ines)
    with pytest.raises(Invalid) as refused:
        change(ines, number, value="20")
    assert refused.value.errors == [("reason", "Say why: it allows more (turns a run: from 12 to 20).")]
    assert says(number) == [(12, "enforce")]
    assert [entry.outcome for entry in journal(act="change limit")] == ["invalid"]
    assert isinstance(change(ines, number, "they need more", value="20"), Done)
    assert says(number) == [(20, "enforce")]
    assert journal(act="change limit")[-1].reason == "they need more"
    assert '"allows_more":["turns a run: from 12 to 20"]' in journal()[-1].body


def test_above_the_amount_nothing_changes_until_another_admin_agrees(ines: User, aisha: User) -> None:
    number = made(ines)
    proposed = change(ines, number, "a long case", value="60")
    assert isinstance(proposed, Proposed)
    assert says(number) == [(12, "enforce")]
    assert [entry.act for entry in journal()] == ["set limit", "propose limit"]
    agreed = partial(limits.agree, proposal_id=proposed.proposal.pk, digest=proposed.proposal.digest)
    with pytest.raises(IllegalMove, match="another admin must agree"):
        agreed(actor=ines)
    assert isinstance(agreed(actor=aisha), Done)
    assert says(number) == [(60, "enforce")]
    limit = Limit.objects.get(pk=line(number).rows[0].id)
    assert (limit.set_by, limit.agreed_by, limit.reason) == ("Ines Okafor", "Aisha Rahman", "a long case")
    entry = journal(act="agree to limit")[-1]
    assert '"proposed_because":"a long case","proposed_by":"Ines Okafor"' in entry.body
    with pytest.raises(IllegalMove, match="was agreed by Aisha Rahman already"):
        agreed(actor=aisha)


def test_the_amount_is_a_setting(ines: User, settings: Settings) -> None:
    number = made(ines)
    settings.LIMITS_ALONE = {WHAT: 15}
    assert isinstance(change(ines, number, "why", value="16"), Proposed)
    limits.decline(actor=ines, proposal_id=LimitProposal.objects.get().pk)
    settings.LIMITS_ALONE = {WHAT: None}
    assert isinstance(change(ines, number, "why", value="999999"), Done)
    assert isinstance(ends(ines, number, "why"), Done)


def test_ending_what_is_enforced_needs_another_admin_unless_another_limit_holds(
    ines: User, aisha: User
) -> None:
    number = made(ines)
    proposed = ends(ines, number, "not needed any more")
    assert isinstance(proposed, Proposed)
    limits.decline(actor=aisha, proposal_id=proposed.proposal.pk)
    made(ines, scope_kind="organisation", scope="", value="15")
    done = ends(ines, number, "the organisation's is enough")
    assert isinstance(done, Done)
    assert [one.says for one in done.more] == ["turns a run: from 12 to 15"]
    assert line(number).rows == ()
    with pytest.raises(IllegalMove, match="is over already"):
        limits.end(actor=ines, line=number, seen="", reason="again")


def test_ending_what_only_warns_asks_for_a_reason_alone(ines: User) -> None:
    number = made(ines, mode="warn")
    with pytest.raises(Invalid, match="before anybody is warned"):
        ends(ines, number)
    assert isinstance(ends(ines, number, "too loud"), Done)


def test_a_raise_for_a_while_goes_back_by_itself_and_prolonging_it_asks_again(ines: User) -> None:
    number = made(ines)
    until = (timezone.now() + timedelta(hours=2)).replace(microsecond=0)
    change(ines, number, "backlog", value="20", until=until.isoformat())
    assert says(number) == [(20, "enforce"), (12, "enforce")]
    assert line(number).rows[0].until == line(number).rows[1].since == until
    later = (until + timedelta(hours=1)).isoformat()
    with pytest.raises(Invalid, match="from 12 to 20"):
        change(ines, number, value="20", until=later)
    assert change(ines, number, value="12") == Done(line=number, more=())
    assert says(number) == [(12, "enforce")]


def test_the_history_says_what_held_at_any_moment(ines: User) -> None:
    number = made(ines)
    first = now()
    change(ines, number, "more", value="20")
    second = now()
    change(ines, number, value="5")
    for at, value in ((first, 12), (second, 20), (now(), 5)):
        (row,) = in_force.in_force(at).rows
        assert row.value == value
    rows = Limit.objects.filter(first=number) | Limit.objects.filter(pk=number)
    assert rows.count() == 3
    assert rows.filter(ended_by="Ines Okafor").count() == 2


def test_what_was_read_and_has_changed_is_told_with_the_difference(ines: User, aisha: User) -> None:
    number = made(ines)
    read = seen(number)
    change(aisha, number, value="8")
    with pytest.raises(Moved) as moved:
        limits.change(
            actor=ines, line=number, seen=read, given={"value": "10", "mode": "enforce"}, reason="x"
        )
    assert moved.value.status == 409
    assert moved.value.differences == [{"field": "value", "before": "12", "after": "8"}]
    assert "was changed by Aisha Rahman at" in moved.value.sentence
    assert "value 12 → 8" in moved.value.sentence
    assert says(number) == [(8, "enforce")]
    assert journal()[-1].outcome == "conflict"


def test_of_two_admins_who_change_it_at_once_one_wins_and_the_other_is_told(ines: User, aisha: User) -> None:
    number = made(ines)
    for _ in range(ROUNDS):
        read, value = seen(number), line(number).rows[0].value
        results = at_once(
            *(
                partial(
                    limits.change,
                    actor=actor,
                    line=number,
                    seen=read,
                    given={"value": str(value - less), "mode": "enforce"},
                )
                for actor, less in ((ines, 1), (aisha, 2))
            )
        )
        assert sorted(type(one).__name__ for one in results) == ["Done", "Moved"]
        winner = ines if isinstance(results[0], Done) else aisha
        (loser,) = [one for one in results if isinstance(one, Moved)]
        assert f"was changed by {winner.get_full_name()}" in loser.sentence
        assert says(number) == [(value - (1 if winner == ines else 2), "enforce")]
    assert chain.verify() is None


def test_two_who_agree_and_decline_at_once_do_one_of_both(ines: User, aisha: User) -> None:
    zofia = factories.person("zofia", "admin", full_name="Zofia Lis")
    number = made(ines)
    proposal = change(ines, number, "long", value="60").proposal
    results = at_once(
        partial(limits.agree, actor=aisha, proposal_id=proposal.pk, digest=proposal.digest),
        partial(limits.decline, actor=zofia, proposal_id=proposal.pk),
    )
    assert sum(isinstance(one, IllegalMove) for one in results) == 1
    proposal.refresh_from_db()
    assert says(number) == [(60 if proposal.state == "agreed" else 12, "enforce")]


def test_lowering_goes_past_a_proposal_and_overtakes_it(ines: User, aisha: User) -> None:
    number = made(ines)
    proposal = change(ines, number, "long", value="60").proposal
    assert change(aisha, number, value="8") == Done(line=number, more=())
    with pytest.raises(IllegalMove, match="overtaken"):
        limits.agree(actor=aisha, proposal_id=proposal.pk, digest=proposal.digest)
    assert says(number) == [(8, "enforce")]
    assert json.loads(journal(act="change limit")[-1].body)["details"]["overtakes"] == [proposal.pk]


def test_one_proposal_a_limit_and_another_admins_decline_closes_it(ines: User, aisha: User) -> None:
    number = made(ines)
    proposal = change(ines, number, "long", value="60").proposal
    with pytest.raises(IllegalMove, match="Ines Okafor has proposed another change"):
        change(aisha, number, "longer", value="70")
    limits.decline(actor=aisha, proposal_id=proposal.pk, reason="no")
    assert isinstance(change(aisha, number, "longer", value="70"), Proposed)
    assert journal(act="decline limit")[0].reason == "no"


def test_a_proposal_expires_and_then_changes_nothing(ines: User, aisha: User) -> None:
    number = made(ines)
    proposal = change(ines, number, "long", value="60").proposal
    LimitProposal.objects.update(expires_at=timezone.now())
    with pytest.raises(IllegalMove, match="has expired"):
        limits.agree(actor=aisha, proposal_id=proposal.pk, digest=proposal.digest)
    assert limits.expire() == 1
    assert limits.expire() == 0
    assert [entry.act for entry in journal(actor_name="system")] == ["limit proposal expired"]
    assert says(number) == [(12, "enforce")]


def test_a_proposal_that_another_follows_after_its_time_has_its_end_on_record_too(
    ines: User, aisha: User
) -> None:
    number = made(ines)
    change(ines, number, "long", value="60")
    LimitProposal.objects.update(expires_at=timezone.now())
    assert isinstance(change(aisha, number, "longer", value="70"), Proposed)
    assert [entry.act for entry in journal(actor_name="system")] == ["limit proposal expired"]
    assert limits.expire() == 0


def test_a_proposal_that_was_altered_or_is_not_what_was_shown_is_not_agreed_to(
    ines: User, aisha: User
) -> None:
    number = made(ines)
    proposal = change(ines, number, "long", value="60").proposal
    with pytest.raises(IllegalMove, match="not the proposal that was shown"):
        limits.agree(actor=aisha, proposal_id=proposal.pk, digest="0" * 64)
    LimitProposal.objects.update(
        after={"value": "9000", "mode": "enforce", "since": "", "until": "", "then": ""}
    )
    with pytest.raises(IllegalMove, match="not the proposal that was shown"):
        limits.agree(actor=aisha, proposal_id=proposal.pk, digest=proposal.digest)


def test_what_would_allow_other_than_was_shown_is_not_agreed_to(ines: User, aisha: User) -> None:
    number, wide = made(ines), made(ines, scope_kind="organisation", scope="", value="60", mode="enforce")
    proposed = ends(ines, number, "the organisation's is enough")
    assert isinstance(proposed, Proposed)
    assert proposed.proposal.increases == ["turns a run: from 12 to 60"]
    other = ends(ines, wide, "nobody needs it")
    assert isinstance(other, Proposed)
    limits.agree(actor=aisha, proposal_id=other.proposal.pk, digest=other.proposal.digest)
    with pytest.raises(IllegalMove, match="would now allow turns a run: from 12 to no limit"):
        limits.agree(actor=aisha, proposal_id=proposed.proposal.pk, digest=proposed.proposal.digest)
    assert says(number) == [(12, "enforce")]


def test_of_two_who_set_the_same_limit_at_once_one_does(ines: User, aisha: User) -> None:
    results = at_once(*(partial(made, actor, value=value) for actor, value in ((ines, "5"), (aisha, "6"))))
    assert sum(isinstance(one, int) for one in results) == 1
    assert sum(isinstance(one, IllegalMove) for one in results) == 1
    assert Limit.objects.count() == 1


def test_a_change_sent_as_its_form_was_changes_nothing(ines: User) -> None:
    number = made(ines)
    change(ines, number, "backlog", value="20", until=(timezone.now() + timedelta(hours=2)).isoformat())
    first = line(number).rows[0]
    with pytest.raises(Invalid, match="Nothing was changed"):
        limits.change(actor=ines, line=number, seen=seen(number), given=written.as_written(first))


def test_whoever_proposed_must_still_be_an_admin(ines: User, aisha: User) -> None:
    number = made(ines)
    proposal = change(ines, number, "long", value="60").proposal
    ines.groups.clear()
    with pytest.raises(IllegalMove, match="may not change limits any more"):
        limits.agree(actor=aisha, proposal_id=proposal.pk, digest=proposal.digest)
    assert says(number) == [(12, "enforce")]


def test_operators_and_auditors_change_no_limit_and_the_attempt_is_on_record(
    ines: User, marta: User, tomasz: User
) -> None:
    number = made(ines)
    for person in (marta, tomasz):
        with pytest.raises(NotAllowed):
            change(person, number, value="8")
        with pytest.raises(NotAllowed):
            made(person, value="3")
    assert says(number) == [(12, "enforce")]
    assert [entry.outcome for entry in journal()[1:]] == ["refused"] * 4


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"scope": "no_such"}, "There is no workflow called 'no_such'."),
        ({"scope_kind": "agent", "scope": "nobody"}, "There is no agent called 'nobody'."),
        ({"scope_kind": "run", "scope": "4711"}, "There is no run under way with the number '4711'."),
        ({"value": "many"}, "Write a whole number"),
        ({"scope_kind": "tool", "scope": "pay"}, "cannot be limited by tool"),
    ],
)
def test_a_wrong_limit_is_refused_with_a_sentence_and_nothing_is_kept(
    ines: User, given: dict[str, str], sentence: str
) -> None:
    with pytest.raises(Invalid, match=sentence):
        made(ines, **given)
    assert not Limit.objects.exists()
    assert [entry.outcome for entry in journal()] == ["invalid"]


def test_the_same_limit_twice_is_refused_and_another_mode_is_not(ines: User) -> None:
    number = made(ines)
    with pytest.raises(IllegalMove, match=f"number {number}, set by Ines Okafor"):
        made(ines, value="3")
    assert made(ines, value="9", mode="warn") != number


def test_a_change_that_changes_nothing_is_refused(ines: User) -> None:
    number = made(ines)
    with pytest.raises(Invalid, match="Nothing was changed"):
        change(ines, number)


def test_a_limit_of_a_run_counts_for_that_run(ines: User) -> None:
    run = factories.started("plain")
    number = made(ines, scope_kind="run", scope=f"#{run.pk}", value="3")
    assert journal()[-1].run_id == run.pk
    book = in_force.current()
    assert [row.id for row in book.caps(*WHAT, to=Where(run=run.pk), at=now())] == [number]
    assert book.caps(*WHAT, to=Where(run=run.pk + 1), at=now()) == ()


def test_there_is_no_limit_of_that_number(ines: User) -> None:
    with pytest.raises(NotThere):
        limits.end(actor=ines, line=4711, seen="", reason="x")
    assert journal()[-1].target == "limit 4711"


def test_a_process_that_keeps_the_book_reads_it_again_after_a_change_only(
    ines: User, django_assert_num_queries: Any
) -> None:
    number = made(ines)
    kept = in_force.current()
    with django_assert_num_queries(1):
        assert in_force.current() is kept
    change(ines, number, value="8")
    with django_assert_num_queries(2):
        assert in_force.current().rows[0].value == 8


WRONG_ROWS = [
    {"kind": "wings"},
    {"window": "month"},
    {"scope_kind": "tool"},
    {"scope": ""},
    {"scope_kind": "organisation"},
    {"mode": "maybe"},
    {"value": 0},
    {"value": 10**15 + 1},
    {"valid_until": timezone.now() - timedelta(days=1)},
    {"ended_at": timezone.now()},
    {"ended_by": "somebody"},
]


@pytest.mark.parametrize("wrong", WRONG_ROWS)
def test_the_database_keeps_no_row_that_must_never_be(ines: User, wrong: dict[str, Any]) -> None:
    good = {
        "kind": "turns",
        "window": "run",
        "scope_kind": "workflow",
        "scope": "plain",
        "value": 5,
        "mode": "enforce",
        "valid_from": timezone.now(),
        "set_by": "by hand",
    }
    with pytest.raises(IntegrityError), transaction.atomic():
        Limit.objects.create(**good | wrong)
    Limit.objects.create(**good)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE runs_limit SET value = 99",
        "UPDATE runs_limit SET mode = 'observe'",
        "UPDATE runs_limit SET valid_until = valid_until + interval '1 day' WHERE valid_until IS NOT NULL",
        "UPDATE runs_limit SET set_by = 'nobody'",
        "DELETE FROM runs_limit",
        "TRUNCATE runs_limit CASCADE",
        'INSERT INTO runs_limit (kind, "window", scope_kind, scope, value, mode, valid_from, set_by, agreed_by, '
        "reason, ended_by, end_reason) SELECT kind, \"window\", scope_kind, scope, 9, mode, now(), 'x', '', '', '', '' "
        "FROM runs_limit LIMIT 1",
    ],
)
def test_the_database_lets_nobody_edit_delete_or_contradict_a_row(ines: User, statement: str) -> None:
    number = made(ines, until=(timezone.now() + timedelta(days=1)).isoformat())
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
    assert says(number) == [(12, "enforce")]


def test_a_second_row_at_the_same_time_is_refused_by_the_database_too(ines: User) -> None:
    made(ines)
    limit = Limit.objects.get()
    with pytest.raises(IntegrityError, match="there is such a limit"), transaction.atomic():
        Limit.objects.create(
            **{
                name: getattr(limit, name)
                for name in ("kind", "window", "scope_kind", "scope", "mode", "set_by")
            },
            value=3,
            valid_from=timezone.now() + timedelta(days=400),
        )


def test_what_is_built_into_a_guard_is_only_replaced_with_another_admin(ines: User, aisha: User) -> None:
    repeats = {"what": "repeats", "value": "3"}
    with pytest.raises(Invalid, match="Set repeats to enforce first"):
        made(ines, **repeats, mode="warn")
    number = made(ines, **repeats)
    proposed = change(ines, number, "it polls", mode="warn")
    assert isinstance(proposed, Proposed)
    bound = partial(
        Book.bound, kind=LimitKind.REPEATS, window=Window.NONE, to=REFUNDS, at=now(), fixed=fixed.built_in()
    )
    assert bound(in_force.current()) is not None
    limits.agree(actor=aisha, proposal_id=proposed.proposal.pk, digest=proposed.proposal.digest)
    assert bound(in_force.current(), at=now()) is None
