"""Steps (one visit to a node), attempts (one try of a step) and calls (of a model, of a tool, of its look)."""

from __future__ import annotations

from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from runs.definitions import Effect
from runs.errors import ErrorClass


class StepState(models.TextChoices):
    READY = "ready", "planned"  # a task of a plan that nobody has begun yet
    RUNNING = "running", "running"  # an attempt is under way, or will be when the run is looked at
    SLEEPING = "sleeping", "sleeping"  # between two attempts
    WAITING = "waiting", "waiting"  # its question is open
    DONE = "done", "done"  # its output met the contract and is recorded
    FAILED = "failed", "failed"  # the error policy ended it
    ENDED = "ended", "ended"  # a person ended it


STEP_MOVES: dict[str, frozenset[str]] = {
    StepState.READY: frozenset({StepState.RUNNING, StepState.ENDED}),
    StepState.RUNNING: frozenset(
        {StepState.SLEEPING, StepState.WAITING, StepState.DONE, StepState.FAILED, StepState.ENDED}
    ),
    StepState.SLEEPING: frozenset({StepState.RUNNING, StepState.ENDED}),
    StepState.WAITING: frozenset({StepState.RUNNING, StepState.DONE, StepState.ENDED}),
    StepState.DONE: frozenset(),
    StepState.FAILED: frozenset(),
    StepState.ENDED: frozenset(),
}
SETTLED_STEPS = (StepState.DONE, StepState.FAILED, StepState.ENDED)


class Step(models.Model):
    """One visit to a node. `seq` counts the visits of the run from 1; at most one outcome is ever recorded.

    A task of a plan has the step that made the plan as `parent`, and its `place` in it. `fence` is the run's fence
    under which a worker performs the step now; another number means that nobody does.
    """

    # Whoever writes a step, an attempt or a call holds its run's row and has just read what it belongs to.
    run = models.ForeignKey(
        "runs.Run", db_index=False, db_constraint=False, on_delete=models.CASCADE, related_name="steps"
    )
    seq = models.PositiveIntegerField()
    node = models.CharField(max_length=80)
    state = models.CharField(max_length=10, choices=StepState, default=StepState.RUNNING)
    # Stored by whoever writes the step, and a trigger keeps it there.
    input = models.ForeignKey(
        "runs.Body", db_index=False, db_constraint=False, on_delete=models.PROTECT, related_name="+"
    )
    output = models.ForeignKey(
        "runs.Body",
        null=True,
        db_index=False,
        db_constraint=False,
        on_delete=models.PROTECT,
        related_name="+",
    )
    answered_by = models.CharField(
        max_length=150, blank=True, help_text="the person whose value this output is"
    )
    parent = models.ForeignKey(
        "self", null=True, db_index=False, on_delete=models.CASCADE, related_name="tasks"
    )
    place = models.PositiveIntegerField(db_default=0, default=0, help_text="in the parent's plan, from 0")
    fence = models.PositiveBigIntegerField(db_default=0, default=0)
    due_at = models.DateTimeField(null=True, help_text="when a sleeping step wakes")
    by = models.CharField(
        max_length=200,
        blank=True,
        db_default="",
        default="",
        help_text="who makes the next attempt; empty: the node",
    )
    losses = models.PositiveIntegerField(
        db_default=0, default=0, help_text="workers lost in a row; after three the step is poison"
    )
    note = models.TextField(blank=True, db_default="", help_text="what the next attempt is told")
    started_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["run_id", "seq"]
        constraints = [
            models.UniqueConstraint(fields=["run", "seq"], name="step_seq_once"),
            models.UniqueConstraint(
                fields=["parent", "place"], condition=Q(parent__isnull=False), name="step_task_once"
            ),
        ]
        indexes = [
            models.Index(
                fields=["run", "seq"],
                condition=~Q(state__in=["done", "failed", "ended"]),
                name="step_unsettled",
            ),
            models.Index(
                fields=["run", "state", "seq"],
                condition=Q(parent__isnull=False, state__in=["ready", "running", "sleeping", "waiting"]),
                name="step_open_tasks",
            ),
        ]

    def __str__(self) -> str:
        return f"step {self.run_id}/{self.seq} {self.node}"


