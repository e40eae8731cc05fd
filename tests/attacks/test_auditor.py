"""An auditor who trusts nobody: no act without its entry and none twice, nothing decided that was not shown."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import Error, connection, transaction
from django.db.models.functions import Now

from escalations import (
    breakers,
    claims,
    controls,
    decisions,
    imports,
    limits,
    rehearsals,
    spends,
    starts,
    topups,
)
from escalations.audit import chain, export
from escalations.audit.filters import Filters
from escalations.expected import IllegalMove, Refusal
from escalations.models import Decision, Escalation, JournalEntry, LimitProposal, TopUpProposal
from escalations.roles import Act
from runs.engine import answers, holds, sweep
from runs.models import Account, Breaker, Call, Control, Limit, Question, Run, TopUp
from tests import factories
from tests.budgets import parked as budgets
from tests.deploys import flows as deploys
from tests.factories import at_once, journal, shown
from tests.limits import setting
from tests.rehearsal import imported
from tests.runs import flows
from tests.verify import flows as verifying

pytestmark = pytest.mark.django_db(transaction=True)


@contextlib.contextmanager
def journal_refuses() -> Iterator[None]:
    """No entry can be written."""
    with connection.cursor() as cursor:
        cursor.execute(
            "ALTER TABLE escalations_journalentry ADD CONSTRAINT full_up CHECK (seq < 0) NOT VALID"
        )
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE escalations_journalentry DROP CONSTRAINT full_up")


def state_of_the_world() -> dict[str, Any]:
    return {
        "runs": list(Run.objects.order_by("pk").values("pk", "state", "hold", "due_at", "event_seq")),
        "questions": list(
            Question.objects.order_by("pk").values("pk", "state", "verb", "answer", "answered_by")
        ),
        "escalations": list(Escalation.objects.order_by("pk").values()),
        "decisions": Decision.objects.count(),
        "controls": list(Control.objects.order_by("pk").values("pk", "released_at", "released_by")),
        "limits": list(Limit.objects.order_by("pk").values()),
        "proposals": list(LimitProposal.objects.order_by("pk").values()),
        "accounts": list(Account.objects.order_by("pk").values()),
        "top-ups": [list(kind.objects.order_by("pk").values()) for kind in (TopUp, TopUpProposal)],
        "breakers": list(Breaker.objects.order_by("pk").values()),
    }


def acts(actor: User) -> dict[Act, Callable[[], Any]]:
    """Every act there is, each ready to be done."""
    stopped = factories.advanced(factories.started("writing", plan="broken"))
    control = controls.engage(actor=actor, kind="stop", scope_kind="run", scope=str(stopped.pk))
    controls.release(actor=actor, control_id=control.pk, reason="so that it can be resumed")
    pause = controls.engage(actor=actor, kind="pause", scope_kind="workflow", scope="plain")
    stop = controls.engage(actor=actor, kind="stop", scope_kind="workflow", scope="plain")
    edited, taken, other = factories.approval(), factories.approval(), factories.approval()
    claims.take(actor=actor, escalation_id=taken.pk)
    held_by_other = factories.approval()
    claims.take(actor=factories.person("other", "operator"), escalation_id=held_by_other.pk)
    approved, rejected, answered = factories.approval(), factories.approval(), factories.approval()
    doubted, gone = factories.doubted(), deploys.without_its_version()
    believed, dropped = verifying.doubted(), verifying.doubted()
    order = {"text": "a", "plan": "well", "amount": 1}
    return {
        Act.APPROVE: lambda: decisions.approve(actor=actor, **shown(approved)),
        Act.EDIT: lambda: decisions.edit(actor=actor, value={"amount": "7"}, **shown(edited)),
        Act.REJECT: lambda: decisions.reject(actor=actor, reason="no", **shown(rejected)),
        Act.RESPOND: lambda: decisions.respond(actor=actor, text="words", **shown(answered)),
        Act.MIGRATE: lambda: _migrate(actor, gone),
        Act.CONFIRM: lambda: decisions.confirm(actor=actor, numbers=[2], reason="seen", **shown(believed)),
        Act.DROP: lambda: decisions.drop(actor=actor, **shown(dropped)),
        Act.LOOK: lambda: decisions.look(actor=actor, **shown(doubted)),
        Act.TAKE: lambda: claims.take(actor=actor, escalation_id=other.pk),
        Act.GIVE_BACK: lambda: claims.release(actor=actor, escalation_id=taken.pk),
        Act.TAKE_OVER: lambda: claims.take(actor=actor, escalation_id=held_by_other.pk),
        Act.PAUSE: lambda: controls.engage(actor=actor, kind="pause", scope_kind="workflow", scope="paying"),
        Act.STOP: lambda: controls.engage(actor=actor, kind="stop", scope_kind="workflow", scope="paying"),
        Act.RELEASE_PAUSE: lambda: controls.release(actor=actor, control_id=pause.pk, reason="go on"),
        Act.RELEASE_STOP: lambda: controls.release(actor=actor, control_id=stop.pk, reason="go on"),
        Act.RESUME: lambda: controls.resume(actor=actor, run_id=stopped.pk, reason="go on"),
        Act.START: lambda: starts.start_run(
            actor=actor, workflow="writing", raw_input=order, start_key="audited"
        ),
        Act.EXPORT: lambda: export.export(actor=actor, filters=Filters()),
        **_on_limits(actor),
        **_on_budgets(actor),
        **_on_breakers(actor),
    }


def _on_limits(actor: User) -> dict[Act, Callable[[], Any]]:
    other = factories.person("second", "admin")
    imports.keep(actor=other, name="theirs", runs=[imported.one()])
    lowered, over, raised, agreed, declined = (
        setting.made(actor, what=what, mode=mode)
        for what, mode in (
            ("turns/run", "enforce"),
            ("turns/run", "warn"),
            ("model_calls/run", "enforce"),
            ("tool_calls/run", "enforce"),
            ("retries/run", "enforce"),
        )
    )
    mine, theirs = (
        setting.change(other, number, "why", value="9000").proposal for number in (agreed, declined)
    )
    return {
        Act.SET_LIMIT: lambda: setting.made(actor, what="cost/day", value="$5"),
        Act.REHEARSE_LIMIT: lambda: rehearsals.ask(actor=actor, given=setting.TURNS),
        Act.KEEP_TRACES: lambda: imports.keep(actor=actor, name="ours", runs=[imported.one()]),
        Act.FORGET_TRACES: lambda: imports.forget(actor=actor, name="theirs"),
        Act.CHANGE_LIMIT: lambda: setting.change(actor, lowered, value="3"),
        Act.END_LIMIT: lambda: limits.end(actor=actor, line=over, seen=setting.seen(over), reason="why"),
        Act.PROPOSE_LIMIT: lambda: setting.change(actor, raised, "why", value="9000"),
        Act.AGREE_LIMIT: lambda: limits.agree(actor=actor, proposal_id=mine.pk, digest=mine.digest),
        Act.DECLINE_LIMIT: lambda: limits.decline(actor=actor, proposal_id=theirs.pk),
    }


def _on_budgets(actor: User) -> dict[Act, Callable[[], Any]]:
    budgets.limited(actor, "model_calls/run", scope="workflow:paying")
    budgets.limited(actor, "cost/day", "10", scope="workflow:paying")
    others = User.objects.get(username="second")
    answered, proposed, agreed, declined = (budgets.parked() for _ in range(4))
    mine, theirs = (_proposed_top_up(others, card) for card in (agreed, declined))
    account = Account.objects.get(kind="cost").pk
    call = Call.objects.filter(kind="model", run=answered.run).order_by("pk")[0]
    Call.objects.filter(pk=call.pk).update(reserved=[[account, 0]], state="unknown")
    added: dict[str, Any] = {"account_id": account, "amount": "1", "reason": "tonight"}
    return {
        Act.TOP_UP: lambda: budgets.top_up(actor, answered),
        Act.PROPOSE_TOP_UP: lambda: budgets.top_up(actor, proposed, "9000"),
        Act.AGREE_TOP_UP: lambda: topups.agree(actor=actor, proposal_id=mine.pk, digest=mine.digest),
        Act.DECLINE_TOP_UP: lambda: topups.decline(actor=actor, proposal_id=theirs.pk),
        Act.TOP_UP_BUDGET: lambda: topups.top_up_budget(actor=actor, **added),
        Act.BOOK: lambda: spends.book(actor=actor, call_id=call.pk, amount="", reason="their invoice"),
    }


def _proposed_top_up(by: User, card: Escalation) -> TopUpProposal:
    budgets.top_up(by, card, "9000")
    return TopUpProposal.objects.latest("pk")


def _on_breakers(actor: User) -> dict[Act, Callable[[], Any]]:
    other = User.objects.get(username="second")
    breakers.force(actor=other, kind="agent", name="payer", to=breakers.OPEN, reason="it invents")
    return {
        Act.OPEN_BREAKER: lambda: breakers.force(
            actor=actor, kind="tool", name="cashbox.pay", to=breakers.OPEN
        ),
        Act.CLOSE_BREAKER: lambda: breakers.force(
            actor=actor, kind="agent", name="writer", to=breakers.CLOSED, reason="it is mended"
        ),
        Act.FREE_BREAKER: lambda: breakers.force(
            actor=actor, kind="agent", name="payer", to=breakers.FREE, reason="it is mended"
        ),
    }


def _migrate(actor: User, gone: Escalation) -> Decision:
    with deploys.installed(deploys.TWO):
        return decisions.migrate(actor=actor, place=deploys.suggested(gone.run), **shown(gone))


def test_no_act_happens_without_its_entry_and_every_act_has_exactly_one(admin: User) -> None:
    prepared = acts(admin)
    assert set(prepared) == set(Act) - {Act.READ}
    before = state_of_the_world()
    with journal_refuses():
        for name, act in prepared.items():
            with pytest.raises(Error):
                act()
            assert state_of_the_world() == before, f"{name} happened without an entry"
    for name, act in prepared.items():
        head = JournalEntry.objects.count()
        act()
        new = [entry for entry in journal(seq__gt=head) if entry.actor_id == admin.pk]
        assert [(entry.act, entry.outcome, entry.actor_name) for entry in new] == [
            (name, "done", "Ines Okafor")
        ]
    assert chain.verify() is None


def test_a_question_without_an_entry_is_not_asked(operator: User) -> None:
    with journal_refuses():
        run = factories.started("paying", amount=500)
        with pytest.raises(Error):
            factories.advanced(run)
    assert not Question.objects.exists()
    Run.objects.filter(pk=run.pk).update(lease_until=Now(), due_at=Now())
    assert factories.escalation_of(factories.advanced(run)).state == "open"


def test_what_was_changed_behind_the_seal_is_not_approved(operator: User) -> None:
    """The row was changed after it was shown, by whoever can write to the table; the digest beside it was not."""
    escalation = factories.approval(amount=500)
    seen = shown(escalation)
    question = Question.objects.get(pk=escalation.question_id)
    question.action["arguments"]["amount"] = 5000
    question.save()
    with pytest.raises(IllegalMove):
        decisions.approve(actor=operator, **seen)
    factories.advanced(Run.objects.get(pk=escalation.run_id))
    assert flows.CASHBOX.paid == []
    assert decisions.reject(actor=operator, reason="It is not what it was.", **seen)


def test_evidence_that_was_changed_behind_the_seal_approves_nothing(operator: User) -> None:
    escalation = factories.approval(amount=500)
    Question.objects.filter(pk=escalation.question_id).update(evidence=[])
    with pytest.raises(IllegalMove):
        decisions.approve(actor=operator, **shown(escalation))


def test_an_edit_does_not_seal_what_was_changed_behind_the_seal(operator: User) -> None:
    escalation = factories.approval(amount=500)
    Question.objects.filter(pk=escalation.question_id).update(evidence=[])
    with pytest.raises(IllegalMove):
        decisions.edit(actor=operator, value={"amount": "7"}, **shown(escalation))


def test_a_draft_that_was_changed_behind_the_seal_is_not_approved(operator: User) -> None:
    escalation = factories.approval(amount=500)
    edited = decisions.edit(actor=operator, value={"amount": "7"}, **shown(escalation))
    assert edited.draft is not None
    Escalation.objects.filter(pk=edited.pk).update(
        draft={**edited.draft, "arguments": {"amount": 9, "note": ""}}
    )
    with pytest.raises(IllegalMove):
        decisions.approve(actor=operator, **shown(escalation))


def test_an_answer_that_was_changed_before_the_run_took_it_pays_nothing(operator: User) -> None:
    escalation = factories.approval(amount=500)
    decisions.approve(actor=operator, **shown(escalation))
    question = Question.objects.get(pk=escalation.question_id)
    question.answer["arguments"]["amount"] = 5000
    question.save()
    factories.advanced(Run.objects.get(pk=escalation.run_id))
    assert flows.CASHBOX.paid == []


def test_an_approval_serves_no_other_run_of_the_same_action(operator: User) -> None:
    mine, other = factories.approval(amount=500), factories.approval(amount=500)
    decisions.approve(actor=operator, **shown(mine))
    given = Question.objects.get(pk=mine.question_id)
    Question.objects.filter(pk=other.question_id).update(
        state="answered", verb="approve", answer=given.answer, answer_digest="f" * 64
    )
    Run.objects.filter(pk=other.run_id).update(state="ready", due_at=Now())
    factories.advanced(Run.objects.get(pk=other.run_id))
    assert flows.CASHBOX.paid == []


def test_of_an_approval_and_its_deadline_exactly_one_happens(operator: User) -> None:
    for _ in range(6):
        escalation = factories.approval()
        Question.objects.filter(pk=escalation.question_id).update(expires_at=Now() + timedelta(seconds=0.05))
        seen = shown(escalation)
        results = at_once(
            partial(decisions.approve, actor=operator, **seen),
            *[partial(_expire_soon, escalation.question_id)] * 3,
        )
        fresh = Escalation.objects.get(pk=escalation.pk)
        lives = journal(escalation_id=escalation.pk, outcome="done")
        endings = [entry.act for entry in lives if entry.act in ("approve", "escalation expired")]
        won = isinstance(results[0], Decision)
        assert won or isinstance(results[0], Refusal)
        assert endings == (["approve"] if won else ["escalation expired"])
        assert fresh.state == ("decided" if won else "expired")


def _expire_soon(question_id: int) -> None:
    for _ in range(40):
        with transaction.atomic():
            if Question.objects.get(pk=question_id).state != "open":
                return
        answers.expire(question_id)


def test_the_sweep_that_denies_ten_thousand_does_not_keep_a_stop_from_being_marked(
    operator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Marking goes on for a while each sweep, not one batch."""
    for _ in range(5):
        factories.started("plain")
    original = holds.mark
    monkeypatch.setattr(holds, "mark", lambda control_id: original(control_id, limit=1))
    monkeypatch.setattr(controls, "_for_a_while", lambda turn: None)
    controls.engage(actor=operator, kind="stop", scope_kind="everything")
    assert Run.objects.filter(hold="stop").count() == 0
    assert sweep.mark_controls() == 0
    assert Run.objects.filter(hold="stop").count() == 5
    for run in Run.objects.all():
        assert list(run.events.order_by("seq").values_list("seq", flat=True)) == list(
            range(1, run.event_seq + 1)
        )
        assert run.events.get(kind="held").data["by"] == "Marta Oliveira"
