"""Each sweep looks for open questions about used-up limits: without an index it read every question that is open."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("runs", "0038_bodies_kept"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="question",
            index=models.Index(
                condition=models.Q(("kind", "limit"), ("state", "open")),
                fields=["id"],
                name="question_limits",
            ),
        ),
    ]