class AttemptState(models.TextChoices):
    RUNNING = "running", "running"
    ASKED = "asked", "asked a person"  # parked at a question; goes on in the same attempt after the answer
    DONE = "done", "done"
    BROKEN = "broken", "contract broken"
    FAILED = "failed", "failed"
    CUT = "cut", "cut by a control"  # goes on in the same attempt when the run is resumed
    VOIDED = "voided", "voided"  # too late, or not needed any more


ATTEMPT_MOVES: dict[str, frozenset[str]] = {
    AttemptState.RUNNING: frozenset(
        {
            AttemptState.ASKED,
            AttemptState.DONE,
            AttemptState.BROKEN,
            AttemptState.FAILED,
            AttemptState.CUT,
            AttemptState.VOIDED,
        }
    ),
    AttemptState.ASKED: frozenset(
        {AttemptState.RUNNING, AttemptState.DONE, AttemptState.FAILED, AttemptState.VOIDED}
    ),
    AttemptState.CUT: frozenset({AttemptState.RUNNING, AttemptState.FAILED, AttemptState.VOIDED}),
    AttemptState.DONE: frozenset(),
    AttemptState.BROKEN: frozenset(),
    AttemptState.FAILED: frozenset(),
    AttemptState.VOIDED: frozenset(),
}


class Attempt(models.Model):
    """One try of a step by one agent. After a crash, a hold or a question the same attempt goes on."""

    step = models.ForeignKey(
        Step, db_index=False, db_constraint=False, on_delete=models.CASCADE, related_name="attempts"
    )
    number = models.PositiveIntegerField()
    agent = models.CharField(max_length=80, blank=True, help_text="empty for a function")
    by = models.CharField(
        max_length=200, blank=True, db_default="", default="", help_text="stand-in of the error policy"
    )
    state = models.CharField(max_length=10, choices=AttemptState, default=AttemptState.RUNNING)
    fence = models.PositiveBigIntegerField()
    worker = models.CharField(max_length=120)
    note = models.TextField(
        blank=True, help_text="what the agent was told anew: a broken contract, a person's words"
    )
    error_class = models.CharField(max_length=12, choices=[(c, c) for c in ErrorClass], blank=True)
    error = models.TextField(blank=True)
    error_where = models.CharField(max_length=200, blank=True)
    rejected_output = models.ForeignKey(
        "runs.Body", null=True, db_index=False, on_delete=models.PROTECT, related_name="+"
    )
    history = models.ForeignKey(
        "runs.Body",
        null=True,
        db_index=False,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="the messages when it last parked at a question",
    )
    started_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["step_id", "number"]
        constraints = [
            models.UniqueConstraint(fields=["step", "number"], name="attempt_number_once"),
        ]

    def __str__(self) -> str:
        return f"attempt {self.number} of {self.step_id}"


class CallKind(models.TextChoices):
    MODEL = "model", "model"
    TOOL = "tool", "tool"
    LOOK = "look", "look"  # asks the tool whether an effect happened; never replayed


class CallState(models.TextChoices):
    PERMITTED = "permitted", "permitted"  # may have been sent; nobody knows yet how it ended
    DONE = "done", "done"
    FAILED = "failed", "failed"
    UNKNOWN = "unknown", "unknown"  # may have happened: a person is asked
    CUT = "cut", "cut"  # stopped in flight by a control
    REFUSED = "refused", "refused"  # a person denied it, or a guard refused it: never sent


CALL_MOVES: dict[str, frozenset[str]] = {
    CallState.PERMITTED: frozenset(
        {CallState.DONE, CallState.FAILED, CallState.UNKNOWN, CallState.CUT, CallState.REFUSED}
    ),
    CallState.UNKNOWN: frozenset({CallState.DONE, CallState.FAILED}),
    CallState.DONE: frozenset(),
    CallState.FAILED: frozenset(),
    CallState.CUT: frozenset(),
    CallState.REFUSED: frozenset(),
}


