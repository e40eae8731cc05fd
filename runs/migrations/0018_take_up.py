"""Going on after a person's answer as one SQL function: `runs_take_up` takes the lease of a run that waited and lets
its one waiting step go on, in the attempt that asked or in a new one.

Like `runs_begin` it passes the gate first, checks everything before it writes anything, and returns no row when
something is not plain: then runs.engine does it at length.
"""

from django.db import migrations

TAKE_UP = """
CREATE FUNCTION runs_take_up(
    p_run bigint, p_fence bigint, p_worker text, p_lease interval, p_step bigint, p_attempt bigint, p_number integer,
    p_agent text, p_note text
) RETURNS TABLE (fence bigint, attempt_id bigint, event_seq integer, seconds_left float8)
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    run record;
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
        OR EXISTS (SELECT FROM runs_question q WHERE q.run_id = p_run AND (q.state = 'open' OR q.step_id IS NULL))
    THEN RETURN; END IF;
    fence := p_fence + 1;
    event_seq := run.event_seq + 1;
    seconds_left := extract(epoch FROM run.deadline_at - moment);
    -- A new attempt is the node's own work again: a person begins anew.
    UPDATE runs_step s SET state = 'running', fence = runs_take_up.fence, due_at = NULL,
            losses = CASE WHEN p_attempt IS NULL THEN 0 ELSE s.losses END,
            by = CASE WHEN p_attempt IS NULL THEN '' ELSE s.by END
        WHERE s.id = p_step AND s.state = 'waiting';
    IF NOT FOUND THEN RAISE EXCEPTION 'step % does not wait', p_step USING ERRCODE = 'OC001'; END IF;
    IF p_attempt IS NULL THEN
        INSERT INTO runs_attempt (step_id, number, agent, state, fence, worker, note, error_class, error, error_where,
                started_at)
            VALUES (p_step, p_number, p_agent, 'running', runs_take_up.fence, p_worker, p_note, '', '', '', moment)
            RETURNING id INTO attempt_id;
        INSERT INTO runs_event (run_id, seq, at, kind, step_id, data) VALUES (p_run, runs_take_up.event_seq, moment,
            'attempt', p_step, jsonb_build_object('number', p_number, 'agent', p_agent));
    ELSE
        attempt_id := p_attempt;
        UPDATE runs_attempt a SET state = 'running', fence = runs_take_up.fence, worker = p_worker
            WHERE a.id = p_attempt AND a.state = 'asked';
        IF NOT FOUND THEN RAISE EXCEPTION 'attempt % did not ask', p_attempt USING ERRCODE = 'OC001'; END IF;
        INSERT INTO runs_event (run_id, seq, at, kind, step_id, data) VALUES (p_run, runs_take_up.event_seq, moment,
            'went on', p_step, jsonb_build_object('number', p_number));
    END IF;
    UPDATE runs_run SET state = 'running', fence = runs_take_up.fence, event_seq = runs_take_up.event_seq,
            lease_owner = p_worker, lease_until = moment + p_lease, due_at = moment + p_lease
        WHERE id = p_run;
    RETURN NEXT;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("runs", "0017_limits")]

    operations = [migrations.RunSQL(TAKE_UP, "DROP FUNCTION runs_take_up")]
