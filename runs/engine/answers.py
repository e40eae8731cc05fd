"""A person's answer, as the engine obeys it. Who may answer, and the record of it, are the people's side."""

from __future__ import annotations

from typing import Any

from django.db import connection, transaction
from psycopg.types.json import Jsonb

from runs import live
from runs.engine import holds
from runs.engine.questions import action_digest
from runs.engine.record import announce_run, event, move_run, now, wake_run
from runs.models import Question, QuestionState, Run, RunState
from runs.signals import question_closed

_DUE = ["state", "due_at", "event_seq"]
# An answer, its event and its run made due, in one message: somebody waits for what comes of it. The notice reaches
# every agent worker with the commit itself: whoever has a free thread looks at once; the hint finds the run taken.
_ANSWER = """
    WITH moment AS MATERIALIZED (SELECT clock_timestamp() AS at),
    answered AS (
        UPDATE runs_question SET state = 'answered', verb = %(verb)s, answer = %(answer)s::jsonb,
            answer_digest = %(digest)s, answer_text = %(text)s, answered_by = %(by)s, answered_at = moment.at
        FROM moment WHERE id = %(question)s
    ),
    told AS (
        INSERT INTO runs_event (run_id, seq, at, kind, step_id, data)
        SELECT %(run)s, %(seq)s, moment.at, 'answered', %(step)s, %(data)s::jsonb FROM moment
    ),
    due AS (
        UPDATE runs_run SET event_seq = %(seq)s, state = %(state)s,
            due_at = CASE WHEN %(running)s THEN due_at ELSE moment.at END
        FROM moment WHERE id = %(run)s
    )
    SELECT moment.at, CASE WHEN %(speaking)s THEN pg_notify(%(channel)s, %(name)s) END FROM moment
"""


class NotOpen(Exception):
    """This question has been answered or closed already."""

    def __init__(self, question: Question) -> None:
        super().__init__(f"question {question.pk} is {question.state}")
        self.question = question


def lock(question_id: int) -> Question:
    """The question, fresh, with its run's row locked first. Raises Question.DoesNotExist."""
    run_id = Question.objects.values_list("run_id", flat=True).get(pk=question_id)
    run = Run.objects.select_for_update(no_key=True).get(pk=run_id)
    question = Question.objects.select_related("step").get(pk=question_id)
    question.run = run
    return question


def answer(
    question: Question, *, verb: str, answer: dict[str, Any] | None = None, text: str = "", by: str
) -> Question:
    """Record the answer to a locked question and make its run due. Raises NotOpen; then nothing has changed."""
    if question.state != QuestionState.OPEN:
        raise NotOpen(question)
    run = question.run
    running = (
        run.state == RunState.RUNNING
    )  # one that goes on at other steps keeps its lease: its worker looks
    if not running:
        move_run(run, RunState.READY)
    run.event_seq += 1
    question.state = QuestionState.ANSWERED
    question.verb = verb
    question.answer = answer
    question.answer_digest = action_digest(answer) if answer else ""
    question.answer_text = text
    question.answered_by = by
    question.answered_at = _answered(question, verb, running=running)
    if not running:
        run.due_at = question.answered_at
    announce_run(run)
    wake_run(run)
    return question


def _answered(question: Question, verb: str, *, running: bool) -> Any:
    """Write it down, and call the workers; when, by PostgreSQL's clock."""
    run = question.run
    values: dict[str, Any] = {
        "question": question.pk,
        "verb": str(verb),
        "answer": None if question.answer is None else Jsonb(question.answer),
        "digest": question.answer_digest,
        "text": question.answer_text,
        "by": question.answered_by,
        "run": run.pk,
        "seq": run.event_seq,
        "step": question.step_id,
        "data": Jsonb({"question": question.pk, "verb": str(verb), "by": question.answered_by}),
        "state": str(run.state),
        "running": running,
        "speaking": live.speaking(),
        "channel": live.RUNS_CHANNEL,
        "name": str(run.pk),
    }
    with connection.cursor() as cursor:
        cursor.execute(_ANSWER, values)
        return cursor.fetchone()[0]


def _make_due(run: Run, moment: Any) -> None:
    """Somebody should look at the run now. One that goes on at other steps keeps its lease: its worker looks."""
    if run.state != RunState.RUNNING:
        move_run(run, RunState.READY)
        run.due_at = moment
    run.save(update_fields=_DUE)
    announce_run(run)
    wake_run(run)
    _call_workers(run.pk)


def _call_workers(run_id: int) -> None:
    """Tell every agent worker with the commit itself: somebody waits for what comes of an answer. Whoever has a free
    thread looks at once; the hint that follows finds the run taken."""
    if live.speaking():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, %s)", [live.RUNS_CHANNEL, str(run_id)])


@transaction.atomic
def withdraw(question_id: int, why: str) -> bool:
    """Close an open question that nobody needs answered any more, and make its run due. False when it was closed
    meanwhile. `why` is what people read."""
    question = lock(question_id)
    if question.state != QuestionState.OPEN:
        return False
    moment = now()
    question.state = QuestionState.WITHDRAWN
    question.answer_text = why
    question.answered_at = moment
    question.save()
    event(question.run, "withdrawn", step=question.step, question=question.pk, why=why)
    _make_due(question.run, moment)
    question_closed.send(sender=Question, question=question)
    return True


@transaction.atomic
def expire(question_id: int) -> bool:
    """Deny an open question whose deadline has passed. False when it was answered, held or prolonged meanwhile."""
    question = lock(question_id)
    moment = now()
    if question.state != QuestionState.OPEN or question.run.hold or question.expires_at > moment:
        return False
    if holds.covering(run_id=question.run_id, workflow=question.run.workflow):
        return False  # engaged, but the run is not marked yet: its clock stands already
    question.state = QuestionState.EXPIRED
    question.answer_text = "expired: nobody answered in time"
    question.answered_at = moment
    question.save()
    event(question.run, "expired", step=question.step, question=question.pk)
    _make_due(question.run, moment)
    question_closed.send(sender=Question, question=question)
    return True
