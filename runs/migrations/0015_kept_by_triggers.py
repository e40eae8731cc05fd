"""What must never be in the hot tables is kept out by triggers: PostgreSQL reads and plans a CHECK with each statement.

The rules keep their names, so that an error says the same. A trigger of the run's looks only when one of its columns
is written: the number of the last event alone, which each step writes, passes by. `Body.size` and `Event.seq` are
written once, by one place each.
"""

import django.db.models.deletion
from django.db import migrations, models

_REFUSE = """
CREATE FUNCTION {table}_kept() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    broken text;
BEGIN
    {rules}
    IF broken IS NULL THEN RETURN NEW; END IF;
    RAISE EXCEPTION 'row of % violates %', TG_TABLE_NAME, broken
        USING ERRCODE = 'check_violation', CONSTRAINT = broken, TABLE = TG_TABLE_NAME, SCHEMA = TG_TABLE_SCHEMA;
END $$;
CREATE TRIGGER {table}_kept BEFORE INSERT OR UPDATE{only} ON {table} FOR EACH ROW EXECUTE FUNCTION {table}_kept();
"""
# By table: the columns whose change is looked at (none: each), and what holds.
_KEPT = {
    "runs_run": (
        " OF state, hold, due_at, lease_until, version, fence, retries, tokens_in, tokens_out, cost_micros,"
        " migrated_seq",
        """
    IF NEW.state IN ('done', 'failed', 'ended') THEN
        IF NEW.due_at IS NOT NULL THEN broken := 'run_final_has_no_due'; END IF;
    ELSIF NEW.state = 'running' THEN
        IF NEW.lease_until IS NULL THEN broken := 'run_running_has_lease'; END IF;
    ELSIF NEW.state NOT IN ('ready', 'sleeping', 'waiting') THEN broken := 'run_state_known'; END IF;
    IF NEW.hold NOT IN ('', 'pause', 'stop') THEN broken := 'run_hold_known'; END IF;
    IF least(NEW.version, NEW.fence, NEW.event_seq, NEW.retries, NEW.tokens_in, NEW.tokens_out, NEW.cost_micros,
            NEW.migrated_seq) < 0
        THEN broken := 'run_not_negative'; END IF;
""",
    ),
    "runs_step": (
        "",
        """
    IF NEW.state = 'done' THEN
        IF NEW.output_id IS NULL THEN broken := 'step_done_has_output'; END IF;
    ELSIF NEW.state NOT IN ('ready', 'running', 'sleeping', 'waiting', 'failed', 'ended') THEN
        broken := 'step_state_known';
    END IF;
    IF least(NEW.seq, NEW.place, NEW.fence, NEW.losses) < 0 THEN broken := 'step_not_negative'; END IF;
""",
    ),
    "runs_attempt": (
        "",
        """
    IF NEW.state NOT IN ('running', 'asked', 'done', 'broken', 'failed', 'cut', 'voided') THEN
        broken := 'attempt_state_known';
    END IF;
    IF least(NEW.number, NEW.fence) < 0 THEN broken := 'attempt_not_negative'; END IF;
""",
    ),
    "runs_call": (
        "",
        """
    IF NEW.state NOT IN ('permitted', 'done', 'failed', 'unknown', 'cut', 'refused') THEN
        broken := 'call_state_known';
    END IF;
    IF least(NEW.send, NEW.fence, NEW.tokens_in, NEW.tokens_out, NEW.cost_micros, NEW.latency_ms) < 0 THEN
        broken := 'call_not_negative';
    END IF;
""",
    ),
}

# Of fields that are positive: the models still say so, the triggers see to it.
_UNCHECKED = """
DO $$ DECLARE found record; BEGIN
    FOR found IN SELECT conrelid::regclass AS place, conname FROM pg_constraint WHERE contype = 'c'
        AND conrelid IN ('runs_run'::regclass, 'runs_step'::regclass, 'runs_attempt'::regclass, 'runs_call'::regclass,
            'runs_event'::regclass, 'runs_body'::regclass)
    LOOP EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', found.place, found.conname); END LOOP;
END $$;
"""


def _kept() -> list[migrations.RunSQL]:
    return [
        migrations.RunSQL(
            _REFUSE.format(table=table, only=only, rules=rules.strip()),
            f"DROP TRIGGER {table}_kept ON {table}; DROP FUNCTION {table}_kept()",
        )
        for table, (only, rules) in _KEPT.items()
    ]


class Migration(migrations.Migration):
    dependencies = [
        ("runs", "0014_size"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="attempt",
            name="attempt_state_known",
        ),
        migrations.RemoveConstraint(
            model_name="call",
            name="call_state_known",
        ),
        migrations.RemoveConstraint(
            model_name="run",
            name="run_state_known",
        ),
        migrations.RemoveConstraint(
            model_name="run",
            name="run_hold_known",
        ),
        migrations.RemoveConstraint(
            model_name="run",
            name="run_running_has_lease",
        ),
        migrations.RemoveConstraint(
            model_name="run",
            name="run_final_has_no_due",
        ),
        migrations.RemoveConstraint(
            model_name="step",
            name="step_done_has_output",
        ),
        migrations.RemoveConstraint(
            model_name="step",
            name="step_state_known",
        ),
        migrations.AlterField(
            model_name="attempt",
            name="step",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="attempts",
                to="runs.step",
            ),
        ),
        migrations.AlterField(
            model_name="call",
            name="attempt",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="calls",
                to="runs.attempt",
            ),
        ),
        migrations.AlterField(
            model_name="call",
            name="run",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="calls",
                to="runs.run",
            ),
        ),
        migrations.AlterField(
            model_name="call",
            name="step",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="calls",
                to="runs.step",
            ),
        ),
        migrations.AlterField(
            model_name="step",
            name="run",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="steps",
                to="runs.run",
            ),
        ),
        migrations.RunSQL(_UNCHECKED, migrations.RunSQL.noop),
        *_kept(),
    ]
