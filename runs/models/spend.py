"""What was spent and reserved under limits, who waits for room, and breakers. Written by the SQL functions of the
permit and the record (migration 0020), by `runs.engine.{budgets,rates,breakers}`, and by people's top-ups."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class Account(models.Model):
    """What counts against the limits of one kind, window and scope, in one period of it (or in one run).

    `spent` is certain; `reserved` is what may still be used: by calls under way, by calls of which nobody knows what
    they used, and by chunks that runs hold. Both in the kind's unit. Of calls at once `reserved` says how many.
    """

    kind = models.CharField(max_length=20)
    window = models.CharField(max_length=10, blank=True)
    scope_kind = models.CharField(max_length=12)
    scope = models.CharField(max_length=150, blank=True)
    run_id = models.BigIntegerField(
        default=0, db_default=0, help_text="of a run's own account; 0: of all runs"
    )
    begins = models.DateTimeField(help_text="when its period began, UTC; 1970 for what has none")
    spent = models.BigIntegerField(default=0, db_default=0)
    reserved = models.BigIntegerField(default=0, db_default=0)
    noted = models.PositiveSmallIntegerField(
        default=0, db_default=0, help_text="what was told already: 1 observed, 2 warned, 4 nearly used up"
    )
    noted_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "window", "scope_kind", "scope", "run_id", "begins"], name="account_once"
            ),
            models.CheckConstraint(condition=Q(spent__gte=0, reserved__gte=0), name="account_not_negative"),
        ]
        indexes = [
            models.Index(fields=["run_id"], condition=~Q(run_id=0), name="account_of_run"),
            models.Index(fields=["window", "-begins"], condition=Q(run_id=0), name="account_by_period"),
        ]

    def __str__(self) -> str:
        return f"account {self.pk} {self.kind}/{self.window} {self.scope_kind} {self.scope}"


class Purse(models.Model):
    """What a run has reserved of its accounts in advance, so that not every call writes them: lists by place.

    It is lent to the worker that performs the run: what a call takes of it stands in the call's `drawn`. `held` and
    `spent` (used, not booked on the account yet; both are part of the account's `reserved`) are as they were when it
    was last read off: then its last call was `tallied`, and of those before it only the `flying` were under way.
    `keys` names the accounts as calls ask for them, empty when a period is over. Of a rate it `ends` when its last
    moment has come, else with its period.
    """

    run = models.OneToOneField(
        "runs.Run", primary_key=True, db_constraint=False, on_delete=models.CASCADE, related_name="+"
    )
    keys = ArrayField(models.TextField())
    kinds = ArrayField(models.TextField())
    accounts = ArrayField(models.BigIntegerField())
    held = ArrayField(models.BigIntegerField())
    spent = ArrayField(models.BigIntegerField())
    ends = ArrayField(models.DateTimeField(null=True))
    until = models.DateTimeField(null=True, help_text="when the first of its periods ends")
    team = models.CharField(max_length=80, blank=True)
    edition = models.BigIntegerField(default=0)
    tallied = models.BigIntegerField(default=0)
    flying = ArrayField(models.BigIntegerField(), default=list)

    def __str__(self) -> str:
        return f"purse of run {self.run_id}"


class Chunk(models.Model):
    """What a purse has of one account: a view of the purses, to read."""

    id = models.BigIntegerField(primary_key=True)
    run = models.ForeignKey("runs.Run", db_constraint=False, on_delete=models.DO_NOTHING, related_name="+")
    account = models.ForeignKey(Account, db_constraint=False, on_delete=models.DO_NOTHING, related_name="+")
    held = models.BigIntegerField()
    spent = models.BigIntegerField()

    class Meta:
        managed = False
        db_table = "runs_chunk"

    def __str__(self) -> str:
        return f"chunk of run {self.run_id} of account {self.account_id}"


class RateEntry(models.Model):
    """What a team reserved of a rate within one second (`at` is its beginning). A minute is any 60 seconds: every
    second that is partly in it counts whole."""

    account = models.ForeignKey(
        Account, db_index=False, db_constraint=False, on_delete=models.CASCADE, related_name="+"
    )
    at = models.DateTimeField()
    amount = models.BigIntegerField()
    team = models.CharField(max_length=80, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["account", "at", "team"], name="rate_by_time")]

    def __str__(self) -> str:
        return f"{self.amount} at {self.at}"


class TopUp(models.Model):
    """What people allowed beyond a limit, on one account alone: a run's, or that of one period."""

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="top_ups")
    amount = models.BigIntegerField()
    until = models.DateTimeField(null=True, help_text="null: as long as the account counts")
    made_at = models.DateTimeField(db_default=Now())
    made_by = models.CharField(max_length=150)
    agreed_by = models.CharField(max_length=150, blank=True)
    reason = models.TextField()
    question = models.ForeignKey(
        "runs.Question", null=True, on_delete=models.SET_NULL, related_name="+", help_text="that it answered"
    )

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(amount__gt=0), name="top_up_adds")]

    def __str__(self) -> str:
        return f"{self.amount} more on account {self.account_id}"


