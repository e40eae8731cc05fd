"""What tests of the refund desk share: a run through the real engine, with a person who answers everything."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from django.db import transaction

from opsconsole.shipped.refund_desk import books
from runs import bodies
from runs.engine import answers, edits, starts, verifying
from runs.engine.advance import advance
from runs.engine.worker.runtime import Runtime
from runs.models import Question, QuestionKind, Run

Answer = Callable[[Question], None]
TITLES = {
    "What the agent proposes is not what we reckoned": "proposal",
    "Nothing is due for this order": "proposal",
    "The message tries to steer who works on it": "steering",
    "The message threatens": "threat",
    "Delivered more than 45 days ago": "age",
    "The customer has had 3 refunds within 90 days": "frequent",
    "The carrier says it was delivered, the customer says it was not": "receipt",
    "Above 150.00": "amount",
    "No clause of our terms answers this question": "no_clause",
    "Our style still has something against the letter": "style",
    "The letter says what nobody has reckoned": "letter",
    "A person has decided otherwise than our terms": "decided",
    "The reply differs from the draft": "mail",
}


def started(file: str, **given: Any) -> Run:
    with transaction.atomic():
        given = {"folder": "samples", "file": file, **given}
        return starts.start("refund_desk", given, start_key=file, by="test").run


def advanced(run: Run, runtime: Runtime) -> Run:
    """The run where it rests. A busy machine aborts a permit that took too long, and the run sleeps for a second."""
    until = time.monotonic() + 30.0
    while advance(run.pk, runtime).why == "later" and time.monotonic() < until:
        time.sleep(0.05)
    return Run.objects.get(pk=run.pk)


def held(run: Run) -> list[tuple[str, Any]]:
    """What people are asked about it: what a failing test shows."""
    return [(question.kind, question.action) for question in Question.objects.filter(run=run, state="open")]


def question_of(run: Run) -> Question:
    return Question.objects.select_related("run", "step").get(run=run, state="open")


def answer(run: Run, verb: str, *, text: str = "", given: Any = None) -> None:
    with transaction.atomic():
        question = answers.lock(question_of(run).pk)
        value = given or (question.action if verb == "approve" else None)
        answers.answer(question, verb=verb, answer=value, text=text, by="Marta")


def because(question: Question) -> set[str]:
    """Where and why a person is asked, in the words of the expected file."""
    assert question.step is not None
    node = question.step.node
    if question.kind != QuestionKind.APPROVAL:
        return {f"{node}:{question.kind}"}
    failed = [check["title"] for check in question.evidence if not check["ok"]]
    return {f"{node}:{TITLES[title]}" for title in failed}


def ended(run: Run, runtime: Runtime) -> tuple[Run, set[str]]:
    """The run at its end, with a person who mends what is wrong and agrees to the rest; and why she was asked."""
    asked: set[str] = set()
    run = advanced(run, runtime)
    while run.state == "waiting":
        question = question_of(run)
        asked |= because(question)
        _mend(run, question)
        run = advanced(run, runtime)
    return run, asked


def _mend(run: Run, question: Question) -> None:
    if question.kind == QuestionKind.ERROR:
        answer(run, "reject", text="Nothing to be done")
    elif question.kind == QuestionKind.CONTRACT:
        body = question.action["value"]["body"].replace("We confirm a refund of 5000.00 EUR.", "")
        given = {**question.action["value"], "body": body, "promises": []}
        answer(run, "approve", given=edits.check(question, given))
    elif question.kind == QuestionKind.CLAIMS:
        answer(
            run, "approve", given=verifying.decided(question.action, ())
        )  # the doubtful sentences are dropped
    elif question.tool == "refunds.pay" and "pay:proposal" in because(question):
        arguments = {**question.action["arguments"], "amount": _reckoned(question)}
        answer(run, "approve", given=edits.check(question, arguments))
    else:
        answer(run, "approve")


def _reckoned(question: Question) -> str:
    details = {name: value for check in question.evidence for name, value in check["details"]}
    return str(details["Amount"]).rpartition("reckoned ")[2]


def output_of(run: Run) -> dict[str, Any]:
    assert run.output is not None
    output: dict[str, Any] = bodies.load(run.output)
    return output


def refunded() -> dict[str, str]:
    return {entry.content.order: str(entry.content.amount) for entry in books.refunds().entries()}
