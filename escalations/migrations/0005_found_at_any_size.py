"""The journal and the queue are found by what people filter by, however long they are."""

from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [("escalations", "0004_flood")]

    operations = [
        migrations.AddIndex(
            model_name="escalation",
            index=models.Index(fields=["taken_by"], condition=Q(state="open"), name="escalation_open_taken"),
        ),
        migrations.AddIndex(
            model_name="journalentry",
            index=models.Index(fields=["actor_name", "seq"], name="journal_by_name"),
        ),
        # People are looked for by name; the column of accounts has an index of its own.
        migrations.RemoveIndex(model_name="journalentry", name="journal_by_actor"),
        migrations.AddIndex(
            model_name="journalentry",
            index=models.Index(fields=["workflow", "seq"], name="journal_by_workflow"),
        ),
        migrations.AddIndex(
            model_name="journalentry",
            index=models.Index(
                fields=["escalation_id", "seq"],
                condition=Q(escalation_id__isnull=False),
                name="journal_by_escalation",
            ),
        ),
        migrations.AddIndex(
            model_name="journalentry",
            index=models.Index(
                fields=["outcome", "seq"], condition=~Q(outcome="done"), name="journal_not_done"
            ),
        ),
        migrations.AddIndex(
            model_name="journalentry",
            index=models.Index(fields=["at"], name="journal_by_time"),
        ),
    ]
