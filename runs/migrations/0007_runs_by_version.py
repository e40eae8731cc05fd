"""Runs of a workflow are counted by version and state."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("runs", "0006_recorded"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="run",
            index=models.Index(fields=["workflow", "version", "state"], name="run_by_version"),
        ),
    ]
