"""An account is opened without holding anybody up: a month's calls are added up outside of every lock.

Whoever permits holds the gate while it waits for the lock of the accounts, and a stop waits for the gate: so nothing
long may be done under that lock. Three statements, each committed by itself (`runs.engine.opening`):

1. `runs_open_upto`: for a moment alone with the accounts, so that no permit is half done: the last call of all. Null,
   if somebody has opened the account.
2. `runs_open_found`: of the calls up to that one, what they have used, and which of them must be looked at again
   because they may change meanwhile. Locks nothing.
3. `runs_open`: alone with the accounts again, for as long as those few and the calls since then take.

What a call has used is written once. So the sum is that of the calls as they are at the third: what was written before
the second is in its sum, what was open at the second is looked at again, what came after the first is added.
"""

from importlib import import_module

from django.db import migrations

_before = import_module("runs.migrations.0021_guarded_calls")

UPTO = """
CREATE FUNCTION runs_open_upto(p_kind text, p_window text, p_scope_kind text, p_scope text, p_began timestamptz)
RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(7050203);
    IF EXISTS (SELECT FROM runs_account a WHERE a.kind = p_kind AND a."window" = p_window AND a.run_id = 0
        AND a.scope_kind = p_scope_kind AND a.scope = p_scope AND a.begins = p_began) THEN RETURN NULL; END IF;
    RETURN coalesce((SELECT max(c.id) FROM runs_call c), 0);
END $$;
"""

# A record that comes later than an hour after its worker was lost, of a call that had reserved nothing, is not awaited.
FOUND = """
CREATE FUNCTION runs_open_found(
    p_kind text, p_window text, p_scope_kind text, p_scope text, p_began timestamptz, p_upto bigint
) RETURNS TABLE (spent bigint, again bigint[]) LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF p_window = 'minute' THEN
        RETURN QUERY SELECT 0::bigint, array_agg(c.id) FROM runs_call c
            WHERE c.permitted_at > clock_timestamp() - interval '61 s' AND c.id <= p_upto;
    ELSIF p_window IN ('hour', 'day', 'month') THEN
        RETURN QUERY SELECT coalesce(sum(runs_counts(c, p_kind, p_scope_kind)), 0)::bigint,
                array_agg(c.id) FILTER (WHERE c.cost_micros IS NULL AND c.tokens_in IS NULL AND (c.state = 'permitted'
                    OR c.reserved IS NOT NULL OR c.permitted_at > clock_timestamp() - interval '1 hour'))
            FROM runs_call c JOIN runs_run r ON r.id = c.run_id
            WHERE c.permitted_at >= p_began AND c.id <= p_upto AND runs_within(c, r, p_scope_kind, p_scope);
    ELSE
        RETURN QUERY SELECT 0::bigint, array_agg(c.id) FROM runs_call c
            WHERE c.state = 'permitted' AND c.id <= p_upto;
    END IF;
END $$;
"""

OPEN = """
CREATE FUNCTION runs_open(
    p_kind text, p_window text, p_scope_kind text, p_scope text, p_began timestamptz, p_upto bigint, p_spent bigint,
    p_again bigint[]
) RETURNS bigint LANGUAGE plpgsql VOLATILE SET enable_seqscan = off AS $$
DECLARE
    made bigint;
    counted bigint;
    ids bigint[];
    summed boolean := p_window IN ('hour', 'day', 'month');
BEGIN
    PERFORM pg_advisory_xact_lock(7050203);
    INSERT INTO runs_account (kind, "window", scope_kind, scope, begins)
        VALUES (p_kind, p_window, p_scope_kind, p_scope, p_began) ON CONFLICT DO NOTHING RETURNING id INTO made;
    IF made IS NULL THEN RETURN NULL; END IF;
    ids := array_cat(p_again, (SELECT array_agg(c.id) FROM runs_call c WHERE c.id > p_upto));
    IF p_window = 'minute' THEN
        INSERT INTO runs_rateentry (account_id, at, team, amount)
            SELECT made, date_trunc('second', c.permitted_at), t.name, sum(runs_counts(c, p_kind, p_scope_kind))
            FROM runs_call c JOIN runs_run r ON r.id = c.run_id JOIN runs_team t ON t.id = r.team_id
            WHERE c.id = ANY (ids) AND c.permitted_at > clock_timestamp() - interval '61 s'
                AND runs_within(c, r, p_scope_kind, p_scope) AND runs_counts(c, p_kind, p_scope_kind) > 0
            GROUP BY 2, 3;
        RETURN made;
    END IF;
    IF summed THEN
        UPDATE runs_account a SET spent = p_spent + coalesce((SELECT sum(runs_counts(c, p_kind, p_scope_kind))
                FROM runs_call c JOIN runs_run r ON r.id = c.run_id
                WHERE c.id = ANY (ids) AND c.permitted_at >= p_began AND runs_within(c, r, p_scope_kind, p_scope)), 0)
            WHERE a.id = made;
    END IF;
    -- Calls under way and those that are uncertain reserve nothing here; what they used is booked in full when
    -- it is known.
    UPDATE runs_call c SET reserved = coalesce(c.reserved, '[]'::jsonb)
            || jsonb_build_array(jsonb_build_array(made, CASE p_kind WHEN 'concurrency' THEN 1 ELSE 0 END))
        FROM runs_run r WHERE c.id = ANY (ids) AND r.id = c.run_id AND c.cost_micros IS NULL
            AND (c.state = 'permitted' OR summed AND c.reserved IS NOT NULL)
            AND (summed AND c.permitted_at >= p_began OR NOT summed AND c.fence = r.fence)
            AND runs_within(c, r, p_scope_kind, p_scope) AND (summed AND c.kind = 'model'
                OR NOT summed AND runs_counts(c, p_kind, p_scope_kind) > 0);
    GET DIAGNOSTICS counted = ROW_COUNT;
    IF NOT summed THEN UPDATE runs_account a SET reserved = counted WHERE a.id = made; END IF;
    RETURN made;
END $$;
"""

_OLD = "DROP FUNCTION runs_open(text, text, text, text);"
_NEW = "DROP FUNCTION runs_open(text, text, text, text, timestamptz, bigint, bigint, bigint[]);"


class Migration(migrations.Migration):
    dependencies = [("runs", "0034_purses")]

    operations = [
        migrations.RunSQL(UPTO, "DROP FUNCTION runs_open_upto"),
        migrations.RunSQL(FOUND, "DROP FUNCTION runs_open_found"),
        migrations.RunSQL(_OLD + OPEN, _NEW + _before.OPEN),
    ]
