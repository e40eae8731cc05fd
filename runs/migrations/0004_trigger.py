"""What the engine knows of each schedule, webhook and folder that starts runs."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("runs", "0003_worker_place"),
    ]

    operations = [
        migrations.CreateModel(
            name="Trigger",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("workflow", models.CharField(max_length=80)),
                (
                    "kind",
                    models.CharField(
                        choices=[("schedule", "schedule"), ("webhook", "webhook"), ("folder", "folder")],
                        max_length=8,
                    ),
                ),
                ("name", models.CharField(max_length=60)),
                ("first_seen", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "spec",
                    models.CharField(
                        blank=True,
                        db_default="",
                        help_text="a schedule's expression and zone, to see a change",
                        max_length=200,
                    ),
                ),
                ("since", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("last_at", models.DateTimeField(help_text="when it last started a run", null=True)),
                (
                    "last_says",
                    models.TextField(
                        blank=True, db_default="", help_text="what was special about the last start"
                    ),
                ),
                ("last_error", models.TextField(blank=True, db_default="")),
                ("error_at", models.DateTimeField(null=True)),
                ("refused", models.PositiveBigIntegerField(db_default=0)),
                ("refused_at", models.DateTimeField(null=True)),
                (
                    "last_refusal",
                    models.TextField(blank=True, db_default="", help_text="without anything of the content"),
                ),
                (
                    "last_run",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="runs.run",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("workflow", "kind", "name"), name="trigger_once"),
                    models.CheckConstraint(
                        condition=models.Q(("kind__in", ["schedule", "webhook", "folder"])),
                        name="trigger_kind_known",
                    ),
                ],
            },
        ),
    ]
