"""A table that counts identical refused attempts between two journal entries."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("escalations", "0003_roles")]

    operations = [
        migrations.CreateModel(
            name="Flood",
            fields=[
                (
                    "key",
                    models.CharField(
                        help_text="digest of who, what, on what, and why not",
                        max_length=64,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "since",
                    models.DateTimeField(
                        help_text="when the window began, with the entry that stands in the journal"
                    ),
                ),
                (
                    "more",
                    models.PositiveIntegerField(
                        default=0, help_text="refused since then and not in the journal yet"
                    ),
                ),
                ("entry", models.JSONField(default=dict)),
            ],
            options={"indexes": [models.Index(fields=["since"], name="flood_by_age")]},
        ),
    ]
