"""Every act by every actor, against the one table; what is refused changes nothing and is on record."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.db import connection

import escalations
from escalations import (
    breakers,
    claims,
    controls,
    decisions,
    enforcing,
    imports,
    limits,
    rehearsals,
    roles,
    spends,
    starts,
    topups,
)
from escalations.audit import export
from escalations.audit.filters import Filters
from escalations.expected import NotAllowed
from escalations.models import Decision, Escalation, LimitProposal, TopUpProposal
from escalations.roles import TABLE, Act, Actor, Role, System
from runs.models import Account, Breaker, Call, Control, Limit, Run, TopUp
from runs.recorded.toolsets import Toolsets
from runs.recorded.trace import read
from tests import factories
from tests.budgets import parked as budgets
from tests.deploys import flows as deploys
from tests.factories import approval, journal, shown
from tests.limits import setting
from tests.recorded import traces
from tests.rehearsal import imported as recorded_runs
from tests.verify import flows as verifying

pytestmark = pytest.mark.django_db(transaction=True)

Attempt = Callable[[Actor], object]


def _approve() -> Attempt:
    escalation = approval()
    return lambda actor: decisions.approve(actor=actor, **shown(escalation))


def _edit() -> Attempt:
    escalation = approval()
    return lambda actor: decisions.edit(actor=actor, **shown(escalation), value={"amount": 7})


def _reject() -> Attempt:
    escalation = approval()
    return lambda actor: decisions.reject(actor=actor, **shown(escalation), reason="no")


def _respond() -> Attempt:
    escalation = approval()
    return lambda actor: decisions.respond(actor=actor, **shown(escalation), text="no")


def _look() -> Attempt:
    escalation = factories.doubted()
    return lambda actor: decisions.look(actor=actor, **shown(escalation))


def _migrate() -> Attempt:
    escalation = deploys.without_its_version()

    def attempt(actor: Actor) -> object:
        with deploys.installed(deploys.TWO):
            place = deploys.suggested(escalation.run)
            return decisions.migrate(actor=actor, place=place, **shown(escalation))

    return attempt


def _confirm() -> Attempt:
    escalation = verifying.doubted()
    return lambda actor: decisions.confirm(actor=actor, numbers=[2], reason="I saw it.", **shown(escalation))


def _drop() -> Attempt:
    escalation = verifying.doubted()
    return lambda actor: decisions.drop(actor=actor, **shown(escalation))


def _take() -> Attempt:
    escalation = approval()
    return lambda actor: claims.take(actor=actor, escalation_id=escalation.pk)


def _give_back() -> Attempt:
    escalation = approval()

    def attempt(actor: Actor) -> object:
        holder = actor if isinstance(actor, User) else None
        Escalation.objects.filter(pk=escalation.pk).update(taken_by=holder)
        return claims.release(actor=actor, escalation_id=escalation.pk)

    return attempt


def _engage(kind: str) -> Callable[[], Attempt]:
    return lambda: lambda actor: controls.engage(actor=actor, kind=kind, scope_kind="everything")


def _engaged(kind: str, actor_run: Run | None = None) -> Control:
    boss = factories.person(f"boss-{kind}", "admin")
    return controls.engage(actor=boss, kind=kind, scope_kind="everything")


def _release(kind: str) -> Callable[[], Attempt]:
    def prepare() -> Attempt:
        control = _engaged(kind)
        return lambda actor: controls.release(actor=actor, control_id=control.pk, reason="mended")

    return prepare


def _stopped_and_released() -> tuple[Run, Control]:
    run = factories.started()
    control = _engaged("stop")
    boss = User.objects.get(username="boss-stop")
    return run, controls.release(actor=boss, control_id=control.pk, reason="mended")


def _resume() -> Attempt:
    run, _ = _stopped_and_released()
    return lambda actor: controls.resume(actor=actor, run_id=run.pk)


def _resume_all() -> Attempt:
    _, control = _stopped_and_released()
    return lambda actor: controls.resume_all(actor=actor, control_id=control.pk)


def _start() -> Attempt:
    return lambda actor: starts.start_run(
        actor=actor, workflow="plain", raw_input={"text": "a"}, start_key="k"
    )


def _take_in() -> Attempt:
    played = read(traces.conversation())
    return lambda actor: starts.take_in_recording(actor=actor, trace=played, toolsets=Toolsets(), speed=0.0)


def _export() -> Attempt:
    return lambda actor: list(export.export(actor=actor, filters=Filters()))


def _limit(**given: str) -> int:
    return setting.made(factories.person("setter", "admin"), **given)


def _set_limit() -> Attempt:
    setting.rehearsed_in_vain(setting.TURNS)
    return lambda actor: limits.set_limit(
        actor=actor, given=setting.TURNS, unrehearsed=True, reason="tonight"
    )


def _set_from_the_page() -> Attempt:
    return lambda actor: enforcing.set_limit(actor=actor, given=setting.TURNS | {"mode": "warn"}, days=30)


def _change_from_the_page() -> Attempt:
    number = _limit()
    given, seen = {"value": "3", "mode": "enforce"}, setting.seen(number)
    return lambda actor: enforcing.change(actor=actor, line=number, seen=seen, given=given, days=30)


def _change_limit() -> Attempt:
    number = _limit()
    given, seen = {"value": "3", "mode": "enforce"}, setting.seen(number)
    return lambda actor: limits.change(actor=actor, line=number, seen=seen, given=given)


def _end_limit() -> Attempt:
    number = _limit(mode="warn")
    seen = setting.seen(number)
    return lambda actor: limits.end(actor=actor, line=number, seen=seen, reason="too loud")


def _proposed() -> LimitProposal:
    number = _limit()
    setting.change(User.objects.get(username="setter"), number, "why", value="9000")
    return LimitProposal.objects.get()


def _agree() -> Attempt:
    proposal = _proposed()
    return lambda actor: limits.agree(actor=actor, proposal_id=proposal.pk, digest=proposal.digest)


def _decline() -> Attempt:
    proposal = _proposed()
    return lambda actor: limits.decline(actor=actor, proposal_id=proposal.pk)


def _rehearse() -> Attempt:
    return lambda actor: rehearsals.ask(actor=actor, given=setting.TURNS)


def _rehearse_to_the_end() -> Attempt:
    return lambda actor: rehearsals.wait_for(actor=actor, given=setting.TURNS)


def _keep_traces() -> Attempt:
    return lambda actor: imports.keep(actor=actor, name="theirs", runs=[recorded_runs.one()])


def _forget_traces() -> Attempt:
    imports.keep(actor=System(name="command line"), name="theirs", runs=[recorded_runs.one()])
    return lambda actor: imports.forget(actor=actor, name="theirs")


def _top_up() -> Attempt:
    card = _parked()
    return lambda actor: budgets.top_up(actor, card)


def _parked() -> Escalation:
    budgets.limited(factories.person("setter", "admin"))
    return budgets.parked()


def _account() -> int:
    budgets.limited(factories.person("setter", "admin"), "cost/day", "10")
    budgets.ran()
    return Account.objects.get(kind="cost").pk


def _top_up_budget() -> Attempt:
    account = _account()
    return lambda actor: topups.top_up_budget(actor=actor, account_id=account, amount="1", reason="tonight")


def _proposed_top_up() -> TopUpProposal:
    card = _parked()
    budgets.top_up(User.objects.get(username="setter"), card, "9000")
    return TopUpProposal.objects.get()


def _agree_top_up() -> Attempt:
    proposal = _proposed_top_up()
    return lambda actor: topups.agree(actor=actor, proposal_id=proposal.pk, digest=proposal.digest)


def _decline_top_up() -> Attempt:
    proposal = _proposed_top_up()

    def attempt(actor: Actor) -> object:
        if isinstance(actor, User):
            TopUpProposal.objects.update(by=actor)  # one's own, or an admin's to decline
        return topups.decline(actor=actor, proposal_id=proposal.pk)

    return attempt


def _book() -> Attempt:
    _account()
    call = Call.objects.filter(kind="model").order_by("pk")[0]
    Call.objects.filter(pk=call.pk).update(reserved=[[Account.objects.get().pk, 0]], state="unknown")
    return lambda actor: spends.book(actor=actor, call_id=call.pk, amount="", reason="their invoice")


def _force(to: str) -> Callable[[], Attempt]:
    """FREE: from forced open."""

    def prepare() -> Attempt:
        asked: dict[str, Any] = {"kind": "tool", "name": "cashbox.pay", "to": to, "reason": "it is mended"}
        if to == breakers.FREE:
            setter = factories.person("setter", "admin")
            breakers.force(**asked | {"actor": setter, "to": breakers.OPEN})
        return lambda actor: breakers.force(actor=actor, **asked)

    return prepare


ATTEMPTS: dict[str, tuple[Act, Callable[[], Attempt]]] = {
    "decisions.approve": (Act.APPROVE, _approve),
    "decisions.edit": (Act.EDIT, _edit),
    "decisions.reject": (Act.REJECT, _reject),
    "decisions.respond": (Act.RESPOND, _respond),
    "decisions.look": (Act.LOOK, _look),
    "decisions.migrate": (Act.MIGRATE, _migrate),
    "decisions.confirm": (Act.CONFIRM, _confirm),
    "decisions.drop": (Act.DROP, _drop),
    "claims.take": (Act.TAKE, _take),
    "claims.release": (Act.GIVE_BACK, _give_back),
    "controls.engage pause": (Act.PAUSE, _engage("pause")),
    "controls.engage stop": (Act.STOP, _engage("stop")),
    "controls.release pause": (Act.RELEASE_PAUSE, _release("pause")),
    "controls.release stop": (Act.RELEASE_STOP, _release("stop")),
    "controls.resume": (Act.RESUME, _resume),
    "controls.resume_all": (Act.RESUME, _resume_all),
    "starts.start_run": (Act.START, _start),
    "starts.take_in_recording": (Act.START, _take_in),
    "audit.export.export": (Act.EXPORT, _export),
    "enforcing._set": (Act.SET_LIMIT, _set_from_the_page),
    "enforcing._change": (Act.CHANGE_LIMIT, _change_from_the_page),
    "limits.set_limit": (Act.SET_LIMIT, _set_limit),
    "limits.change": (Act.CHANGE_LIMIT, _change_limit),
    "limits.end": (Act.END_LIMIT, _end_limit),
    "limits.agree": (Act.AGREE_LIMIT, _agree),
    "limits.decline": (Act.DECLINE_LIMIT, _decline),
    "rehearsals.ask": (Act.REHEARSE_LIMIT, _rehearse),
    "rehearsals.wait_for": (Act.REHEARSE_LIMIT, _rehearse_to_the_end),
    "imports.keep": (Act.KEEP_TRACES, _keep_traces),
    "imports.forget": (Act.FORGET_TRACES, _forget_traces),
    "topups.top_up": (Act.TOP_UP, _top_up),
    "topups.top_up_budget": (Act.TOP_UP_BUDGET, _top_up_budget),
    "topups.agree": (Act.AGREE_TOP_UP, _agree_top_up),
    "topups.decline": (Act.DECLINE_TOP_UP, _decline_top_up),
    "spends.book": (Act.BOOK, _book),
    "breakers.force open": (Act.OPEN_BREAKER, _force(breakers.OPEN)),
    "breakers.force closed": (Act.CLOSE_BREAKER, _force(breakers.CLOSED)),
    "breakers.force free": (Act.FREE_BREAKER, _force(breakers.FREE)),
}

ACTORS: dict[str, tuple[Callable[[str], Actor], frozenset[Role]]] = {
    "operator": (lambda name: factories.person(name, "operator"), frozenset({Role.OPERATOR})),
    "admin": (lambda name: factories.person(name, "admin"), frozenset({Role.ADMIN})),
    "auditor": (lambda name: factories.person(name, "auditor"), frozenset({Role.AUDITOR})),
    "operator and auditor": (
        lambda name: factories.person(name, "operator", "auditor"),
        frozenset({Role.OPERATOR, Role.AUDITOR}),
    ),
    "outsider": (lambda name: factories.person(name), frozenset()),
    "somebody in another group": (lambda name: factories.person(name, "gardeners"), frozenset()),
    "anonymous": (lambda name: AnonymousUser(), frozenset()),
    "deactivated admin": (lambda name: _deactivated(name), frozenset()),
    "superuser": (lambda name: User.objects.create_superuser(name), frozenset({Role.ADMIN})),
    "command line": (lambda name: System(name="command line"), frozenset({Role.SYSTEM})),
}


def _deactivated(name: str) -> User:
    person = factories.person(name, "admin")
    User.objects.filter(pk=person.pk).update(is_active=False)  # the object at hand still says active
    return person


def _may(attempt_name: str, actor_kind: str) -> bool:
    act, _ = ATTEMPTS[attempt_name]
    _, its_roles = ACTORS[actor_kind]
    return bool(TABLE[act] & its_roles)


@pytest.mark.parametrize(
    ("attempt_name", "actor_kind"),
    [(attempt, actor) for attempt in ATTEMPTS for actor in ACTORS if _may(attempt, actor)],
)
def test_an_act_is_done_by_those_the_table_names(attempt_name: str, actor_kind: str) -> None:
    act, prepare = ATTEMPTS[attempt_name]
    make_actor, _ = ACTORS[actor_kind]
    actor, attempt = make_actor("p"), prepare()
    attempt(actor)
    assert journal()[-1].act == act
    assert journal()[-1].outcome == "done"


@pytest.mark.parametrize("attempt_name", ATTEMPTS)
def test_an_act_is_done_by_nobody_else(attempt_name: str) -> None:
    """All of them in one world: each finds it as it was made, because the one before has changed nothing."""
    act, prepare = ATTEMPTS[attempt_name]
    others = [kind for kind in ACTORS if not _may(attempt_name, kind)]
    assert others
    attempt = prepare()
    for kind in others:
        make_actor, _ = ACTORS[kind]
        _refused(act, attempt, make_actor(f"the {kind}"), kind)


def _refused(act: Act, attempt: Attempt, actor: Actor, kind: str) -> None:
    before = _world()
    entries = len(journal())
    try:
        attempt(actor)
    except NotAllowed as refused:
        sentence = refused.sentence
    else:
        pytest.fail(f"not refused: {kind}")
    assert _world() == before, kind
    (entry,) = journal()[entries:]
    assert (entry.act, entry.outcome, entry.actor_name) == (act, "refused", roles.name_of(actor)), kind
    assert sentence in entry.body.encode().decode(), kind


def _world() -> list[object]:
    """Everything an act may change, claims left out (the attempt to release one makes one)."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM runs_question WHERE state = 'open'")
        open_questions = cursor.fetchone()
    return [
        open_questions,
        list(Escalation.objects.order_by("pk").values("state", "version", "digest", "draft")),
        list(Control.objects.order_by("pk").values("pk", "released_at")),
        list(Run.objects.order_by("pk").values("pk", "state", "hold", "event_seq")),
        Decision.objects.count(),
        list(Limit.objects.order_by("pk").values("pk", "valid_until", "ended_by")),
        list(LimitProposal.objects.order_by("pk").values("pk", "state")),
        list(TopUpProposal.objects.order_by("pk").values("pk", "state")),
        list(TopUp.objects.order_by("pk").values("pk", "amount")),
        list(Breaker.objects.order_by("pk").values("pk", "forced")),
        Call.objects.filter(reserved__isnull=False).count(),
    ]


