"""The plain start of a run as one SQL function. It passes the gate first, looks at everything before it writes, and
gives no row when something is not plain (a key that has been used, a control, a full queue, a definition or a team
that is not on record yet): then runs.engine.starts does it at length, in the same transaction.
"""

from django.db import migrations

START = """
CREATE FUNCTION runs_start(
    p_workflow text, p_version integer, p_definition text, p_team text, p_goal text, p_key text, p_by text,
    p_simulated boolean, p_input_digest text, p_input text, p_input_size integer, p_deadline interval, p_limit integer,
    p_data text
) RETURNS TABLE (run_id bigint, team_id bigint, moment timestamptz)
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(7050201);
    SELECT team.id INTO team_id FROM runs_team team WHERE team.name = p_team;
    IF NOT FOUND
        OR EXISTS (SELECT FROM runs_run run WHERE run.workflow = p_workflow AND run.start_key = p_key)
        OR EXISTS (SELECT FROM runs_control control WHERE control.released_at IS NULL AND (
            control.scope_kind = 'everything'
            OR control.scope_kind = 'workflow' AND control.scope = p_workflow
            OR control.scope_kind = 'run' AND control.scope = '0'))
        OR NOT EXISTS (SELECT FROM runs_definition known WHERE known.workflow = p_workflow
            AND known.version = p_version AND known.replaced_at IS NULL AND known.digest = p_definition)
        OR p_limit <= (SELECT count(*) FROM (
            SELECT FROM runs_run run WHERE run.state IN ('ready', 'running', 'sleeping') LIMIT p_limit) going)
    THEN RETURN; END IF;
    moment := clock_timestamp();
    INSERT INTO runs_body (digest, content, size) VALUES (p_input_digest, p_input, p_input_size) ON CONFLICT DO NOTHING;
    INSERT INTO runs_run (workflow, version, team_id, goal, state, hold, start_key, started_by, simulated, recorded,
            input_id, ending, created_at, deadline_at, due_at, lease_owner, fence, event_seq, retries, tokens_in,
            tokens_out, cost_micros, definition)
        VALUES (p_workflow, p_version, runs_start.team_id, p_goal, 'ready', '', p_key, p_by, p_simulated, false,
            p_input_digest, '', moment, moment + p_deadline, moment, '', 0, 1, 0, 0, 0, 0, p_definition)
        ON CONFLICT (workflow, start_key) DO NOTHING RETURNING id INTO run_id;
    IF NOT FOUND THEN RETURN; END IF;  -- the same key at the same moment
    INSERT INTO runs_event (run_id, seq, at, kind, data)
        VALUES (runs_start.run_id, 1, moment, 'started', p_data::jsonb);
    RETURN NEXT;
END $$;
"""
UNDO = """
DROP FUNCTION runs_start(
    text, integer, text, text, text, text, text, boolean, text, text, integer, interval, integer, text
)
"""


class Migration(migrations.Migration):
    dependencies = [
        ("runs", "0040_opened_at_once"),
    ]

    operations = [migrations.RunSQL(START, UNDO)]
