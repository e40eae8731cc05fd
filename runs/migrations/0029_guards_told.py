"""What guards said of a run is found without reading all of its events."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("runs", "0019_calls"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="event",
            index=models.Index(
                fields=["run", "seq"], condition=models.Q(kind__in=["guard", "waits"]), name="event_guarded"
            ),
        ),
    ]
