"""Calls that look whether an effect happened, and the answer that asks for one. Choices only: no statement."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("runs", "0008_straight")]

    operations = [
        migrations.AlterField(
            model_name="call",
            name="kind",
            field=models.CharField(
                choices=[("model", "model"), ("tool", "tool"), ("look", "look")], max_length=5
            ),
        ),
        migrations.AlterField(
            model_name="question",
            name="verb",
            field=models.CharField(
                blank=True,
                choices=[
                    ("approve", "approve"),
                    ("reject", "reject"),
                    ("respond", "respond"),
                    ("look", "look again"),
                ],
                max_length=10,
            ),
        ),
    ]
