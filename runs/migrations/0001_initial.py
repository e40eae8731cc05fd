"""The tables, as the models name them."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import runs.definitions
import runs.errors


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Body",
            fields=[
                ("digest", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("content", models.TextField()),
                ("size", models.PositiveIntegerField(help_text="bytes of UTF-8")),
                ("stored_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
        ),
        migrations.CreateModel(
            name="Team",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=80, unique=True)),
            ],
        ),
        migrations.CreateModel(
            name="Worker",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=120, unique=True)),
                (
                    "kind",
                    models.CharField(
                        choices=[("agents", "agents"), ("ordinary", "ordinary"), ("beat", "beat")],
                        max_length=8,
                    ),
                ),
                ("pid", models.PositiveIntegerField(null=True)),
                ("started_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("seen_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("gone_at", models.DateTimeField(null=True)),
                ("in_flight", models.PositiveIntegerField(default=0)),
            ],
        ),
        migrations.CreateModel(
            name="Attempt",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("number", models.PositiveIntegerField()),
                ("agent", models.CharField(blank=True, help_text="empty for a function", max_length=80)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("running", "running"),
                            ("asked", "asked a person"),
                            ("done", "done"),
                            ("broken", "contract broken"),
                            ("failed", "failed"),
                            ("cut", "cut by a control"),
                            ("voided", "voided"),
                        ],
                        default="running",
                        max_length=10,
                    ),
                ),
                ("fence", models.PositiveBigIntegerField()),
                ("worker", models.CharField(max_length=120)),
                (
                    "note",
                    models.TextField(
                        blank=True,
                        help_text="what the agent is told anew: a broken contract, a person's words",
                    ),
                ),
                (
                    "error_class",
                    models.CharField(
                        blank=True,
                        choices=[
                            (runs.errors.ErrorClass["RECOVERABLE"], runs.errors.ErrorClass["RECOVERABLE"]),
                            (runs.errors.ErrorClass["DATA"], runs.errors.ErrorClass["DATA"]),
                            (runs.errors.ErrorClass["REASONING"], runs.errors.ErrorClass["REASONING"]),
                            (runs.errors.ErrorClass["UNFORESEEN"], runs.errors.ErrorClass["UNFORESEEN"]),
                        ],
                        max_length=12,
                    ),
                ),
                ("error", models.TextField(blank=True)),
                ("error_where", models.CharField(blank=True, max_length=200)),
                ("started_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("finished_at", models.DateTimeField(null=True)),
                (
                    "rejected_output",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="runs.body",
                    ),
                ),
            ],
            options={
                "ordering": ["step_id", "number"],
            },
        ),
        migrations.CreateModel(
            name="Control",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("kind", models.CharField(choices=[("pause", "pause"), ("stop", "stop")], max_length=5)),
                (
                    "scope_kind",
                    models.CharField(
                        choices=[("everything", "everything"), ("workflow", "workflow"), ("run", "run")],
                        max_length=10,
                    ),
                ),
                (
                    "scope",
                    models.CharField(
                        blank=True, help_text="workflow name or run id; empty: everything", max_length=80
                    ),
                ),
                ("reason", models.TextField(blank=True)),
                ("engaged_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("engaged_by", models.CharField(max_length=150)),
                (
                    "marked_at",
                    models.DateTimeField(help_text="when every covered run had been marked held", null=True),
                ),
                ("released_at", models.DateTimeField(null=True)),
                ("released_by", models.CharField(blank=True, max_length=150)),
                ("release_reason", models.TextField(blank=True)),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("released_at__isnull", True)),
                        fields=["id"],
                        name="control_engaged",
                    )
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("kind__in", ["pause", "stop"])), name="control_kind_known"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("scope_kind__in", ["everything", "workflow", "run"])),
                        name="control_scope_known",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("released_at__isnull", True)),
                        fields=("kind", "scope_kind", "scope"),
                        name="control_engaged_once",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Run",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("workflow", models.CharField(max_length=80)),
                ("version", models.PositiveIntegerField()),
                ("goal", models.CharField(max_length=300)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("ready", "ready"),
                            ("running", "running"),
                            ("sleeping", "sleeping"),
                            ("waiting", "waiting"),
                            ("done", "done"),
                            ("failed", "failed"),
                            ("ended", "ended"),
                        ],
                        default="ready",
                        max_length=10,
                    ),
                ),
                (
                    "hold",
                    models.CharField(
                        blank=True,
                        choices=[("", "not held"), ("pause", "paused"), ("stop", "stopped")],
                        default="",
                        max_length=5,
                    ),
                ),
                ("held_since", models.DateTimeField(null=True)),
                ("start_key", models.CharField(max_length=200)),
                ("started_by", models.CharField(max_length=150)),
                ("simulated", models.BooleanField(default=False)),
                (
                    "ending",
                    models.TextField(blank=True, help_text="why it failed or was ended, one sentence"),
                ),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("finished_at", models.DateTimeField(null=True)),
                ("deadline_at", models.DateTimeField()),
                ("due_at", models.DateTimeField(null=True)),
                ("lease_owner", models.CharField(blank=True, max_length=120)),
                ("lease_until", models.DateTimeField(null=True)),
                ("fence", models.PositiveBigIntegerField(default=0)),
                ("event_seq", models.PositiveIntegerField(default=0)),
                (
                    "claims_without_progress",
                    models.PositiveIntegerField(default=0, help_text="three, and the step is poison"),
                ),
                ("retries", models.PositiveIntegerField(default=0)),
                ("tokens_in", models.PositiveBigIntegerField(default=0)),
                ("tokens_out", models.PositiveBigIntegerField(default=0)),
                (
                    "cost_micros",
                    models.PositiveBigIntegerField(default=0, help_text="millionths of a US dollar"),
                ),
                (
                    "held_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="held_runs",
                        to="runs.control",
                    ),
                ),
                (
                    "input",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="runs.body"
                    ),
                ),
                (
                    "output",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="runs.body",
                    ),
                ),
                (
                    "team",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="runs", to="runs.team"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Step",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("seq", models.PositiveIntegerField()),
                ("node", models.CharField(max_length=80)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("running", "running"),
                            ("sleeping", "sleeping"),
                            ("waiting", "waiting"),
                            ("done", "done"),
                            ("failed", "failed"),
                            ("ended", "ended"),
                        ],
                        default="running",
                        max_length=10,
                    ),
                ),
                (
                    "answered_by",
                    models.CharField(
                        blank=True, help_text="the person whose value this output is", max_length=150
                    ),
                ),
                ("started_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("finished_at", models.DateTimeField(null=True)),
                (
                    "input",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="runs.body"
                    ),
                ),
                (
                    "output",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="runs.body",
                    ),
                ),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="steps", to="runs.run"
                    ),
                ),
            ],
            options={
                "ordering": ["run_id", "seq"],
            },
        ),
        migrations.CreateModel(
            name="Question",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("approval", "Approval"),
                            ("contract", "Contract broken"),
                            ("error", "Error"),
                            ("unknown", "This may have happened"),
                            ("missing", "Definition missing"),
                        ],
                        max_length=10,
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("open", "open"),
                            ("answered", "answered"),
                            ("expired", "expired"),
                            ("withdrawn", "withdrawn"),
                        ],
                        default="open",
                        max_length=10,
                    ),
                ),
                ("title", models.CharField(max_length=300)),
                ("reason", models.TextField(help_text="completes: asked because")),
                ("group", models.CharField(blank=True, help_text="same cause, same group", max_length=120)),
                ("priority", models.PositiveSmallIntegerField(default=50)),
                ("tool", models.CharField(blank=True, max_length=120)),
                ("effect", models.CharField(blank=True, max_length=12)),
                ("call_key", models.CharField(blank=True, max_length=150)),
                (
                    "contract",
                    models.CharField(
                        blank=True, help_text="model name that an edit must meet", max_length=200
                    ),
                ),
                ("action", models.JSONField(default=dict)),
                ("evidence", models.JSONField(default=list)),
                ("words", models.TextField(blank=True)),
                ("digest", models.CharField(max_length=64)),
                ("simulated", models.BooleanField(default=False)),
                ("asked_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("expires_at", models.DateTimeField()),
                (
                    "verb",
                    models.CharField(
                        blank=True,
                        choices=[("approve", "approve"), ("reject", "reject"), ("respond", "respond")],
                        max_length=10,
                    ),
                ),
                ("answer", models.JSONField(help_text="action as approved, or words", null=True)),
                ("answer_digest", models.CharField(blank=True, max_length=64)),
                (
                    "answer_text",
                    models.TextField(blank=True, help_text="the reason or words that the run receives"),
                ),
                ("answered_by", models.CharField(blank=True, max_length=150)),
                ("answered_at", models.DateTimeField(null=True)),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="questions", to="runs.run"
                    ),
                ),
                (
                    "step",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="questions",
                        to="runs.step",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Event",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("seq", models.PositiveIntegerField()),
                ("at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("kind", models.CharField(max_length=40)),
                ("data", models.JSONField(default=dict)),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="events", to="runs.run"
                    ),
                ),
                (
                    "step",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="events",
                        to="runs.step",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Call",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("kind", models.CharField(choices=[("model", "model"), ("tool", "tool")], max_length=5)),
                ("name", models.CharField(help_text="tool, or agent for a model call", max_length=120)),
                ("key", models.CharField(max_length=150)),
                ("send", models.PositiveIntegerField(default=1)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("permitted", "permitted"),
                            ("done", "done"),
                            ("failed", "failed"),
                            ("unknown", "unknown"),
                            ("cut", "cut"),
                            ("refused", "refused"),
                        ],
                        default="permitted",
                        max_length=10,
                    ),
                ),
                (
                    "replayable",
                    models.BooleanField(default=True, help_text="false once its reply broke a contract"),
                ),
                ("fence", models.PositiveBigIntegerField()),
                (
                    "error_class",
                    models.CharField(
                        blank=True,
                        choices=[
                            (runs.errors.ErrorClass["RECOVERABLE"], runs.errors.ErrorClass["RECOVERABLE"]),
                            (runs.errors.ErrorClass["DATA"], runs.errors.ErrorClass["DATA"]),
                            (runs.errors.ErrorClass["REASONING"], runs.errors.ErrorClass["REASONING"]),
                            (runs.errors.ErrorClass["UNFORESEEN"], runs.errors.ErrorClass["UNFORESEEN"]),
                        ],
                        max_length=12,
                    ),
                ),
                ("error", models.TextField(blank=True)),
                (
                    "effect",
                    models.CharField(
                        choices=[
                            (runs.definitions.Effect["NONE"], runs.definitions.Effect["NONE"]),
                            (runs.definitions.Effect["REVERSIBLE"], runs.definitions.Effect["REVERSIBLE"]),
                            (
                                runs.definitions.Effect["IRREVERSIBLE"],
                                runs.definitions.Effect["IRREVERSIBLE"],
                            ),
                        ],
                        default=runs.definitions.Effect["NONE"],
                        max_length=12,
                    ),
                ),
                ("egress", models.BooleanField(default=False)),
                (
                    "digest",
                    models.CharField(
                        blank=True, help_text="of the canonical action, for effects", max_length=64
                    ),
                ),
                ("simulated", models.BooleanField(default=False)),
                ("model", models.CharField(blank=True, help_text="as asked for", max_length=120)),
                (
                    "model_returned",
                    models.CharField(blank=True, help_text="as the provider named it", max_length=120),
                ),
                ("prompt_version", models.CharField(blank=True, max_length=40)),
                ("parameters", models.JSONField(default=dict)),
                ("tokens_in", models.PositiveIntegerField(null=True)),
                ("tokens_out", models.PositiveIntegerField(null=True)),
                ("cost_micros", models.PositiveBigIntegerField(null=True)),
                ("latency_ms", models.PositiveIntegerField(null=True)),
                ("permitted_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("handed_at", models.DateTimeField(help_text="when the request had left", null=True)),
                ("finished_at", models.DateTimeField(null=True)),
                (
                    "attempt",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="calls", to="runs.attempt"
                    ),
                ),
                (
                    "request",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="runs.body"
                    ),
                ),
                (
                    "response",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="runs.body",
                    ),
                ),
                (
                    "question",
                    models.ForeignKey(
                        help_text="whose answer allowed it",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="runs.question",
                    ),
                ),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="calls", to="runs.run"
                    ),
                ),
                (
                    "step",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="calls", to="runs.step"
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
            },
        ),
        migrations.AddField(
            model_name="attempt",
            name="step",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="attempts", to="runs.step"
            ),
        ),
        migrations.CreateModel(
            name="ControlReceipt",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("cut", models.PositiveIntegerField(default=0, help_text="calls in flight that were cut")),
                ("confirmed_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "control",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="receipts",
                        to="runs.control",
                    ),
                ),
                (
                    "worker",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="receipts", to="runs.worker"
                    ),
                ),
            ],
        ),
        migrations.AddConstraint(
            model_name="step",
            constraint=models.UniqueConstraint(fields=("run", "seq"), name="step_seq_once"),
        ),
        migrations.AddConstraint(
            model_name="step",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("state__in", ["running", "sleeping", "waiting", "done", "failed", "ended"])
                ),
                name="step_state_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="step",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state", "done"), _negated=True), ("output__isnull", False), _connector="OR"
                ),
                name="step_done_has_output",
            ),
        ),
        migrations.AddIndex(
            model_name="question",
            index=models.Index(
                condition=models.Q(("state", "open")), fields=["expires_at"], name="question_expiry"
            ),
        ),
        migrations.AddConstraint(
            model_name="question",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state", "open")), fields=("run",), name="question_one_open_a_run"
            ),
        ),
        migrations.AddConstraint(
            model_name="question",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ["open", "answered", "expired", "withdrawn"])),
                name="question_state_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="question",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state", "answered"), _negated=True),
                    models.Q(("verb", ""), _negated=True),
                    _connector="OR",
                ),
                name="question_answer_has_verb",
            ),
        ),
        migrations.AddConstraint(
            model_name="event",
            constraint=models.UniqueConstraint(fields=("run", "seq"), name="event_seq_once"),
        ),
        migrations.AddConstraint(
            model_name="call",
            constraint=models.UniqueConstraint(fields=("step", "key", "send"), name="call_send_once"),
        ),
        migrations.AddConstraint(
            model_name="call",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("state__in", ["permitted", "done", "failed", "unknown", "cut", "refused"])
                ),
                name="call_state_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="attempt",
            constraint=models.UniqueConstraint(fields=("step", "number"), name="attempt_number_once"),
        ),
        migrations.AddConstraint(
            model_name="attempt",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("state__in", ["running", "asked", "done", "broken", "failed", "cut", "voided"])
                ),
                name="attempt_state_known",
            ),
        ),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(
                condition=models.Q(("due_at__isnull", False)), fields=["due_at"], name="run_due"
            ),
        ),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(fields=["state", "-id"], name="run_by_state"),
        ),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(fields=["workflow", "-id"], name="run_by_workflow"),
        ),
        migrations.AddConstraint(
            model_name="run",
            constraint=models.UniqueConstraint(fields=("workflow", "start_key"), name="run_start_key_once"),
        ),
        migrations.AddConstraint(
            model_name="run",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("state__in", ["ready", "running", "sleeping", "waiting", "done", "failed", "ended"])
                ),
                name="run_state_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="run",
            constraint=models.CheckConstraint(
                condition=models.Q(("hold__in", ["", "pause", "stop"])), name="run_hold_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="run",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state", "running"), _negated=True),
                    ("lease_until__isnull", False),
                    _connector="OR",
                ),
                name="run_running_has_lease",
            ),
        ),
        migrations.AddConstraint(
            model_name="run",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("due_at__isnull", True), ("state__in", ("done", "failed", "ended"))),
                    models.Q(("state__in", ("done", "failed", "ended")), _negated=True),
                    _connector="OR",
                ),
                name="run_final_has_no_due",
            ),
        ),
        migrations.AddConstraint(
            model_name="controlreceipt",
            constraint=models.UniqueConstraint(fields=("control", "worker"), name="receipt_once"),
        ),
    ]
