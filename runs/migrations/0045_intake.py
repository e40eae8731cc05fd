"""The plain start, cheaper where many runs are. The queue is counted only when a limit is given: whoever has counted
lately gives none. And a used key is found by the run's own unique index when it is written: the look before was planned
while there were few runs, by an index that reads every run of the workflow, and was 0.07 µs slower with each of them.
"""

from importlib import import_module

from django.db import migrations

_start = import_module("runs.migrations.0047_start")

BEFORE = _start.START.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")
START = """
CREATE OR REPLACE FUNCTION runs_start(
    p_workflow text, p_version integer, p_definition text, p_team text, p_goal text, p_key text, p_by text,
    p_simulated boolean, p_input_digest text, p_input text, p_input_size integer, p_deadline interval, p_limit integer,
    p_data text
) RETURNS TABLE (run_id bigint, team_id bigint, moment timestamptz)
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(7050201);
    SELECT team.id INTO team_id FROM runs_team team WHERE team.name = p_team;
    IF NOT FOUND
        OR EXISTS (SELECT FROM runs_control control WHERE control.released_at IS NULL AND (
            control.scope_kind = 'everything'
            OR control.scope_kind = 'workflow' AND control.scope = p_workflow
            OR control.scope_kind = 'run' AND control.scope = '0'))
        OR NOT EXISTS (SELECT FROM runs_definition known WHERE known.workflow = p_workflow
            AND known.version = p_version AND known.replaced_at IS NULL AND known.digest = p_definition)
        OR p_limit IS NOT NULL AND p_limit <= (SELECT count(*) FROM (
            SELECT FROM runs_run run WHERE run.state IN ('ready', 'running', 'sleeping') LIMIT p_limit) going)
    THEN RETURN; END IF;
    moment := clock_timestamp();
    -- Before its input: with a key that has been used nothing is stored. Foreign keys are looked at with the commit.
    INSERT INTO runs_run (workflow, version, team_id, goal, state, hold, start_key, started_by, simulated, recorded,
            input_id, ending, created_at, deadline_at, due_at, lease_owner, fence, event_seq, retries, tokens_in,
            tokens_out, cost_micros, definition)
        VALUES (p_workflow, p_version, runs_start.team_id, p_goal, 'ready', '', p_key, p_by, p_simulated, false,
            p_input_digest, '', moment, moment + p_deadline, moment, '', 0, 1, 0, 0, 0, 0, p_definition)
        ON CONFLICT (workflow, start_key) DO NOTHING RETURNING id INTO run_id;
    IF NOT FOUND THEN RETURN; END IF;
    INSERT INTO runs_body (digest, content, size) VALUES (p_input_digest, p_input, p_input_size) ON CONFLICT DO NOTHING;
    INSERT INTO runs_event (run_id, seq, at, kind, data)
        VALUES (runs_start.run_id, 1, moment, 'started', p_data::jsonb);
    RETURN NEXT;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("runs", "0044_given_back_once")]

    operations = [migrations.RunSQL(START, BEFORE)]
