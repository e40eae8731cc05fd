"""A database that is away, and a defect in one of our own functions: the first passes, the second asks a person.

Real functions are broken in the real database, by a variable that nobody assigned: PostgreSQL calls it 55000, and
Django an OperationalError.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from django.db import InterfaceError, OperationalError, ProgrammingError, connection
from psycopg import errors

from runs.engine import sweep
from runs.engine.away import away
from runs.engine.worker.runtime import Runtime
from runs.models import Attempt, Question, Run, RunState
from tests.runs.conftest import advanced, answered, start

pytestmark = pytest.mark.django_db(transaction=True)
BODY = re.compile(r"AS \$function\$.*\$function\$", re.DOTALL)
BROKEN = "AS $function$ DECLARE nobody record; BEGIN PERFORM nobody.assigned; END $function$"


@contextmanager
def broken(function: str) -> Iterator[None]:
    """One of our functions, with a defect for a while."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_get_functiondef(oid) FROM pg_proc WHERE proname = %s", [function])
        ((good,),) = cursor.fetchall()
        cursor.execute(BODY.sub(BROKEN, good))
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(good)


def raised(state: str | None) -> OperationalError:
    """As Django raises it, of the class that psycopg has for this state."""
    error = OperationalError("said by the server")
    error.__cause__ = errors.lookup(state)() if state else psycopg.OperationalError("connection lost")
    assert isinstance(error.__cause__, psycopg.OperationalError)
    return error


@pytest.mark.parametrize(
    "state", [None, "08006", "57P01", "57P03", "57014", "53300", "53100", "40P01", "55P03", "55006"]
)
def test_what_passes_by_itself_is_away(state: str | None) -> None:
    assert away(raised(state))


@pytest.mark.parametrize("state", ["55000", "54001", "54000"])
def test_what_comes_again_every_time_is_a_defect(state: str) -> None:
    assert not away(raised(state))


def test_other_errors_are_told_apart_by_their_class() -> None:
    assert away(InterfaceError("the connection is closed"))
    assert away(OperationalError("no room in the pool"))
    assert not away(ProgrammingError("no such column"))
    assert not away(ValueError("55P03"))


def test_the_defect_of_these_tests_is_what_django_takes_for_a_lost_connection() -> None:
    called = f"SELECT runs_take_up({', '.join(['NULL'] * arguments('runs_take_up'))})"
    with broken("runs_take_up"), connection.cursor() as cursor, pytest.raises(OperationalError) as found:
        cursor.execute(called)
    assert getattr(found.value.__cause__, "sqlstate", "") == "55000"


def arguments(function: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pronargs FROM pg_proc WHERE proname = %s", [function])
        ((number,),) = cursor.fetchall()
    return int(number)


def test_a_defect_where_runs_are_claimed_asks_a_person_who_lets_it_go_on_once_it_is_mended(
    runtime: Runtime,
) -> None:
    run = start("plain", text="hello")
    with broken("runs_begin"):
        run = advanced(run, runtime)
        question = asked(run)
        assert "assigned" in question.title
        assert run.pk not in sweep.due()
    answered(run, "approve")
    assert advanced(run, runtime).state == RunState.DONE


def test_a_defect_where_a_step_is_settled_costs_the_short_way_only(runtime: Runtime) -> None:
    run = start("plain", text="hello")
    with broken("runs_hand_on"):
        run = advanced(run, runtime)
    assert run.state == RunState.DONE
    assert {one.number for one in Attempt.objects.filter(step__run=run)} == {1}  # nothing was done twice


def test_a_defect_in_a_permit_is_an_error_of_its_step_and_asks_a_person(runtime: Runtime) -> None:
    run = start("writing", text="hello")
    with broken("runs_permit"):
        run = advanced(run, runtime)
        question = asked(run)
    attempt = Attempt.objects.get(step=question.step)
    assert (attempt.state, attempt.error_class) == ("failed", "unforeseen")
    answered(run, "approve")
    assert advanced(run, runtime).state == RunState.DONE


def asked(run: Run) -> Question:
    assert run.state == RunState.WAITING
    question = Question.objects.get(run=run, state="open")
    assert question.action["error_class"] == "unforeseen"
    return question
