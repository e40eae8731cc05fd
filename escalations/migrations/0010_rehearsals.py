"""Rehearsals of limits, and the runs that would have gone otherwise."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("escalations", "0006_limit_proposals"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Rehearsal",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("digest", models.CharField(max_length=64)),
                ("given", models.JSONField(default=dict)),
                ("line", models.BigIntegerField(null=True)),
                ("seen", models.CharField(blank=True, max_length=200)),
                ("says", models.CharField(max_length=400)),
                ("since", models.DateTimeField()),
                ("until", models.DateTimeField()),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("asked", "asked"),
                            ("running", "running"),
                            ("done", "done"),
                            ("failed", "failed"),
                        ],
                        default="asked",
                        max_length=10,
                    ),
                ),
                ("asked_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("due_at", models.DateTimeField(null=True)),
                ("finished_at", models.DateTimeField(null=True)),
                ("why", models.TextField(blank=True)),
                ("looked", models.PositiveIntegerField(default=0, help_text="runs looked at so far")),
                ("totals", models.JSONField(null=True)),
                (
                    "by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="RehearsedRun",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("place", models.PositiveIntegerField()),
                ("told", models.JSONField()),
                (
                    "rehearsal",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="runs",
                        to="escalations.rehearsal",
                    ),
                ),
            ],
            options={
                "ordering": ["place"],
            },
        ),
        migrations.AddIndex(
            model_name="rehearsal",
            index=models.Index(fields=["digest", "-finished_at"], name="rehearsal_by_draft"),
        ),
        migrations.AddIndex(
            model_name="rehearsal",
            index=models.Index(
                condition=models.Q(("due_at__isnull", False)), fields=["due_at"], name="rehearsal_due"
            ),
        ),
        migrations.AddConstraint(
            model_name="rehearsal",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ["asked", "running", "done", "failed"])),
                name="rehearsal_state_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="rehearsal",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state", "done"), _negated=True),
                    models.Q(
                        ("due_at__isnull", True), ("finished_at__isnull", False), ("totals__isnull", False)
                    ),
                    _connector="OR",
                ),
                name="rehearsal_done_is_whole",
            ),
        ),
        migrations.AddConstraint(
            model_name="rehearsedrun",
            constraint=models.UniqueConstraint(
                fields=("rehearsal", "place"), name="rehearsed_run_place_once"
            ),
        ),
    ]
