"""What recorded runs add up to here, from the rows of their steps and calls. Reads only; never looks at a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from django.db import connection

# Of the sendings of one call the last one with an outcome counts: a sending that a lost worker left behind, or that
# a stop cut, is no second item. A model call that waits for its recorded time may so be sent twice, and counts once.
_CALLS = """
    SELECT DISTINCT ON (one.step_id) one.step_id, one.run_id, one.kind, one.state, one.tokens_in, one.tokens_out
    FROM runs_call one WHERE one.run_id = ANY(%(runs)s) AND one.state IN ('done', 'failed') AND one.kind <> 'look'
    ORDER BY one.step_id, one.send DESC, one.id DESC
"""
_SUMS = f"""
    WITH calls AS ({_CALLS})
    SELECT
        (SELECT count(*) FROM runs_step WHERE run_id = ANY(%(runs)s) AND state = 'done'),
        count(*) FILTER (WHERE kind = 'model'),
        count(*) FILTER (WHERE kind = 'tool'),
        count(*) FILTER (WHERE kind = 'tool' AND state = 'failed'),
        coalesce(sum(tokens_in), 0), coalesce(sum(tokens_out), 0)
    FROM calls
"""
# A run that says done and does not have every recorded item exactly once: a step for each, settled, and for a model
# or tool item one call with an outcome, for a message none. Whoever held the run last is asked: what a lost worker
# had on record may have had another key, when the code was changed in between.
_INCOMPLETE = """
    SELECT run.id FROM runs_run run JOIN runs_body given ON given.digest = run.input_id
    LEFT JOIN LATERAL (
        SELECT count(*) AS played, count(*) FILTER (WHERE calls.keys <> calls.wanted) AS wrong
        FROM runs_step step JOIN runs_body item ON item.digest = step.input_id
        CROSS JOIN LATERAL (
            SELECT count(DISTINCT one.key) FILTER (WHERE one.fence = one.last) AS keys,
                   CASE item.content::jsonb ->> 'kind' WHEN 'message' THEN 0 ELSE 1 END AS wanted
            FROM (
                SELECT key, fence, max(fence) OVER () AS last FROM runs_call
                WHERE step_id = step.id AND state IN ('done', 'failed') AND kind <> 'look'
            ) one
        ) calls
        WHERE step.run_id = run.id AND step.state = 'done'
    ) steps ON true
    WHERE run.id = ANY(%(runs)s) AND run.state = 'done'
      AND (steps.played <> (given.content::jsonb ->> 'items')::int OR steps.wrong > 0)
"""
_STATES = """
    SELECT CASE
        WHEN run.id = ANY(%(incomplete)s) THEN 'lost'
        WHEN run.state = 'done' THEN 'completed'
        WHEN run.state IN ('failed', 'ended') THEN 'failed'
        WHEN run.state = 'waiting' OR run.id = ANY(%(held)s) THEN 'waiting'
        WHEN run.lease_until > clock_timestamp() THEN 'going'
        ELSE 'lost' END AS how, count(*)
    FROM runs_run run WHERE run.id = ANY(%(runs)s) GROUP BY how
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Recorded items that have been played. Every run counts once: completed, waiting, failed, lost, or still going.

    `waiting` is for a person: a question is open, or a control holds it. `failed` counts those that a person ended
    too. `lost`: in no final state with nobody working on it, not on record any more, or done without every recorded
    item exactly once.
    """

    runs: int
    steps: int
    model_calls: int
    tool_calls: int
    tool_errors: int
    tokens_in: int
    tokens_out: int
    completed: int
    waiting: int
    failed: int
    lost: int

    def as_json(self) -> dict[str, int]:
        return asdict(self)


def totals(runs: Sequence[int], held: Sequence[int] = ()) -> Totals:
    """The totals of these runs, by id. `held` are those among them that a control covers now."""
    given = {"runs": list(runs), "held": list(held)}
    with connection.cursor() as cursor:
        cursor.execute(_SUMS, given)
        steps, models, tools, errors, tokens_in, tokens_out = cursor.fetchone() or (0,) * 6
        cursor.execute(_INCOMPLETE, given)
        incomplete = [row[0] for row in cursor.fetchall()]
        cursor.execute(_STATES, given | {"incomplete": incomplete})
        how = dict(cursor.fetchall())
    there = sum(how.values())
    return Totals(
        runs=len(runs),
        steps=steps,
        model_calls=models,
        tool_calls=tools,
        tool_errors=errors,
        tokens_in=int(tokens_in),
        tokens_out=int(tokens_out),
        completed=how.get("completed", 0),
        waiting=how.get("waiting", 0),
        failed=how.get("failed", 0),
        lost=how.get("lost", 0) + len(runs) - there,
    )
