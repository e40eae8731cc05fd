"""No open question outlasts its run: what was asked before for longer than its run has left ends with the run."""

from __future__ import annotations

from django.db import migrations

WITHIN = """
    UPDATE runs_question AS question SET expires_at = run.deadline_at FROM runs_run AS run
    WHERE question.state = 'open' AND run.id = question.run_id AND run.deadline_at < question.expires_at
"""


class Migration(migrations.Migration):
    dependencies = [("runs", "0028_tasks_only")]

    operations = [migrations.RunSQL(WITHIN, migrations.RunSQL.noop)]
