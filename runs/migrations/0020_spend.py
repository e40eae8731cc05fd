"""Accounts of what is spent and reserved under limits, waits, top-ups and breakers."""

import django.contrib.postgres.indexes
import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("runs", "0025_verify"),
    ]

    operations = [
        migrations.CreateModel(
            name="Account",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("kind", models.CharField(max_length=20)),
                ("window", models.CharField(blank=True, max_length=10)),
                ("scope_kind", models.CharField(max_length=12)),
                ("scope", models.CharField(blank=True, max_length=150)),
                (
                    "run_id",
                    models.BigIntegerField(
                        db_default=0, default=0, help_text="of a run's own account; 0: of all runs"
                    ),
                ),
                (
                    "begins",
                    models.DateTimeField(help_text="when its period began, UTC; 1970 for what has none"),
                ),
                ("spent", models.BigIntegerField(db_default=0, default=0)),
                ("reserved", models.BigIntegerField(db_default=0, default=0)),
                (
                    "noted",
                    models.PositiveSmallIntegerField(
                        db_default=0,
                        default=0,
                        help_text="what was told already: 1 observed, 2 warned, 4 nearly used up",
                    ),
                ),
                ("noted_at", models.DateTimeField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name="Breaker",
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
                        choices=[("model", "model"), ("tool", "tool"), ("agent", "agent")], max_length=5
                    ),
                ),
                ("name", models.CharField(max_length=120)),
                (
                    "state",
                    models.CharField(
                        choices=[("closed", "closed"), ("open", "open"), ("half_open", "half-open")],
                        default="closed",
                        max_length=9,
                    ),
                ),
                (
                    "forced",
                    models.CharField(
                        blank=True, choices=[("open", "open"), ("closed", "closed")], default="", max_length=6
                    ),
                ),
                ("why", models.TextField(blank=True)),
                ("opened_at", models.DateTimeField(null=True)),
                ("retry_at", models.DateTimeField(help_text="when one probe may pass", null=True)),
                (
                    "opens",
                    models.PositiveIntegerField(default=0, help_text="in a row without a good probe between"),
                ),
                ("probe", models.BigIntegerField(help_text="the call that probes", null=True)),
                ("probe_until", models.DateTimeField(null=True)),
                ("changed_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("forced_by", models.CharField(blank=True, default="", max_length=150)),
                ("forced_why", models.TextField(blank=True, default="")),
            ],
        ),
        migrations.CreateModel(
            name="BreakerChange",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("state", models.CharField(max_length=9)),
                ("by", models.CharField(blank=True, help_text="empty: itself", max_length=150)),
                ("why", models.TextField(blank=True)),
                ("run_id", models.BigIntegerField(null=True)),
                ("call_id", models.BigIntegerField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name="Chunk",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("held", models.BigIntegerField(db_default=0, default=0)),
                ("spent", models.BigIntegerField(db_default=0, default=0)),
            ],
        ),
        migrations.CreateModel(
            name="RateEntry",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("at", models.DateTimeField()),
                ("amount", models.BigIntegerField()),
                ("team", models.CharField(blank=True, max_length=80)),
            ],
        ),
        migrations.CreateModel(
            name="TopUp",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("amount", models.BigIntegerField()),
                ("until", models.DateTimeField(help_text="null: as long as the account counts", null=True)),
                ("made_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("made_by", models.CharField(max_length=150)),
                ("agreed_by", models.CharField(blank=True, max_length=150)),
                ("reason", models.TextField()),
            ],
        ),
        migrations.CreateModel(
            name="Wait",
            fields=[
                (
                    "step",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="wait",
                        serialize=False,
                        to="runs.step",
                    ),
                ),
                ("team", models.CharField(blank=True, max_length=80)),
                ("guard", models.CharField(max_length=20)),
                ("need", models.BigIntegerField(db_default=0, default=0)),
                ("since", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("until", models.DateTimeField(help_text="when it looks again")),
                ("says", models.TextField()),
            ],
        ),
        migrations.AddField(
            model_name="call",
            name="reserved",
            field=models.JSONField(
                help_text="[account, amount] of what it may still use; null: nothing, or booked", null=True
            ),
        ),
        migrations.AddIndex(
            model_name="call",
            index=models.Index(fields=["name", "-id"], name="call_by_name"),
        ),
        migrations.AddIndex(
            model_name="call",
            index=models.Index(
                condition=models.Q(("kind", "model")), fields=["model", "-id"], name="call_by_model"
            ),
        ),
        migrations.AddIndex(
            model_name="call",
            index=django.contrib.postgres.indexes.BrinIndex(
                fields=["permitted_at"], name="call_by_time", pages_per_range=16
            ),
        ),
        migrations.AddIndex(
            model_name="call",
            index=models.Index(
                condition=models.Q(("reserved__isnull", False)), fields=["id"], name="call_uncertain"
            ),
        ),
        migrations.AddIndex(
            model_name="account",
            index=models.Index(
                condition=models.Q(("run_id", 0), _negated=True), fields=["run_id"], name="account_of_run"
            ),
        ),
        migrations.AddIndex(
            model_name="account",
            index=models.Index(
                condition=models.Q(("run_id", 0)), fields=["window", "-begins"], name="account_by_period"
            ),
        ),
        migrations.AddConstraint(
            model_name="account",
            constraint=models.UniqueConstraint(
                fields=("kind", "window", "scope_kind", "scope", "run_id", "begins"), name="account_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="account",
            constraint=models.CheckConstraint(
                condition=models.Q(("reserved__gte", 0), ("spent__gte", 0)), name="account_not_negative"
            ),
        ),
        migrations.AddConstraint(
            model_name="breaker",
            constraint=models.UniqueConstraint(fields=("kind", "name"), name="breaker_once"),
        ),
        migrations.AddConstraint(
            model_name="breaker",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ["closed", "open", "half_open"])), name="breaker_state_known"
            ),
        ),
        migrations.AddField(
            model_name="breakerchange",
            name="breaker",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="changes", to="runs.breaker"
            ),
        ),
        migrations.AddField(
            model_name="chunk",
            name="account",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="chunks",
                to="runs.account",
            ),
        ),
        migrations.AddField(
            model_name="chunk",
            name="run",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="runs.run",
            ),
        ),
        migrations.AddField(
            model_name="rateentry",
            name="account",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="runs.account",
            ),
        ),
        migrations.AddField(
            model_name="topup",
            name="account",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="top_ups", to="runs.account"
            ),
        ),
        migrations.AddField(
            model_name="topup",
            name="question",
            field=models.ForeignKey(
                help_text="that it answered",
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to="runs.question",
            ),
        ),
        migrations.AddField(
            model_name="wait",
            name="account",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="waits",
                to="runs.account",
            ),
        ),
        migrations.AddField(
            model_name="wait",
            name="breaker",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="waits",
                to="runs.breaker",
            ),
        ),
        migrations.AddField(
            model_name="wait",
            name="run",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="runs.run",
            ),
        ),
        migrations.AddIndex(
            model_name="breakerchange",
            index=models.Index(fields=["breaker", "-id"], name="breaker_history"),
        ),
        migrations.AddConstraint(
            model_name="chunk",
            constraint=models.UniqueConstraint(fields=("run", "account"), name="chunk_once"),
        ),
        migrations.AddConstraint(
            model_name="chunk",
            constraint=models.CheckConstraint(
                condition=models.Q(("held__gte", 0), ("spent__gte", 0)), name="chunk_not_negative"
            ),
        ),
        migrations.AddConstraint(
            model_name="rateentry",
            constraint=models.UniqueConstraint(fields=("account", "at", "team"), name="rate_by_time"),
        ),
        migrations.AddConstraint(
            model_name="topup",
            constraint=models.CheckConstraint(condition=models.Q(("amount__gt", 0)), name="top_up_adds"),
        ),
    ]
