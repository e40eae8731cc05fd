"""The choices of a question's kinds and verbs after two builders had added some. No statement."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("runs", "0021_guarded_calls"),
    ]

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
                    ("limit", "Limit reached"),
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
                    ("top up", "top up"),
                    ("migrate", "migrate"),
                    ("confirm", "confirm"),
                    ("drop", "drop"),
                ],
                max_length=10,
            ),
        ),
    ]
