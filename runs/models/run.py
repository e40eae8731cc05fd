"""A run: one execution of one version of a workflow."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class Team(models.Model):
    """Who owns a workflow and hears of its questions."""

    name = models.CharField(max_length=80, unique=True)

    def __str__(self) -> str:
        return self.name


class RunState(models.TextChoices):
    READY = "ready", "ready"  # somebody should look at it now
    RUNNING = "running", "running"  # a worker holds the lease
    SLEEPING = "sleeping", "sleeping"  # waits for a time: a retry's back-off
    WAITING = "waiting", "waiting"  # waits for a person: a question is open, and nothing is performed
    DONE = "done", "done"  # the last step's output is the run's output
    FAILED = "failed", "failed"  # ended by an error policy
    ENDED = "ended", "ended"  # ended by a person, or by an expired question


class Hold(models.TextChoices):
    NONE = "", "not held"
    PAUSE = "pause", "paused"  # goes on by itself when released
    STOP = "stop", "stopped"  # stays where it is after a release until it is resumed


ACTIVE = (RunState.READY, RunState.RUNNING, RunState.SLEEPING, RunState.WAITING)
FINAL = (RunState.DONE, RunState.FAILED, RunState.ENDED)

MOVES: dict[str, frozenset[str]] = {
    RunState.READY: frozenset({RunState.RUNNING, RunState.WAITING, RunState.ENDED}),
    RunState.RUNNING: frozenset(
        {
            RunState.READY,
            RunState.SLEEPING,
            RunState.WAITING,
            RunState.DONE,
            RunState.FAILED,
            RunState.ENDED,
        }
    ),
    RunState.SLEEPING: frozenset({RunState.READY, RunState.RUNNING, RunState.WAITING, RunState.ENDED}),
    RunState.WAITING: frozenset({RunState.READY, RunState.RUNNING, RunState.ENDED}),
    RunState.DONE: frozenset(),
    RunState.FAILED: frozenset(),
    RunState.ENDED: frozenset(),
}


class Run(models.Model):
    """One row a run; its row lock orders everything that happens to it.

    `due_at` says when somebody should look: now for ready, the wake-up time for sleeping, the end of the lease
    for running, null when it is final or waits for a person only (another step may sleep meanwhile). `hold` stands
    beside the state: a held run keeps its place, and its clocks stand still from `held_since` on.
    """

    workflow = models.CharField(max_length=80)
    version = models.PositiveIntegerField()
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="runs")
    goal = models.CharField(max_length=300)
    state = models.CharField(max_length=10, choices=RunState, default=RunState.READY)
    hold = models.CharField(max_length=5, choices=Hold, default=Hold.NONE, blank=True)
    held_since = models.DateTimeField(null=True)
    held_by = models.ForeignKey("runs.Control", null=True, on_delete=models.PROTECT, related_name="held_runs")

    start_key = models.CharField(max_length=200)
    started_by = models.CharField(max_length=150)
    simulated = models.BooleanField(default=False)
    recorded = models.BooleanField(default=False, db_default=False)
    input = models.ForeignKey("runs.Body", db_index=False, on_delete=models.PROTECT, related_name="+")
    output = models.ForeignKey(
        "runs.Body", null=True, db_index=False, on_delete=models.PROTECT, related_name="+"
    )
    ending = models.TextField(blank=True, help_text="why it failed or was ended, one sentence")

    created_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)
    deadline_at = models.DateTimeField()
    due_at = models.DateTimeField(null=True)
    lease_owner = models.CharField(max_length=120, blank=True)
    lease_until = models.DateTimeField(null=True)
    fence = models.PositiveBigIntegerField(default=0)
    event_seq = models.PositiveIntegerField(default=0)
    retries = models.PositiveIntegerField(default=0)
    tokens_in = models.PositiveBigIntegerField(default=0)
    tokens_out = models.PositiveBigIntegerField(default=0)
    cost_micros = models.PositiveBigIntegerField(default=0, help_text="millionths of a US dollar")
    definition = models.CharField(
        max_length=64,
        blank=True,
        default="",
        db_default="",
        help_text="digest of what it began with; empty: any",
    )
    migrated_seq = models.PositiveIntegerField(
        default=0, db_default=0, help_text="its steps up to this one were made by another version"
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["workflow", "start_key"], name="run_start_key_once"),
        ]
        indexes = [
            models.Index(fields=["due_at"], condition=Q(due_at__isnull=False), name="run_due"),
            models.Index(fields=["start_key"], condition=Q(recorded=True), name="run_recorded"),
            models.Index(fields=["state", "-id"], name="run_by_state"),
            models.Index(fields=["workflow", "-id"], name="run_by_workflow"),
            models.Index(fields=["workflow", "version", "state"], name="run_by_version"),
            models.Index(fields=["-id"], condition=~Q(hold=""), name="run_held"),
        ]

    def __str__(self) -> str:
        return f"run {self.pk}"

    @property
    def final(self) -> bool:
        return self.state in FINAL


def may_move(old: str, new: str) -> bool:
    """Whether a run in state `old` may become `new`; the table MOVES, nothing else."""
    return new in MOVES[old]