class Call(models.Model):
    """One sending of one model or tool call. `key` is stable over retries, `send` counts the sendings.

    For an effect `key` is the idempotency key. A recorded outcome (done, refused) is replayed, never sent again.
    """

    run = models.ForeignKey(
        "runs.Run", db_index=False, db_constraint=False, on_delete=models.CASCADE, related_name="calls"
    )
    step = models.ForeignKey(
        Step, db_index=False, db_constraint=False, on_delete=models.CASCADE, related_name="calls"
    )
    attempt = models.ForeignKey(Attempt, db_constraint=False, on_delete=models.CASCADE, related_name="calls")
    kind = models.CharField(max_length=5, choices=CallKind)
    name = models.CharField(max_length=120, help_text="tool, or agent for a model call")
    key = models.CharField(max_length=150)
    send = models.PositiveIntegerField(default=1)
    state = models.CharField(max_length=10, choices=CallState, default=CallState.PERMITTED)
    replayable = models.BooleanField(default=True, help_text="false once its reply broke a contract")
    fence = models.PositiveBigIntegerField()

    request = models.ForeignKey("runs.Body", db_index=False, on_delete=models.PROTECT, related_name="+")
    response = models.ForeignKey(
        "runs.Body", null=True, db_index=False, on_delete=models.PROTECT, related_name="+"
    )
    error_class = models.CharField(max_length=12, choices=[(c, c) for c in ErrorClass], blank=True)
    error = models.TextField(blank=True)

    effect = models.CharField(max_length=12, choices=[(e, e) for e in Effect], default=Effect.NONE)
    egress = models.BooleanField(default=False)
    digest = models.CharField(max_length=64, blank=True, help_text="of the canonical action, for effects")
    question = models.ForeignKey(
        "runs.Question",
        null=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="whose answer allowed it",
    )

    simulated = models.BooleanField(default=False)
    model = models.CharField(max_length=120, blank=True, help_text="as asked for")
    model_returned = models.CharField(max_length=120, blank=True, help_text="as the provider named it")
    prompt_version = models.CharField(max_length=40, blank=True)
    parameters: models.JSONField[Any, Any] = models.JSONField(default=dict)
    tokens_in = models.PositiveIntegerField(null=True)
    tokens_out = models.PositiveIntegerField(null=True)
    cost_micros = models.PositiveBigIntegerField(null=True)
    reserved: models.JSONField[Any, Any] = models.JSONField(
        null=True, help_text="[account, amount] of what it may still use; null: nothing, or booked"
    )
    drawn = ArrayField(
        models.BigIntegerField(null=True), null=True, help_text="what it took of its run's purse, by place"
    )
    latency_ms = models.PositiveIntegerField(null=True)

    probing = False  # not kept: whether its breaker waits for how it ended
    metered = False  # not kept: whether an account waits for what it used
    drew: Any = None  # not kept: what `drawn` is of, as `runs.engine.spend.lent` has it
    permitted_at = models.DateTimeField(db_default=Now())
    handed_at = models.DateTimeField(null=True, help_text="when the request had left")
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["step", "key", "send"], name="call_send_once"),
        ]
        indexes = [
            models.Index(fields=["run"], condition=Q(state__in=["permitted", "unknown"]), name="call_open"),
            models.Index(fields=["run", "id"], name="call_of_run"),
            models.Index(fields=["name", "-id"], name="call_by_name"),
            models.Index(fields=["model", "-id"], condition=Q(kind="model"), name="call_by_model"),
            BrinIndex(fields=["permitted_at"], name="call_by_time", pages_per_range=16),
            models.Index(
                fields=["id"],
                condition=Q(reserved__isnull=False),
                name="call_uncertain",
            ),
        ]

    def __str__(self) -> str:
        return f"call {self.pk} {self.name}"
