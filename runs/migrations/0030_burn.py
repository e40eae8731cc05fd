"""What model calls used, added up by time and place."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("runs", "0024_limit_kinds"),
    ]

    operations = [
        migrations.CreateModel(
            name="BurnMark",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("until", models.DateTimeField()),
                ("looked_at", models.DateTimeField()),
                ("again", models.JSONField(default=list)),
            ],
        ),
        migrations.CreateModel(
            name="Burn",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("span", models.PositiveSmallIntegerField()),
                ("at", models.DateTimeField()),
                ("team", models.CharField(max_length=80)),
                ("workflow", models.CharField(max_length=80)),
                ("agent", models.CharField(max_length=120)),
                ("model", models.CharField(max_length=120)),
                ("calls", models.BigIntegerField(default=0)),
                ("tokens", models.BigIntegerField(default=0)),
                ("cost", models.BigIntegerField(default=0)),
            ],
            options={
                "indexes": [models.Index(fields=["span", "at"], name="burn_by_time")],
            },
        ),
    ]
