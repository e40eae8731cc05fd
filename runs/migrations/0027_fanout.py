"""A task of a plan is settled by one SQL function: `runs_task_done` records its output and begins the next task.

Like `runs_hand_on` it passes the gate first, checks everything before it writes anything, and returns no row when
something is not plain: then runs.engine does it at length. What it looks at is found by an index of the tasks that are
open, by state: neither the settled ones nor those that are planned and not begun yet cost it anything.
"""

from django.db import migrations, models
from django.db.models import Q

TASK_DONE = """
CREATE FUNCTION runs_task_done(
    p_run bigint, p_fence bigint, p_worker text, p_lease interval, p_step bigint, p_attempt bigint, p_parent bigint,
    p_digest text, p_output text, p_size integer,
    p_width integer, p_need integer, p_share float8, p_nodes text[], p_agents text[]
) RETURNS TABLE (event_seq integer, seconds_left float8, step_id bigint, seq integer, node text, parent_id bigint,
    place integer, input_id text, input text, attempt_id bigint, number integer, note text)
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    run record;
    following record;
    siblings record;
    beside integer;
    odd boolean;
    begins boolean;
    agent text;
    settled text;
    moment timestamptz;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(7050201);
    SELECT r.workflow, r.event_seq, r.deadline_at, r.lease_until INTO run FROM runs_run r
        WHERE r.id = p_run AND r.fence = p_fence AND r.state = 'running' AND r.hold = ''
        FOR NO KEY UPDATE;
    IF NOT FOUND THEN RETURN; END IF;
    moment := clock_timestamp();
    IF run.deadline_at <= moment
        OR EXISTS (SELECT FROM runs_control control WHERE control.released_at IS NULL AND (
            control.scope_kind = 'everything'
            OR control.scope_kind = 'workflow' AND control.scope = run.workflow
            OR control.scope_kind = 'run' AND control.scope = p_run::text))
    THEN RETURN; END IF;
    -- What is performed beside it, and whether something else can go on: a lost step, one that woke, an answered one.
    SELECT count(*), bool_or(s.fence <> p_fence OR s.losses >= 2) INTO beside, odd FROM runs_step s
        WHERE s.run_id = p_run AND s.parent_id IS NOT NULL AND s.state = 'running' AND s.id <> p_step;
    IF odd OR beside >= p_width
        OR EXISTS (SELECT FROM runs_step s WHERE s.run_id = p_run AND s.parent_id IS NOT NULL AND s.state = 'sleeping'
                AND (s.due_at <= moment OR s.due_at IS NULL))
        OR EXISTS (SELECT FROM runs_step s WHERE s.run_id = p_run AND s.parent_id IS NOT NULL AND s.state = 'waiting'
                AND NOT EXISTS (SELECT FROM runs_question q WHERE q.step_id = s.id AND q.state = 'open'))
    THEN RETURN; END IF;
    -- In the order of the open tasks' index alone: any other would be walked from the run's first step.
    SELECT s.id, s.run_id, s.state, s.seq, s.node, s.parent_id, s.place, s.input_id, s.by AS stand_in, s.note
        INTO following FROM runs_step s
        WHERE (s.run_id, s.state, s.seq) > (p_run, 'ready', 0) AND s.parent_id IS NOT NULL
            AND s.state IN ('ready', 'running', 'sleeping', 'waiting')
        ORDER BY s.run_id, s.state, s.seq LIMIT 1;
    begins := coalesce(following.run_id = p_run AND following.state = 'ready', false);
    IF NOT begins THEN
        IF beside = 0 THEN RETURN; END IF;  -- the run comes to rest
    ELSE
        agent := p_agents[array_position(p_nodes, following.node::text)];
        IF agent IS NULL OR following.stand_in <> '' OR beside + 1 < p_width AND EXISTS (SELECT FROM runs_step s
            WHERE s.run_id = p_run AND s.parent_id IS NOT NULL AND s.state = 'ready' AND s.seq > following.seq)
        THEN RETURN; END IF;  -- several may begin
    END IF;
    -- A join for which all others settle first is moved by the last of them alone; the last places are begun last.
    PERFORM FROM runs_step s WHERE s.parent_id = p_parent AND s.id <> p_step
        AND s.state IN ('ready', 'running', 'sleeping', 'waiting') ORDER BY s.place DESC LIMIT 1;
    IF NOT FOUND THEN RETURN; END IF;
    IF p_need IS NOT NULL OR p_share IS NOT NULL THEN
        SELECT count(*) AS total, count(*) FILTER (WHERE s.state = 'done') AS done INTO siblings FROM runs_step s
            WHERE s.parent_id = p_parent;
        IF siblings.done + 1 >= coalesce(p_need, greatest(1, ceil(p_share * siblings.total - 1e-9)))
        THEN RETURN; END IF;
    END IF;
    INSERT INTO runs_body (digest, content, size) VALUES (p_digest, p_output, p_size) ON CONFLICT DO NOTHING;
    UPDATE runs_step s SET state = 'done', output_id = p_digest, answered_by = '', fence = 0, losses = 0, due_at = NULL,
            finished_at = moment
        WHERE s.id = p_step AND s.state = 'running' AND s.fence = p_fence AND s.parent_id = p_parent
        RETURNING s.node INTO settled;
    IF NOT FOUND THEN RAISE EXCEPTION 'step % is not running', p_step USING ERRCODE = 'OC001'; END IF;
    UPDATE runs_attempt a SET state = 'done', finished_at = moment WHERE a.id = p_attempt AND a.state = 'running';
    IF NOT FOUND THEN RAISE EXCEPTION 'attempt % is not running', p_attempt USING ERRCODE = 'OC001'; END IF;
    event_seq := run.event_seq + 1;
    seconds_left := extract(epoch FROM run.deadline_at - moment);
    INSERT INTO runs_event (run_id, seq, at, kind, step_id, data) VALUES (p_run, runs_task_done.event_seq, moment,
        'step done', p_step, jsonb_build_object('node', settled, 'by', ''));
    IF begins THEN
        event_seq := run.event_seq + 2;
        step_id := following.id;
        seq := following.seq;
        node := following.node;
        parent_id := following.parent_id;
        place := following.place;
        input_id := following.input_id;
        note := following.note;
        number := 1 + coalesce((SELECT max(a.number) FROM runs_attempt a WHERE a.step_id = following.id), 0);
        SELECT body.content INTO input FROM runs_body body WHERE body.digest = following.input_id;
        UPDATE runs_step s SET state = 'running', fence = p_fence, due_at = NULL WHERE s.id = following.id;
        INSERT INTO runs_attempt (step_id, number, agent, state, fence, worker, note, error_class, error, error_where,
                started_at)
            VALUES (following.id, runs_task_done.number, agent, 'running', p_fence, p_worker, following.note, '', '',
                '', moment)
            RETURNING id INTO attempt_id;
        INSERT INTO runs_event (run_id, seq, at, kind, step_id, data) VALUES (p_run, runs_task_done.event_seq, moment,
            'attempt', following.id, jsonb_build_object('number', runs_task_done.number, 'agent', agent));
    END IF;
    -- The lease is indexed by `due_at`: it is extended when a third of it is over, not with every task.
    IF run.lease_until < moment + p_lease * (2.0 / 3) THEN
        UPDATE runs_run SET event_seq = runs_task_done.event_seq, lease_owner = p_worker,
                lease_until = moment + p_lease, due_at = moment + p_lease
            WHERE id = p_run;
    ELSE
        UPDATE runs_run SET event_seq = runs_task_done.event_seq WHERE id = p_run;
    END IF;
    RETURN NEXT;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("runs", "0029_guards_told")]

    operations = [
        migrations.AddIndex(
            model_name="step",
            index=models.Index(
                fields=["run", "state", "seq"],
                condition=Q(parent__isnull=False, state__in=["ready", "running", "sleeping", "waiting"]),
                name="step_open_tasks",
            ),
        ),
        migrations.RunSQL(TASK_DONE, "DROP FUNCTION runs_task_done"),
    ]
