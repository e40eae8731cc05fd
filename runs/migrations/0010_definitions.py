"""What runs began with: the digest of their definition, who has it, and what each version was when first used.

Every new column has a default in the database: processes of the code before this one go on writing beside it.
"""

import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("runs", "0012_fewer_indexes")]

    operations = [
        migrations.CreateModel(
            name="Definition",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("workflow", models.CharField(max_length=80)),
                ("version", models.PositiveIntegerField()),
                ("digest", models.CharField(max_length=64)),
                ("parts", models.JSONField(default=dict)),
                (
                    "first_used_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
                ("replaced_at", models.DateTimeField(null=True)),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("replaced_at", None)),
                        fields=("workflow", "version"),
                        name="definition_present_once",
                    )
                ],
            },
        ),
        migrations.AddField(
            model_name="run",
            name="definition",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="digest of what it began with; empty: any",
                max_length=64,
            ),
        ),
        migrations.AddField(
            model_name="run",
            name="migrated_seq",
            field=models.PositiveIntegerField(
                db_default=0, default=0, help_text="its steps up to this one were made by another version"
            ),
        ),
        migrations.AddField(
            model_name="worker",
            name="definitions",
            field=models.JSONField(
                db_default=models.Value([], output_field=models.JSONField()),
                default=list,
                help_text="digests of those it has",
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
                ],
                max_length=10,
            ),
        ),
    ]
