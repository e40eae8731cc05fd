"""What a parked step waits for, and the answer the engine obeys. The ticket round it lives in `escalations`."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import Case, F, Q, Value, When
from django.db.models.functions import Now

from runs.definitions import Effect


class QuestionKind(models.TextChoices):
    APPROVAL = "approval", "Approval"  # an effect needs a person's agreement
    CONTRACT = "contract", "Contract broken"  # an output does not meet its contract
    CLAIMS = "claims", "Claims to verify"  # a verify step found claims that do not stand
    ERROR = "error", "Error"  # the error policy, or nobody, foresaw it
    UNKNOWN = "unknown", "This may have happened"  # an effect's outcome is not known
    LIMIT = "limit", "Limit reached"  # a cap is used up, and more of it is a person's to give
    MISSING = "missing", "Definition missing"  # the version the run started with is gone


class QuestionState(models.TextChoices):
    OPEN = "open", "open"
    ANSWERED = "answered", "answered"
    EXPIRED = "expired", "expired"  # denied by the deadline
    WITHDRAWN = "withdrawn", "withdrawn"  # its run ended otherwise


class Verb(models.TextChoices):
    APPROVE = "approve", "approve"
    REJECT = "reject", "reject"
    RESPOND = "respond", "respond"
    LOOK = "look", "look again"  # the tool looks at what may have happened
    TOP_UP = "top up", "top up"  # allow more than a limit does, here
    MIGRATE = "migrate", "migrate"  # go on with another version of the workflow
    CONFIRM = "confirm", "confirm"  # claims stand though nothing shows it; those not confirmed are dropped
    DROP = "drop", "drop"  # claims that do not stand are left out


_UNKNOWN_FIRST = Case(
    When(kind=QuestionKind.UNKNOWN, then=0), When(effect=Effect.IRREVERSIBLE, then=1), default=2
)


class Question(models.Model):
    """One open question a step. `action` is the canonical JSON of what would happen; `digest` binds an answer
    to exactly this action and evidence. `words` are the agent's own, untrusted."""

    run = models.ForeignKey("runs.Run", on_delete=models.CASCADE, related_name="questions")
    step = models.ForeignKey("runs.Step", null=True, on_delete=models.CASCADE, related_name="questions")
    kind = models.CharField(max_length=10, choices=QuestionKind)
    state = models.CharField(max_length=10, choices=QuestionState, default=QuestionState.OPEN)
    title = models.CharField(max_length=300)
    reason = models.TextField(help_text="completes: asked because")
    group = models.CharField(max_length=120, blank=True, help_text="same cause, same group")
    priority = models.PositiveSmallIntegerField(default=50)
    rank = models.GeneratedField(
        expression=_UNKNOWN_FIRST * Value(100_000) - F("priority"),
        output_field=models.IntegerField(),
        db_persist=True,
        help_text="the least is answered first: what may have happened, what cannot be undone, then the rest",
    )
    tool = models.CharField(max_length=120, blank=True)
    effect = models.CharField(max_length=12, blank=True)
    call_key = models.CharField(max_length=150, blank=True)
    contract = models.CharField(max_length=200, blank=True, help_text="model name that an edit must meet")
    action: models.JSONField[Any, Any] = models.JSONField(default=dict)
    evidence: models.JSONField[Any, Any] = models.JSONField(default=list)
    words = models.TextField(blank=True)
    digest = models.CharField(max_length=64)
    simulated = models.BooleanField(default=False)
    asked_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField()

    verb = models.CharField(max_length=10, choices=Verb, blank=True)
    answer: models.JSONField[Any, Any] = models.JSONField(null=True, help_text="action as approved, or words")
    answer_digest = models.CharField(max_length=64, blank=True)
    answer_text = models.TextField(blank=True, help_text="the reason or words that the run receives")
    answered_by = models.CharField(max_length=150, blank=True)
    answered_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["step"], condition=Q(state=QuestionState.OPEN), name="question_one_open_a_step"
            ),
            models.UniqueConstraint(
                fields=["run"],
                condition=Q(state=QuestionState.OPEN, step__isnull=True),
                name="question_one_loose_a_run",
            ),
            models.CheckConstraint(condition=Q(state__in=QuestionState.values), name="question_state_known"),
            models.CheckConstraint(
                condition=~Q(state=QuestionState.ANSWERED) | ~Q(verb=""), name="question_answer_has_verb"
            ),
        ]
        indexes = [
            models.Index(fields=["expires_at"], condition=Q(state="open"), name="question_expiry"),
            models.Index(
                fields=["rank", "expires_at", "id"], condition=Q(state="open"), name="question_queue"
            ),
            models.Index(
                fields=["id"], condition=Q(state="open", effect="irreversible"), name="question_irreversible"
            ),
            # Every sweep asks for these; all that are open may be very many.
            models.Index(fields=["id"], condition=Q(state="open", kind="limit"), name="question_limits"),
        ]

    def __str__(self) -> str:
        return f"question {self.pk} {self.kind}"