def test_every_act_of_the_package_is_tried_above() -> None:
    assert {name.split(" ")[0] for name in ATTEMPTS} == set(_acts())


def _acts() -> Iterator[str]:
    """The functions decorated with @recorded, found in the source."""
    folder = Path(escalations.__file__).parent
    for path in sorted(folder.rglob("*.py")):
        module = ".".join(path.relative_to(folder).with_suffix("").parts)
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and any(_is_recorded(one) for one in node.decorator_list):
                yield f"{module}.{node.name}"


def _is_recorded(decorator: ast.expr) -> bool:
    return isinstance(decorator, ast.Call) and getattr(decorator.func, "id", "") == "recorded"


def test_the_table_has_a_line_for_every_act_and_auditors_only_read() -> None:
    assert set(TABLE) == set(Act)
    assert {act for act, may in TABLE.items() if Role.AUDITOR in may} == {Act.READ, Act.EXPORT}


def test_buttons_are_shown_by_the_same_table(operator: User, auditor: User, outsider: User) -> None:
    for actor, its_roles in ((operator, {Role.OPERATOR}), (auditor, {Role.AUDITOR}), (outsider, set())):
        assert roles.roles_of(actor) == its_roles
        assert {act for act in Act if roles.allowed(actor, act)} == {
            act for act, may in TABLE.items() if may & its_roles
        }
    assert roles.allowed(operator, "approve")


def test_a_role_taken_away_counts_at_the_next_act(operator: User) -> None:
    assert roles.allowed(operator, Act.APPROVE)
    operator.groups.clear()
    assert not roles.allowed(operator, Act.APPROVE)


def test_the_refusal_says_who_has_what_and_what_is_needed(auditor: User) -> None:
    with pytest.raises(NotAllowed) as refused:
        controls.engage(actor=auditor, kind="stop", scope_kind="everything")
    assert refused.value.sentence == (
        "Tomasz Nowak (auditor) may not engage stop: it needs admin or operator."
    )
