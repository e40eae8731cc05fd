"""Pages that cost the same at a million runs: the queue's order as a column, and indexes for what pages ask for.

The indexes on hot tables are partial: a row that they do not hold costs nothing to write.
"""

from django.db import migrations, models
from django.db.models import Case, F, Q, Value, When

# Workflow, version and state go together: without knowing that the planner takes "this workflow, failed" for frequent
# and walks through every run of it.
TOGETHER = "CREATE STATISTICS run_kinds (mcv) ON workflow, version, state FROM runs_run"
_UNKNOWN_FIRST = Case(When(kind="unknown", then=0), When(effect="irreversible", then=1), default=2)


class Migration(migrations.Migration):
    dependencies = [("runs", "0013_events_unchecked")]

    operations = [
        migrations.AddField(
            model_name="question",
            name="rank",
            field=models.GeneratedField(
                expression=_UNKNOWN_FIRST * Value(100_000) - F("priority"),
                output_field=models.IntegerField(),
                db_persist=True,
                help_text="the least is answered first: what may have happened, what cannot be undone, then the rest",
            ),
        ),
        migrations.AddIndex(
            model_name="question",
            index=models.Index(
                fields=["rank", "expires_at", "id"], condition=Q(state="open"), name="question_queue"
            ),
        ),
        migrations.AddIndex(
            model_name="question",
            index=models.Index(
                fields=["id"], condition=Q(state="open", effect="irreversible"), name="question_irreversible"
            ),
        ),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(fields=["-id"], condition=~Q(hold=""), name="run_held"),
        ),
        migrations.RunSQL(TOGETHER, "DROP STATISTICS run_kinds"),
        migrations.AddIndex(
            model_name="call",
            index=models.Index(
                fields=["run"], condition=Q(state__in=["permitted", "unknown"]), name="call_open"
            ),
        ),
        migrations.AddIndex(
            model_name="event",
            index=models.Index(
                fields=["run", "seq"], condition=Q(kind__in=["held", "resumed"]), name="event_held"
            ),
        ),
        migrations.AddIndex(
            model_name="event",
            index=models.Index(fields=["run", "step"], condition=Q(kind="dropped"), name="event_dropped"),
        ),
    ]
