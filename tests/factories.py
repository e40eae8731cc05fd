"""People, and runs that ask one of them: made through the engine, not by writing rows. Small on purpose."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from functools import cache
from typing import Any

from django.contrib.auth.models import Group, User
from django.db import connection, transaction

from escalations.models import Escalation, JournalEntry
from runs.engine import starts
from runs.engine.advance import advance
from runs.engine.worker.runtime import Runtime
from runs.models import Question, Run
from tests.runs import flows


def person(username: str, *roles: str, full_name: str = "", password: str | None = None) -> User:
    """Somebody with these roles. Without a password only `force_login` signs in."""
    first, _, last = full_name.partition(" ")
    made = User.objects.create_user(username, password=password, first_name=first, last_name=last)
    for role in roles:
        made.groups.add(Group.objects.get_or_create(name=role)[0])
    return made


@cache
def runtime() -> Runtime:
    """A worker inside this process; its heart does not beat."""
    return Runtime("test-worker", "agents")


def started(workflow: str = "plain", **order: Any) -> Run:
    """A new run of one of the tests' workflows, which nobody has looked at yet."""
    with transaction.atomic():
        return starts.start(workflow, order, start_key=uuid.uuid4().hex, by="test").run


def advanced(run: Run) -> Run:
    """The run after a worker has advanced it as far as it goes."""
    for _ in range(10):
        if advance(run.pk, runtime()).why != "later":
            break
    return Run.objects.get(pk=run.pk)


def approval(amount: int = 500, **order: Any) -> Escalation:
    """A run that wants to pay more than it may without asking."""
    return escalation_of(advanced(started("paying", amount=amount, **order)))


def broken_contract() -> Escalation:
    """A run whose agent's output broke its contract twice."""
    return escalation_of(advanced(started("writing", plan="broken")))


def unforeseen_error() -> Escalation:
    return escalation_of(advanced(started("writing", plan="crash")))


def unknown_effect(workflow: str = "paying") -> Escalation:
    """A run whose payment left, and nobody knows how it ended."""
    flows.CASHBOX.break_after_send = 1
    return escalation_of(advanced(started(workflow, amount=50)))


def doubted() -> Escalation:
    """The same, of a tool that can look and cannot be sure at first; later it can."""
    flows.CASHBOX.blind = "the bank answers 503"
    try:
        return unknown_effect("paying_looks")
    finally:
        flows.CASHBOX.blind = ""


def escalation_of(run: Run) -> Escalation:
    return Escalation.objects.select_related("question", "run", "team").get(run=run, state="open")


def shown(escalation: Escalation) -> dict[str, Any]:
    """What a form sends back of what its page showed."""
    fresh = Escalation.objects.get(pk=escalation.pk)
    return {"escalation_id": fresh.pk, "version": fresh.version, "digest": fresh.digest}


def journal(**wanted: Any) -> list[JournalEntry]:
    return list(JournalEntry.objects.filter(**wanted).order_by("seq"))


def question_of(escalation: Escalation) -> Question:
    return Question.objects.get(pk=escalation.question_id)


def at_once(*acts: Callable[[], Any]) -> list[Any]:
    """Do all of it at the same moment, each in a thread of its own; what each returned or raised."""
    barrier = threading.Barrier(len(acts))
    results: list[Any] = [None] * len(acts)

    def perform(place: int, act: Callable[[], Any]) -> None:
        try:
            barrier.wait()
            results[place] = act()
        except Exception as error:
            results[place] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=perform, args=(place, act)) for place, act in enumerate(acts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "an act did not end within a minute"
    return results
