"""Thousands of runs with calls, written as rows: only their shape matters, no engine made them."""

from __future__ import annotations

from django.db import connection

from runs import bodies
from runs.models import Team

_RUNS = """
    INSERT INTO runs_run (workflow, version, team_id, goal, state, hold, start_key, started_by, simulated, input_id,
        ending, created_at, finished_at, deadline_at, lease_owner, fence, event_seq, retries, tokens_in, tokens_out,
        cost_micros)
    SELECT 'plain', 1, %(team)s, 'one of many', 'done', '', 'many-' || n, 'test', true, %(body)s, '',
        now() - n * interval '1 minute', now() - n * interval '1 minute' + interval '50 seconds', now(), '', 1, 0, 0,
        0, 0, 0
    FROM generate_series(1, %(runs)s) AS n RETURNING id
"""
_STEPS = """
    INSERT INTO runs_step (run_id, seq, node, state, input_id, output_id, answered_by, note, started_at, finished_at)
    SELECT run.id, n, 'think', 'done', %(body)s, %(body)s, '', '', run.created_at, run.finished_at
    FROM runs_run run CROSS JOIN generate_series(1, 4) AS n WHERE run.start_key LIKE 'many-%%'
"""
_ATTEMPTS = """
    INSERT INTO runs_attempt (step_id, number, agent, state, fence, worker, note, error_class, error, error_where,
        started_at)
    SELECT step.id, 1, 'clerk', 'done', 1, '', '', '', '', '', step.started_at
    FROM runs_step step JOIN runs_run run ON run.id = step.run_id WHERE run.start_key LIKE 'many-%%'
"""
_CALLS = """
    INSERT INTO runs_call (run_id, step_id, attempt_id, kind, name, key, send, state, replayable, fence, request_id,
        error_class, error, effect, egress, digest, simulated, model, model_returned, prompt_version, parameters,
        tokens_in, tokens_out, cost_micros, latency_ms, permitted_at, finished_at)
    SELECT step.run_id, step.id, attempt.id, CASE WHEN n %% 2 = 1 THEN 'model' ELSE 'tool' END,
        CASE WHEN n %% 2 = 1 THEN 'clerk' ELSE 'look' END, 'key-' || n, 1, 'done', true, 1, %(body)s, '', '', 'none',
        false, '', true, CASE WHEN n %% 2 = 1 THEN 'simulated/one' ELSE '' END, '', '', '{}',
        CASE WHEN n %% 2 = 1 THEN 1000 END, CASE WHEN n %% 2 = 1 THEN 100 END, CASE WHEN n %% 2 = 1 THEN 3500 END,
        5, step.started_at + (step.seq * 5 + n) * interval '1 second',
        step.started_at + (step.seq * 5 + n) * interval '1 second' + interval '500 milliseconds'
    FROM runs_step step JOIN runs_attempt attempt ON attempt.step_id = step.id
    JOIN runs_run run ON run.id = step.run_id CROSS JOIN generate_series(1, 5) AS n
    WHERE run.start_key LIKE 'many-%%'
"""
TURNS, TOOL_CALLS, COST = 12, 8, 12 * 3500  # of each run


def many(runs: int) -> None:
    """So many runs, a minute apart, each of four steps with three turns and two tool calls; a turn costs 3,500."""
    team, _ = Team.objects.get_or_create(name="Many")
    given: dict[str, int | str] = {"runs": runs, "team": team.pk, "body": bodies.store({}).digest}
    with connection.cursor() as cursor:
        for statement in (_RUNS, _STEPS, _ATTEMPTS, _CALLS, "ANALYZE"):
            cursor.execute(statement, given if "%(" in statement else None)
