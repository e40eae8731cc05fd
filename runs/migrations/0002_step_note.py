"""What the next attempt of a step is told stands on the step, not on the attempt that failed."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("runs", "0001_initial"),
    ]

    operations = [
        migrations.AddField(
            model_name="step",
            name="note",
            field=models.TextField(blank=True, db_default="", help_text="what the next attempt is told"),
        ),
        migrations.AlterField(
            model_name="attempt",
            name="note",
            field=models.TextField(
                blank=True, help_text="what the agent was told anew: a broken contract, a person's words"
            ),
        ),
    ]
