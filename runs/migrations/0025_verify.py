"""Questions about claims that do not stand, and the answers to them. Choices only: no statement."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("runs", "0027_fanout")]

    operations = [
        migrations.AlterField(
            model_name="question",
            name="kind",
            field=models.CharField(
                choices=[
                    ("approval", "Approval"),
                    ("contract", "Contract broken"),
                    ("claims", "Claims to verify"),
                    ("error", "Error"),
                    ("unknown", "This may have happened"),
                    ("missing", "Definition missing"),
                ],
                max_length=10,
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
                    ("migrate", "migrate"),
                    ("confirm", "confirm"),
                    ("drop", "drop"),
                ],
                max_length=10,
            ),
        ),
    ]