# Which verbs answer which kind, and what each does, in the words of the button.
VERBS: dict[str, dict[str, str]] = {
    QuestionKind.APPROVAL: {
        Verb.APPROVE: "Approve",
        Verb.REJECT: "Reject",
        Verb.RESPOND: "Respond",
    },
    QuestionKind.CONTRACT: {
        Verb.APPROVE: "Use the edited value",
        Verb.REJECT: "Reject and end the run",
        Verb.RESPOND: "Let the agent try again",
    },
    QuestionKind.CLAIMS: {
        Verb.DROP: "Drop the claims",
        Verb.CONFIRM: "Confirm claims",
        Verb.APPROVE: "Use the edited claims",
        Verb.REJECT: "Reject and end the run",
        Verb.RESPOND: "Send back",
    },
    QuestionKind.ERROR: {
        Verb.APPROVE: "Try again",
        Verb.REJECT: "Reject and end the run",
        Verb.RESPOND: "Try again with a note",
    },
    QuestionKind.UNKNOWN: {
        Verb.APPROVE: "It did not happen: send again",
        Verb.REJECT: "Do not repeat it; tell the agent",
        Verb.RESPOND: "It happened: record it",
        Verb.LOOK: "Look again",
    },
    QuestionKind.LIMIT: {
        Verb.TOP_UP: "Top up",
        Verb.APPROVE: "Look again",
        Verb.REJECT: "End the run",
    },
    QuestionKind.MISSING: {
        Verb.MIGRATE: "Go on there",
        Verb.APPROVE: "Look again",
        Verb.REJECT: "Cancel the run",
    },
}
_ABOUT_THE_RUN: dict[str, str] = {Verb.APPROVE: "Look again", Verb.REJECT: "Reject and end the run"}


def verbs_of(question: Question) -> dict[str, str]:
    """The verbs that answer this question, with the words of the button.

    A question about the run itself can only be looked at again or end it, or, when its version is gone, let it go on
    with another; rejecting a task of a plan ends that alone.
    """
    if question.step is None:
        return dict(VERBS[question.kind] if question.kind == QuestionKind.MISSING else _ABOUT_THE_RUN)
    words = {verb: word for verb, word in VERBS[question.kind].items() if _can(question, verb)}
    if question.step.parent_id is None:
        return words
    return {verb: word.replace("nd the run", "nd the task") for verb, word in words.items()}


def _can(question: Question, verb: str) -> bool:
    if verb == Verb.LOOK:
        return can_look(question)
    if question.kind == QuestionKind.CLAIMS and verb == Verb.RESPOND:
        return bool(question.action.get(BACK_TO))
    return True


def can_look(question: Question) -> bool:
    """Whether the tool behind a doubtful effect could look when the question was asked."""
    return question.kind == QuestionKind.UNKNOWN and bool(question.action.get(CAN_LOOK))


CAN_LOOK = "can_look"  # in the action of an unknown question; part of what is shown, not of what is approved
BACK_TO = (
    "back_to"  # in the action of a question about claims: the agent that they may be sent back to, or ""
)
EDITABLE = (QuestionKind.APPROVAL, QuestionKind.CONTRACT, QuestionKind.CLAIMS)
