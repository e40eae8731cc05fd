"""Indexes that every step paid for and nobody asked: what a unique constraint begins with is found by that one."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("runs", "0011_look"),
    ]

    operations = [
        migrations.AlterField(
            model_name="attempt",
            name="history",
            field=models.ForeignKey(
                db_index=False,
                help_text="the messages when it last parked at a question",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="runs.body",
            ),
        ),
        migrations.AlterField(
            model_name="attempt",
            name="rejected_output",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="runs.body",
            ),
        ),
        migrations.AlterField(
            model_name="attempt",
            name="step",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="attempts",
                to="runs.step",
            ),
        ),
        migrations.AlterField(
            model_name="call",
            name="step",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="calls",
                to="runs.step",
            ),
        ),
        migrations.AlterField(
            model_name="event",
            name="run",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="events",
                to="runs.run",
            ),
        ),
        migrations.AlterField(
            model_name="event",
            name="step",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="events",
                to="runs.step",
            ),
        ),
        migrations.AlterField(
            model_name="step",
            name="parent",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="tasks",
                to="runs.step",
            ),
        ),
        migrations.AlterField(
            model_name="step",
            name="run",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="steps",
                to="runs.run",
            ),
        ),
    ]
