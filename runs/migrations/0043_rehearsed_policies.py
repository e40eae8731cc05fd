"""What was rehearsed of the policies of definitions, by whom and with which result: told where a version is read."""

from django.db import migrations, models
from django.db.models.functions import Now


class Migration(migrations.Migration):
    dependencies = [
        ("runs", "0042_given"),
    ]

    operations = [
        migrations.CreateModel(
            name="RehearsedPolicy",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("digest", models.CharField(max_length=64)),
                ("says", models.TextField()),
                ("since", models.DateTimeField()),
                ("until", models.DateTimeField()),
                ("at", models.DateTimeField(db_default=Now())),
                ("by", models.CharField(max_length=200)),
                ("totals", models.JSONField()),
            ],
            options={
                "indexes": [models.Index(fields=["digest", "-at"], name="rehearsed_policy_newest")],
            },
        ),
    ]