class Wait(models.Model):
    """A step that waits for room or for a breaker, without a person. Nobody performs it meanwhile."""

    step = models.OneToOneField(
        "runs.Step", primary_key=True, db_constraint=False, on_delete=models.CASCADE, related_name="wait"
    )
    run = models.ForeignKey("runs.Run", db_constraint=False, on_delete=models.CASCADE, related_name="+")
    team = models.CharField(max_length=80, blank=True)
    guard = models.CharField(max_length=20)
    account = models.ForeignKey(Account, null=True, on_delete=models.CASCADE, related_name="waits")
    breaker = models.ForeignKey("runs.Breaker", null=True, on_delete=models.CASCADE, related_name="waits")
    need = models.BigIntegerField(default=0, db_default=0)
    since = models.DateTimeField(db_default=Now())
    until = models.DateTimeField(help_text="when it looks again")
    says = models.TextField()

    def __str__(self) -> str:
        return f"step {self.step_id} waits for {self.guard}"


class BreakerState(models.TextChoices):
    CLOSED = "closed", "closed"  # calls pass
    OPEN = "open", "open"  # nothing passes until `retry_at`
    HALF_OPEN = "half_open", "half-open"  # one probe is under way


class Breaker(models.Model):
    """The breaker of one model, tool or agent. `forced` is what a person said, and goes before what it found."""

    kind = models.CharField(max_length=5, choices=[(one, one) for one in ("model", "tool", "agent")])
    name = models.CharField(max_length=120)
    state = models.CharField(max_length=9, choices=BreakerState, default=BreakerState.CLOSED)
    forced = models.CharField(
        max_length=6, blank=True, default="", choices=[("open", "open"), ("closed", "closed")]
    )
    why = models.TextField(blank=True)
    opened_at = models.DateTimeField(null=True)
    retry_at = models.DateTimeField(null=True, help_text="when one probe may pass")
    opens = models.PositiveIntegerField(default=0, help_text="in a row without a good probe between")
    probe = models.BigIntegerField(null=True, help_text="the call that probes")
    probe_until = models.DateTimeField(null=True)
    changed_at = models.DateTimeField(db_default=Now())
    forced_by = models.CharField(max_length=150, blank=True, default="")
    forced_why = models.TextField(blank=True, default="")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["kind", "name"], name="breaker_once"),
            models.CheckConstraint(condition=Q(state__in=BreakerState.values), name="breaker_state_known"),
        ]

    def __str__(self) -> str:
        return f"breaker of {self.kind} {self.name}: {self.forced or self.state}"


class BreakerChange(models.Model):
    """What a breaker did, and why; people's forcing stands in the journal too."""

    breaker = models.ForeignKey(Breaker, on_delete=models.CASCADE, related_name="changes")
    at = models.DateTimeField(db_default=Now())
    state = models.CharField(max_length=9)
    by = models.CharField(max_length=150, blank=True, help_text="empty: itself")
    why = models.TextField(blank=True)
    run_id = models.BigIntegerField(null=True)
    call_id = models.BigIntegerField(null=True)

    class Meta:
        indexes = [models.Index(fields=["breaker", "-id"], name="breaker_history")]

    def __str__(self) -> str:
        return f"{self.state} at {self.at}"
