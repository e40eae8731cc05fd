"""Runs that were recorded elsewhere, found by the key of their recording."""

from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [
        ("runs", "0005_side_by_side"),
    ]

    operations = [
        migrations.AddField(
            model_name="run",
            name="recorded",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(fields=["start_key"], condition=Q(("recorded", True)), name="run_recorded"),
        ),
    ]
