"""A call's permit and its record as one SQL function each: `runs_permit` and `runs_record`.

Like the other functions of the straight way they check everything before they write anything and return no row when
something is not plain: then runs.engine.permits does it at length, and says what was in the way. The permit passes the
gate as its first statement.
"""

from django.db import migrations

PERMIT = """
CREATE FUNCTION runs_permit(
    p_run bigint, p_fence bigint, p_worker text, p_step bigint, p_attempt bigint, p_kind text, p_name text, p_key text,
    p_request text, p_content text, p_size integer, p_effect text, p_egress boolean, p_digest text, p_question bigint,
    p_simulated boolean, p_model text, p_prompt text, p_parameters jsonb
) RETURNS TABLE (call_id bigint, send integer, permitted_at timestamptz)
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    run record;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(7050201);
    SELECT r.workflow, r.lease_until INTO run FROM runs_run r
        WHERE r.id = p_run AND r.fence = p_fence AND r.lease_owner = p_worker AND r.hold = ''
        FOR NO KEY UPDATE;
    IF NOT FOUND THEN RETURN; END IF;
    permitted_at := clock_timestamp();
    IF run.lease_until IS NULL OR run.lease_until <= permitted_at
        OR EXISTS (SELECT FROM runs_control control WHERE control.released_at IS NULL AND (
            control.scope_kind = 'everything'
            OR control.scope_kind = 'workflow' AND control.scope = run.workflow
            OR control.scope_kind = 'run' AND control.scope = p_run::text))
        OR EXISTS (SELECT FROM runs_step s WHERE s.id = p_step AND s.state IN ('done', 'failed', 'ended'))
        OR p_question IS NOT NULL AND NOT EXISTS (SELECT FROM runs_question q
            WHERE q.id = p_question AND q.step_id = p_step AND q.call_key = p_key AND q.state = 'answered'
                AND q.verb = 'approve' AND q.answer_digest = p_digest)
    THEN RETURN; END IF;
    INSERT INTO runs_body (digest, content, size) VALUES (p_request, p_content, p_size) ON CONFLICT DO NOTHING;
    send := 1 + coalesce((SELECT max(c.send) FROM runs_call c WHERE c.step_id = p_step AND c.key = p_key), 0);
    INSERT INTO runs_call (run_id, step_id, attempt_id, kind, name, key, send, state, replayable, fence, request_id,
            error_class, error, effect, egress, digest, question_id, simulated, model, model_returned, prompt_version,
            parameters, permitted_at)
        VALUES (p_run, p_step, p_attempt, p_kind, p_name, p_key, runs_permit.send, 'permitted', true, p_fence,
            p_request, '', '', p_effect, p_egress, p_digest, p_question, p_simulated, p_model, '', p_prompt,
            p_parameters, runs_permit.permitted_at)
        RETURNING id INTO call_id;
    RETURN NEXT;
END $$;
"""

RECORD = """
CREATE FUNCTION runs_record(
    p_run bigint, p_fence bigint, p_call bigint, p_state text, p_response text, p_content text, p_size integer,
    p_error text, p_error_class text, p_tokens_in integer, p_tokens_out integer, p_cost bigint, p_model text,
    p_latency integer, p_handed timestamptz
) RETURNS TABLE (event_seq integer, finished_at timestamptz)
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    run record;
    call record;
BEGIN
    SELECT r.event_seq INTO run FROM runs_run r WHERE r.id = p_run AND r.fence = p_fence FOR NO KEY UPDATE;
    IF NOT FOUND THEN RETURN; END IF;
    SELECT c.step_id, c.name, c.send INTO call FROM runs_call c
        WHERE c.id = p_call AND c.state = 'permitted' AND c.cost_micros IS NULL FOR NO KEY UPDATE;
    IF NOT FOUND THEN RETURN; END IF;
    event_seq := run.event_seq + 1;
    finished_at := clock_timestamp();
    IF p_response IS NOT NULL THEN
        INSERT INTO runs_body (digest, content, size) VALUES (p_response, p_content, p_size) ON CONFLICT DO NOTHING;
    END IF;
    UPDATE runs_call SET state = p_state, response_id = p_response, error = p_error, error_class = p_error_class,
            model_returned = p_model, latency_ms = p_latency, cost_micros = p_cost, tokens_in = p_tokens_in,
            tokens_out = p_tokens_out, finished_at = runs_record.finished_at,
            handed_at = coalesce(p_handed, runs_call.handed_at)
        WHERE id = p_call;
    INSERT INTO runs_event (run_id, seq, at, kind, step_id, data) VALUES (p_run, runs_record.event_seq,
        runs_record.finished_at, 'call', call.step_id,
        jsonb_build_object('call', p_call, 'name', call.name, 'state', p_state, 'send', call.send));
    IF p_cost IS NULL AND p_tokens_in IS NULL THEN
        UPDATE runs_run SET event_seq = runs_record.event_seq WHERE id = p_run;
    ELSE
        UPDATE runs_run SET event_seq = runs_record.event_seq, tokens_in = tokens_in + coalesce(p_tokens_in, 0),
                tokens_out = tokens_out + coalesce(p_tokens_out, 0), cost_micros = cost_micros + coalesce(p_cost, 0)
            WHERE id = p_run;
    END IF;
    RETURN NEXT;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("runs", "0018_take_up")]

    operations = [
        migrations.RunSQL(PERMIT, "DROP FUNCTION runs_permit"),
        migrations.RunSQL(RECORD, "DROP FUNCTION runs_record"),
    ]
