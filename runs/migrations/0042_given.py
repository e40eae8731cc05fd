"""A person's own value as a step's output in one SQL function: `runs_given` takes the lease of a run that waited, ends
its one waiting step with that output, and begins the next.

Like `runs_take_up` it passes the gate first, checks everything before it writes anything, and returns no row when
something is not plain: then runs.engine does it at length.
"""

from django.db import migrations

GIVEN = """
CREATE FUNCTION runs_given(
    p_run bigint, p_fence bigint, p_worker text, p_lease interval, p_step bigint, p_by text, p_output_digest text,
    p_output text, p_output_size integer, p_given_digest text, p_given text, p_given_size integer, p_seq integer,
    p_node text, p_agent text
) RETURNS TABLE (fence bigint, step_id bigint, attempt_id bigint, event_seq integer, seconds_left float8)
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    run record;
    settled text;
    moment timestamptz;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(7050201);
    SELECT r.workflow, r.event_seq, r.deadline_at, r.due_at INTO run FROM runs_run r
        WHERE r.id = p_run AND r.fence = p_fence AND r.state = 'ready' AND r.hold = ''
        FOR NO KEY UPDATE SKIP LOCKED;
    IF NOT FOUND THEN RETURN; END IF;
    moment := clock_timestamp();
    IF run.due_at IS NULL OR run.due_at > moment OR run.deadline_at <= moment
        OR EXISTS (SELECT FROM runs_control control WHERE control.released_at IS NULL AND (
            control.scope_kind = 'everything'
            OR control.scope_kind = 'workflow' AND control.scope = run.workflow
            OR control.scope_kind = 'run' AND control.scope = p_run::text))
        OR EXISTS (SELECT FROM runs_step s WHERE s.run_id = p_run AND s.id <> p_step
                   AND s.state NOT IN ('done', 'failed', 'ended'))
        OR EXISTS (SELECT FROM runs_step s WHERE s.run_id = p_run AND s.seq >= p_seq)
        OR EXISTS (SELECT FROM runs_question q WHERE q.run_id = p_run AND (q.state = 'open' OR q.step_id IS NULL))
    THEN RETURN; END IF;
    INSERT INTO runs_body (digest, content, size) VALUES (p_output_digest, p_output, p_output_size)
        ON CONFLICT DO NOTHING;
    IF p_given_digest <> p_output_digest THEN
        INSERT INTO runs_body (digest, content, size) VALUES (p_given_digest, p_given, p_given_size)
            ON CONFLICT DO NOTHING;
    END IF;
    UPDATE runs_step s SET state = 'done', output_id = p_output_digest, answered_by = p_by, fence = 0, due_at = NULL,
            finished_at = moment
        WHERE s.id = p_step AND s.state = 'waiting' AND s.parent_id IS NULL RETURNING s.node INTO settled;
    IF NOT FOUND THEN RAISE EXCEPTION 'step % does not wait', p_step USING ERRCODE = 'OC001'; END IF;
    fence := p_fence + 1;
    event_seq := run.event_seq + 3;
    seconds_left := extract(epoch FROM run.deadline_at - moment);
    INSERT INTO runs_step (run_id, seq, node, state, input_id, answered_by, fence, started_at)
        VALUES (p_run, p_seq, p_node, 'running', p_given_digest, '', runs_given.fence, moment)
        RETURNING id INTO step_id;
    INSERT INTO runs_attempt (step_id, number, agent, state, fence, worker, note, error_class, error, error_where,
            started_at)
        VALUES (runs_given.step_id, 1, p_agent, 'running', runs_given.fence, p_worker, '', '', '', '', moment)
        RETURNING id INTO attempt_id;
    INSERT INTO runs_event (run_id, seq, at, kind, step_id, data) VALUES
        (p_run, run.event_seq + 1, moment, 'step done', p_step, jsonb_build_object('node', settled, 'by', p_by)),
        (p_run, run.event_seq + 2, moment, 'step', runs_given.step_id,
            jsonb_build_object('node', p_node, 'seq', p_seq)),
        (p_run, run.event_seq + 3, moment, 'attempt', runs_given.step_id,
            jsonb_build_object('number', 1, 'agent', p_agent));
    UPDATE runs_run SET state = 'running', fence = runs_given.fence, event_seq = runs_given.event_seq,
            lease_owner = p_worker, lease_until = moment + p_lease, due_at = moment + p_lease
        WHERE id = p_run;
    RETURN NEXT;
END $$;
"""
UNDO = """
DROP FUNCTION runs_given(
    bigint, bigint, text, interval, bigint, text, text, text, integer, text, text, integer, integer, text, text
)
"""


class Migration(migrations.Migration):
    dependencies = [("runs", "0041_uncertain_counts")]

    operations = [migrations.RunSQL(GIVEN, UNDO)]
