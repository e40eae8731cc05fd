"""The straight way as SQL functions: one statement a step, and no index or free space that it has to pay for.

`runs_begin` takes the lease of a fresh run and begins its first step; `runs_hand_on` records a step's output and
begins the one step that comes next, or ends the run. Both pass the gate as their first statement, check everything
before they write anything, and return no row when something is not plain: then runs.engine does it at length.
"""

from typing import Any

import django.db.models.deletion
from django.db import migrations, models

_COVERED = """
    EXISTS (SELECT FROM runs_control control WHERE control.released_at IS NULL AND (
        control.scope_kind = 'everything'
        OR control.scope_kind = 'workflow' AND control.scope = run.workflow
        OR control.scope_kind = 'run' AND control.scope = p_run::text))
"""

BEGIN = f"""
CREATE FUNCTION runs_begin(
    p_run bigint, p_fence bigint, p_worker text, p_lease interval, p_node text, p_agent text
) RETURNS TABLE (fence bigint, step_id bigint, attempt_id bigint, event_seq integer, seconds_left float8)
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    run record;
    moment timestamptz;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(7050201);
    SELECT r.workflow, r.event_seq, r.deadline_at, r.due_at, r.input_id INTO run FROM runs_run r
        WHERE r.id = p_run AND r.fence = p_fence AND r.state = 'ready' AND r.hold = ''
        FOR NO KEY UPDATE SKIP LOCKED;
    IF NOT FOUND THEN RETURN; END IF;
    moment := clock_timestamp();
    IF run.due_at IS NULL OR run.due_at > moment OR run.deadline_at <= moment OR {_COVERED}
        OR EXISTS (SELECT FROM runs_step s WHERE s.run_id = p_run)
        OR EXISTS (SELECT FROM runs_question q WHERE q.run_id = p_run)
    THEN RETURN; END IF;
    fence := p_fence + 1;
    event_seq := run.event_seq + 2;
    seconds_left := extract(epoch FROM run.deadline_at - moment);
    UPDATE runs_run SET state = 'running', fence = runs_begin.fence, event_seq = runs_begin.event_seq,
            lease_owner = p_worker, lease_until = moment + p_lease, due_at = moment + p_lease
        WHERE id = p_run;
    INSERT INTO runs_step (run_id, seq, node, state, input_id, answered_by, fence, started_at)
        VALUES (p_run, 1, p_node, 'running', run.input_id, '', runs_begin.fence, moment) RETURNING id INTO step_id;
    INSERT INTO runs_attempt (step_id, number, agent, state, fence, worker, note, error_class, error, error_where,
            started_at)
        VALUES (runs_begin.step_id, 1, p_agent, 'running', runs_begin.fence, p_worker, '', '', '', '', moment)
        RETURNING id INTO attempt_id;
    INSERT INTO runs_event (run_id, seq, at, kind, step_id, data) VALUES
        (p_run, run.event_seq + 1, moment, 'step', runs_begin.step_id, jsonb_build_object('node', p_node, 'seq', 1)),
        (p_run, run.event_seq + 2, moment, 'attempt', runs_begin.step_id,
            jsonb_build_object('number', 1, 'agent', p_agent));
    RETURN NEXT;
END $$;
"""

