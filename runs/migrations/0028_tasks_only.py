"""The index of tasks has tasks alone: each other step was in it too, and once more when it settled."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("runs", "0030_burn"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="step",
            name="step_task_once",
        ),
        migrations.AddConstraint(
            model_name="step",
            constraint=models.UniqueConstraint(
                condition=models.Q(("parent__isnull", False)),
                fields=("parent", "place"),
                name="step_task_once",
            ),
        ),
    ]
