"""A worker's process is known by its number and by when it began: numbers come round. Workers of older code leave it
empty and are known by their number alone.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("runs", "0048_begins_strictly")]

    operations = [
        migrations.AddField(
            "worker",
            "born",
            models.BigIntegerField(
                null=True, help_text="when pid began, in clock ticks since the boot: numbers come round"
            ),
        )
    ]
