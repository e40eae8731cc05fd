"""Several steps of a run at once: planned tasks, a fence and a wake-up time a step, one open question a step."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("runs", "0004_trigger"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="question",
            name="question_one_open_a_run",
        ),
        migrations.RemoveConstraint(
            model_name="step",
            name="step_state_known",
        ),
        migrations.RemoveField(
            model_name="run",
            name="claims_without_progress",
        ),
        migrations.AddField(
            model_name="attempt",
            name="by",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="stand-in of the error policy",
                max_length=200,
            ),
        ),
        migrations.AddField(
            model_name="attempt",
            name="history",
            field=models.ForeignKey(
                help_text="the messages when it last parked at a question",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="runs.body",
            ),
        ),
        migrations.AddField(
            model_name="step",
            name="by",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="who makes the next attempt; empty: the node",
                max_length=200,
            ),
        ),
        migrations.AddField(
            model_name="step",
            name="due_at",
            field=models.DateTimeField(help_text="when a sleeping step wakes", null=True),
        ),
        migrations.AddField(
            model_name="step",
            name="fence",
            field=models.PositiveBigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="step",
            name="losses",
            field=models.PositiveIntegerField(
                db_default=0, default=0, help_text="workers lost in a row; after three the step is poison"
            ),
        ),
        migrations.AddField(
            model_name="step",
            name="parent",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.CASCADE, related_name="tasks", to="runs.step"
            ),
        ),
        migrations.AddField(
            model_name="step",
            name="place",
            field=models.PositiveIntegerField(
                db_default=0, default=0, help_text="in the parent's plan, from 0"
            ),
        ),
        migrations.AlterField(
            model_name="step",
            name="state",
            field=models.CharField(
                choices=[
                    ("ready", "planned"),
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
        migrations.AddIndex(
            model_name="step",
            index=models.Index(
                condition=models.Q(("state__in", ["done", "failed", "ended"]), _negated=True),
                fields=["run", "seq"],
                name="step_unsettled",
            ),
        ),
        migrations.AddConstraint(
            model_name="question",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state", "open")), fields=("step",), name="question_one_open_a_step"
            ),
        ),
        migrations.AddConstraint(
            model_name="question",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state", "open"), ("step__isnull", True)),
                fields=("run",),
                name="question_one_loose_a_run",
            ),
        ),
        migrations.AddConstraint(
            model_name="step",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("state__in", ["ready", "running", "sleeping", "waiting", "done", "failed", "ended"])
                ),
                name="step_state_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="step",
            constraint=models.UniqueConstraint(fields=("parent", "place"), name="step_task_once"),
        ),
    ]