HAND_ON = f"""
CREATE FUNCTION runs_hand_on(
    p_run bigint, p_fence bigint, p_worker text, p_lease interval, p_step bigint, p_attempt bigint,
    p_output_digest text, p_output text, p_output_size integer,
    p_given_digest text, p_given text, p_given_size integer,
    p_seq integer, p_node text, p_agent text
) RETURNS TABLE (step_id bigint, attempt_id bigint, event_seq integer, seconds_left float8)
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    run record;
    settled text;
    moment timestamptz;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(7050201);
    SELECT r.workflow, r.event_seq, r.deadline_at, r.lease_until INTO run FROM runs_run r
        WHERE r.id = p_run AND r.fence = p_fence AND r.state = 'running' AND r.hold = ''
        FOR NO KEY UPDATE;
    IF NOT FOUND THEN RETURN; END IF;
    moment := clock_timestamp();
    IF run.deadline_at <= moment OR {_COVERED}
        OR EXISTS (SELECT FROM runs_step s WHERE s.run_id = p_run AND s.id <> p_step
                   AND s.state NOT IN ('done', 'failed', 'ended'))
        OR p_node IS NULL AND EXISTS (SELECT FROM runs_question q WHERE q.run_id = p_run AND q.state = 'open')
    THEN RETURN; END IF;
    INSERT INTO runs_body (digest, content, size) VALUES (p_output_digest, p_output, p_output_size)
        ON CONFLICT DO NOTHING;
    IF p_given_digest <> p_output_digest THEN
        INSERT INTO runs_body (digest, content, size) VALUES (p_given_digest, p_given, p_given_size)
            ON CONFLICT DO NOTHING;
    END IF;
    UPDATE runs_step s SET state = 'done', output_id = p_output_digest, answered_by = '', fence = 0, losses = 0,
            due_at = NULL, finished_at = moment
        WHERE s.id = p_step AND s.state = 'running' AND s.parent_id IS NULL RETURNING s.node INTO settled;
    IF NOT FOUND THEN RAISE EXCEPTION 'step % is not running', p_step USING ERRCODE = 'OC001'; END IF;
    UPDATE runs_attempt a SET state = 'done', finished_at = moment
        WHERE a.id = p_attempt AND a.state = 'running';
    IF NOT FOUND THEN RAISE EXCEPTION 'attempt % is not running', p_attempt USING ERRCODE = 'OC001'; END IF;
    IF p_node IS NULL THEN
        event_seq := run.event_seq + 2;
        INSERT INTO runs_event (run_id, seq, at, kind, step_id, data) VALUES
            (p_run, run.event_seq + 1, moment, 'step done', p_step, jsonb_build_object('node', settled, 'by', '')),
            (p_run, run.event_seq + 2, moment, 'done', NULL, '{{}}');
        UPDATE runs_run SET state = 'done', event_seq = runs_hand_on.event_seq, output_id = p_given_digest,
                ending = '', finished_at = moment, due_at = NULL, lease_owner = '', lease_until = NULL
            WHERE id = p_run;
        RETURN NEXT;
        RETURN;
    END IF;
    event_seq := run.event_seq + 3;
    seconds_left := extract(epoch FROM run.deadline_at - moment);
    INSERT INTO runs_step (run_id, seq, node, state, input_id, answered_by, fence, started_at)
        VALUES (p_run, p_seq, p_node, 'running', p_given_digest, '', p_fence, moment) RETURNING id INTO step_id;
    INSERT INTO runs_attempt (step_id, number, agent, state, fence, worker, note, error_class, error, error_where,
            started_at)
        VALUES (runs_hand_on.step_id, 1, p_agent, 'running', p_fence, p_worker, '', '', '', '', moment)
        RETURNING id INTO attempt_id;
    INSERT INTO runs_event (run_id, seq, at, kind, step_id, data) VALUES
        (p_run, run.event_seq + 1, moment, 'step done', p_step, jsonb_build_object('node', settled, 'by', '')),
        (p_run, run.event_seq + 2, moment, 'step', runs_hand_on.step_id,
            jsonb_build_object('node', p_node, 'seq', p_seq)),
        (p_run, run.event_seq + 3, moment, 'attempt', runs_hand_on.step_id,
            jsonb_build_object('number', 1, 'agent', p_agent));
    -- The lease is indexed by `due_at`: it is extended when a third of it is over, not with every step.
    IF run.lease_until < moment + p_lease * (2.0 / 3) THEN
        UPDATE runs_run SET event_seq = runs_hand_on.event_seq, lease_owner = p_worker,
                lease_until = moment + p_lease, due_at = moment + p_lease
            WHERE id = p_run;
    ELSE
        UPDATE runs_run SET event_seq = runs_hand_on.event_seq WHERE id = p_run;
    END IF;
    RETURN NEXT;
END $$;
"""

# Django makes an index for LIKE beside every index of a text column; nobody looks for a digest's beginning.
UNLIKE = """
DO $$ DECLARE found text; BEGIN
    FOR found IN SELECT indexname FROM pg_indexes WHERE schemaname = current_schema()
        AND tablename = 'runs_body' AND indexname LIKE '%\\_like'
    LOOP EXECUTE format('DROP INDEX %I', found); END LOOP;
END $$;
"""

# What is updated in place stays on its page: no index has to learn of a new row version.
ROOM = """
ALTER TABLE runs_run SET (fillfactor = 60);
ALTER TABLE runs_step SET (fillfactor = 80);
ALTER TABLE runs_attempt SET (fillfactor = 80);
"""
UNROOM = """
ALTER TABLE runs_run RESET (fillfactor);
ALTER TABLE runs_step RESET (fillfactor);
ALTER TABLE runs_attempt RESET (fillfactor);
"""


def _body(null: bool) -> "models.ForeignKey[Any, Any]":
    return models.ForeignKey(
        db_index=False,
        null=null,
        on_delete=django.db.models.deletion.PROTECT,
        related_name="+",
        to="runs.body",
    )


class Migration(migrations.Migration):
    dependencies = [("runs", "0007_runs_by_version")]

    operations = [
        migrations.AlterField("run", "input", _body(null=False)),
        migrations.AlterField("run", "output", _body(null=True)),
        migrations.AlterField("step", "input", _body(null=False)),
        migrations.AlterField("step", "output", _body(null=True)),
        migrations.AlterField("call", "request", _body(null=False)),
        migrations.AlterField("call", "response", _body(null=True)),
        migrations.RunSQL(UNLIKE, migrations.RunSQL.noop),
        migrations.RunSQL(ROOM, UNROOM),
        migrations.RunSQL(BEGIN, "DROP FUNCTION runs_begin"),
        migrations.RunSQL(HAND_ON, "DROP FUNCTION runs_hand_on"),
    ]
