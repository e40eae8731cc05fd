"""In which boot and process space a worker's pid counts."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("runs", "0002_step_note"),
    ]

    operations = [
        migrations.AddField(
            model_name="worker",
            name="place",
            field=models.CharField(
                blank=True,
                db_default="",
                help_text="boot and process space in which pid counts",
                max_length=80,
            ),
        ),
    ]
