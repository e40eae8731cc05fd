"""A purse is lent to the worker that performs its run: what a call takes of it stands on the call's own row, and the
purse is written only when it does not do any more.

Before, each permit wrote the purse and each record wrote it again, and every rate was a row that all calls of a
provider wrote, one after the other. Now a worker keeps in mind what is left (`runs.engine.lent`) and a permit asks
whether the purse is still the one that it was lent (`edition`). Whoever changes a purse first reads off the run's calls
what was taken (`runs_tallied`); a worker that is gone takes nothing with it, since nothing stood in its memory alone.

Of a rate a purse has so much only while there is plenty, for a few seconds, and it counts from when it was reserved
until a minute after its last moment: no window of 60 seconds ever has more than its cap.

Locks: gate, run row, the lock of the accounts (shared), the run's purse, accounts from wide to narrow. Whoever holds
accounts takes from others' purses only if their run rows are free.
"""

from importlib import import_module

import django.contrib.postgres.fields
from django.db import migrations, models

_purses = import_module("runs.migrations.0034_purses")
_guarded = import_module("runs.migrations.0021_guarded_calls")
_opened = import_module("runs.migrations.0035_opened_outside")

MINUTE = """
CREATE FUNCTION runs_minute(p_key text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT split_part(p_key, '|', 2) = 'minute'
$$;
"""

VIEW = """
CREATE VIEW runs_chunk AS
    SELECT p.run_id * 4096 + one.n AS id, p.run_id, one.account AS account_id,
        one.held - coalesce(since.used, 0) AS held, one.spent + coalesce(since.spent, 0) AS spent
    FROM runs_purse p
    CROSS JOIN LATERAL unnest(p.keys, p.accounts, p.held, p.spent)
        WITH ORDINALITY AS one(key, account, held, spent, n)
    LEFT JOIN LATERAL (
        SELECT u.n, sum(u.used)::bigint AS used, sum(u.spent)::bigint AS spent
        FROM runs_taken(p, 0, statement_timestamp()) u GROUP BY u.n
    ) since ON since.n = one.n
    WHERE one.account <> 0 AND NOT runs_minute(one.key)
"""

# By call and place, what has changed of a purse since it was last read off: what calls use of it (less than nothing,
# when one has ended and gives something back), and what of that is spent. What only counts is spent with its permit.
# `flying`: under way. `gone`: nobody performs it, and nobody knows what it used.
TAKEN = """
CREATE FUNCTION runs_taken(p runs_purse, p_doubtful bigint, p_moment timestamptz)
RETURNS TABLE (call_id bigint, n bigint, flying boolean, gone boolean, used bigint, spent bigint)
LANGUAGE sql STABLE AS $$
    SELECT c.id, u.n, f.flying, g.gone,
        CASE WHEN c.id > p.tallied THEN u.amount ELSE 0 END - CASE
            WHEN f.flying THEN 0 WHEN p.kinds[u.n] = 'concurrency' THEN u.amount WHEN g.gone THEN 0
            WHEN p.kinds[u.n] = 'cost' THEN u.amount - coalesce(c.cost_micros, 0)
            WHEN p.kinds[u.n] = 'tokens' THEN u.amount - coalesce(c.tokens_in::bigint + c.tokens_out, 0) ELSE 0 END,
        CASE WHEN p.kinds[u.n] IN ('turns', 'model_calls', 'tool_calls')
                THEN CASE WHEN c.id > p.tallied THEN u.amount ELSE 0 END
            WHEN f.flying OR g.gone THEN 0 WHEN p.kinds[u.n] = 'cost' THEN coalesce(c.cost_micros, 0)
            WHEN p.kinds[u.n] = 'tokens' THEN coalesce(c.tokens_in::bigint + c.tokens_out, 0) ELSE 0 END
    FROM runs_call c
    JOIN runs_run r ON r.id = c.run_id
    CROSS JOIN LATERAL (SELECT (c.id <> p_doubtful AND c.state = 'permitted' AND c.fence = r.fence
        AND r.lease_until > p_moment) IS TRUE AS flying) f
    CROSS JOIN LATERAL (SELECT NOT f.flying AND (c.id = p_doubtful OR c.cost_micros IS NULL
        AND c.tokens_in IS NULL AND c.state IN ('permitted', 'unknown')) AS gone) g
    CROSS JOIN LATERAL unnest(c.drawn) WITH ORDINALITY AS u(amount, n)
    WHERE c.run_id = p.run_id AND (c.id > p.tallied OR c.id = ANY (p.flying)) AND u.amount IS NOT NULL
$$;
"""

# Read off its calls what was taken of a run's purse; whoever was lent it has to ask again. What a call took that is
# gone stands on the call from then on: it stays reserved until somebody says what it used. The caller holds the run's
# row. Null: the run has no purse.
TALLIED = """
CREATE FUNCTION runs_tallied(p_run bigint, p_doubtful bigint, p_moment timestamptz) RETURNS runs_purse
LANGUAGE plpgsql VOLATILE SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    purse runs_purse;
    lost bigint[];
BEGIN
    SELECT p.* INTO purse FROM runs_purse p WHERE p.run_id = p_run FOR UPDATE;
    IF NOT FOUND THEN RETURN NULL; END IF;
    WITH taken AS MATERIALIZED (
        SELECT * FROM runs_taken(purse, p_doubtful, p_moment)
    ), placed AS (
        SELECT t.n, sum(t.used)::bigint AS used, sum(t.spent)::bigint AS spent FROM taken t GROUP BY t.n
    )
    SELECT array_agg(k.held - coalesce(placed.used, 0) ORDER BY k.n),
            array_agg(k.spent + coalesce(placed.spent, 0) ORDER BY k.n),
            coalesce((SELECT array_agg(DISTINCT t.call_id) FILTER (WHERE t.flying) FROM taken t), '{}'),
            (SELECT array_agg(DISTINCT t.call_id) FILTER (WHERE t.gone) FROM taken t)
        INTO purse.held, purse.spent, purse.flying, lost
        FROM unnest(purse.held, purse.spent) WITH ORDINALITY AS k(held, spent, n) LEFT JOIN placed ON placed.n = k.n;
    IF lost IS NOT NULL THEN
        UPDATE runs_call c SET drawn = NULL, reserved = nullif(coalesce(c.reserved, '[]'::jsonb) || coalesce((
                SELECT jsonb_agg(CASE WHEN runs_minute(purse.keys[u.n]) THEN jsonb_build_array(purse.accounts[u.n],
                        u.amount, extract(epoch FROM purse.ends[u.n])::bigint, purse.team)
                    ELSE jsonb_build_array(purse.accounts[u.n], u.amount) END ORDER BY u.n)
                FROM unnest(c.drawn) WITH ORDINALITY AS u(amount, n)
                WHERE u.amount IS NOT NULL AND purse.kinds[u.n] IN ('cost', 'tokens')
            ), '[]'::jsonb), '[]'::jsonb)
            WHERE c.id = ANY (lost);
    END IF;
    SELECT coalesce(max(c.id), 0) INTO purse.tallied FROM runs_call c WHERE c.run_id = p_run;
    purse.edition := nextval('runs_purse_edition');
    UPDATE runs_purse p SET held = purse.held, spent = purse.spent, flying = purse.flying, tallied = purse.tallied,
            edition = purse.edition
        WHERE p.run_id = p_run;
    RETURN purse;
END $$;
"""

# What a purse that was just read off has of a rate goes back; what calls under way have of it stands on them. The
# caller holds the account, and writes the purse.
CLOSED = """
CREATE FUNCTION runs_closed(purse runs_purse, p_place integer) RETURNS runs_purse LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF purse.ends[p_place] IS NULL THEN RETURN purse; END IF;
    IF purse.held[p_place] <> 0 THEN
        UPDATE runs_rateentry e SET amount = greatest(e.amount - purse.held[p_place], 0)
            WHERE e.account_id = purse.accounts[p_place] AND e.at = purse.ends[p_place] AND e.team = purse.team;
    END IF;
    IF purse.flying <> '{}' THEN
        UPDATE runs_call c SET drawn[p_place] = NULL, reserved = CASE purse.kinds[p_place] WHEN 'tokens' THEN
                coalesce(c.reserved, '[]'::jsonb) || jsonb_build_array(jsonb_build_array(purse.accounts[p_place],
                    c.drawn[p_place], extract(epoch FROM purse.ends[p_place])::bigint, purse.team))
                ELSE c.reserved END
            WHERE c.id = ANY (purse.flying) AND c.drawn[p_place] IS NOT NULL;
    END IF;
    purse.held[p_place] := 0;
    purse.spent[p_place] := 0;
    purse.ends[p_place] := NULL;
    RETURN purse;
END $$;
"""

# What those who wait for an account need that go before this step: first the team that had least within the minute,
# then who has waited longest.
AHEAD = """
CREATE FUNCTION runs_ahead(p_account bigint, p_step bigint, p_team text, p_moment timestamptz) RETURNS bigint
LANGUAGE plpgsql STABLE AS $$
DECLARE
    mine record;
BEGIN
    SELECT coalesce((SELECT w.since FROM runs_wait w WHERE w.step_id = p_step AND w.account_id = p_account), p_moment)
            AS since,
        coalesce((SELECT sum(e.amount) FROM runs_rateentry e WHERE e.account_id = p_account
            AND e.at > p_moment - interval '61 s' AND e.team = p_team), 0) AS had
        INTO mine;
    RETURN (SELECT coalesce(sum(w.need), 0) FROM runs_wait w
        JOIN runs_run r ON r.id = w.run_id JOIN runs_step s ON s.id = w.step_id
        WHERE w.account_id = p_account AND w.step_id <> p_step AND r.hold = ''
            AND s.state IN ('sleeping', 'running') AND w.until > p_moment - interval '5 s'
            AND (coalesce((SELECT sum(e.amount) FROM runs_rateentry e WHERE e.account_id = p_account
                AND e.at > p_moment - interval '61 s' AND e.team = w.team), 0), w.since) < (mine.had, mine.since));
END $$;
"""

# What the worker is told of the purse: how much of each of its places is left. Null: there is none.
LENDING = """
CREATE FUNCTION runs_lending(purse runs_purse, p_drawn bigint[], p_moment timestamptz) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('edition', purse.edition, 'keys', to_jsonb(purse.keys), 'kinds', to_jsonb(purse.kinds),
        'left', jsonb_agg(CASE WHEN one.ends <= p_moment THEN 0 ELSE one.held - coalesce(one.drawn, 0) END
            ORDER BY one.n))
    FROM unnest(purse.held, purse.ends, p_drawn) WITH ORDINALITY AS one(held, ends, drawn, n)
    HAVING count(*) > 0
$$;
"""

# The accounts, one after the other in the order of the asks; what the run's purse has of them goes back first. While
# there is plenty the purse gets what this call and the next ones need, and is lent; otherwise the call alone reserves.
RESERVE = """
CREATE FUNCTION runs_reserve(
    p_run bigint, p_team text, p_step bigint, p_first boolean, p_kinds text[], p_windows text[], p_scope_kinds text[],
    p_scopes text[], p_amounts bigint[], p_caps bigint[], p_limits bigint[], p_notes jsonb, p_share integer,
    p_chunk integer
) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    purse runs_purse;
    account runs_account;
    moment timestamptz := clock_timestamp();
    asked_at timestamptz := moment;
    taken text := '';
    drawn bigint[];
    fresh boolean;
    told jsonb := '[]';
    queued boolean;
    minute boolean;
    own boolean;
    counts boolean;
    period timestamptz;
    key text;
    place integer;
    made bigint;
    need bigint;
    cap bigint;
    bound bigint;
    used bigint;
    more bigint;
    back bigint;
    ahead bigint;
    note jsonb;
    bits integer;
    again timestamptz;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(7050203);
    purse := runs_tallied(p_run, 0, moment);
    fresh := purse.run_id IS NULL;
    IF fresh THEN
        purse.run_id := p_run;
        purse.team := p_team;
        purse.keys := '{}'; purse.kinds := '{}'; purse.accounts := '{}';
        purse.held := '{}'; purse.spent := '{}'; purse.ends := '{}'; purse.flying := '{}';
        purse.edition := nextval('runs_purse_edition');
        SELECT coalesce(max(c.id), 0) INTO purse.tallied FROM runs_call c WHERE c.run_id = p_run;
    END IF;
    FOR i IN 1..cardinality(purse.keys) LOOP  -- of a period that is over; what it has goes back with the rest
        IF purse.ends[i] <= moment AND NOT runs_minute(purse.keys[i]) THEN purse.keys[i] := ''; END IF;
    END LOOP;
    drawn := array_fill(NULL::bigint, ARRAY[cardinality(purse.keys)]);
    FOR i IN 1..cardinality(p_kinds) LOOP
        minute := p_windows[i] = 'minute';
        CONTINUE WHEN p_kinds[i] = 'turns' AND NOT p_first;
        own := p_windows[i] = 'run';
        need := p_amounts[i];
        cap := p_caps[i];
        again := NULL;
        ahead := 0;
        note := p_notes -> (i - 1)::text;
        SELECT a.* INTO account FROM runs_account a
            WHERE a.kind = p_kinds[i] AND a."window" = p_windows[i] AND a.scope_kind = p_scope_kinds[i]
                AND a.scope = p_scopes[i] AND a.run_id = CASE WHEN own THEN p_run ELSE 0 END
                AND a.begins = CASE WHEN p_windows[i] IN ('hour', 'day', 'month')
                    THEN date_trunc(p_windows[i], asked_at, 'UTC') ELSE 'epoch'::timestamptz END
            FOR UPDATE;
        IF NOT FOUND THEN
            IF NOT own THEN
                PERFORM runs_refuse('OG002', jsonb_build_object('kind', p_kinds[i], 'window', p_windows[i],
                    'scope_kind', p_scope_kinds[i], 'scope', p_scopes[i]));
            END IF;
            IF purse.tallied = 0 THEN  -- its first call: nothing is to be added up
                INSERT INTO runs_account AS a (kind, "window", scope_kind, scope, run_id, begins)
                    VALUES (p_kinds[i], 'run', p_scope_kinds[i], p_scopes[i], p_run, 'epoch')
                    RETURNING a.* INTO account;
            ELSE
                made := runs_own(p_kinds[i], p_scope_kinds[i], p_scopes[i], p_run);
                SELECT a.* INTO STRICT account FROM runs_account a WHERE a.id = made;
            END IF;
        END IF;
        key := p_kinds[i] || '|' || p_windows[i] || '|' || p_scope_kinds[i] || '|' || p_scopes[i];
        place := array_position(purse.keys, key);
        IF minute THEN
            IF place IS NOT NULL THEN purse := runs_closed(purse, place); END IF;
            moment := clock_timestamp();
            SELECT coalesce(sum(e.amount), 0), greatest(moment, max(e.at) - interval '5 s') INTO used, moment
                FROM runs_rateentry e WHERE e.account_id = account.id AND e.at > moment - interval '61 s';
        ELSE
            IF place IS NOT NULL THEN
                account.reserved := account.reserved - purse.held[place] - purse.spent[place];
                account.spent := account.spent + purse.spent[place];
                purse.held[place] := 0;
                purse.spent[place] := 0;
            END IF;
            used := account.spent + account.reserved;
        END IF;
        more := 0;
        IF used + need > cap THEN
            SELECT coalesce(sum(t.amount), 0) INTO more FROM runs_topup t
                WHERE t.account_id = account.id AND (t.until IS NULL OR t.until > moment);
            cap := cap + more;
            IF used + need > cap AND NOT own THEN
                back := runs_recalled(p_run, account.id, used + need - cap, moment);
                IF minute THEN account.spent := used - back; ELSE account.reserved := account.reserved - back; END IF;
                IF p_kinds[i] = 'concurrency' AND account.spent + account.reserved + need > cap THEN
                    account.reserved := greatest(account.reserved - runs_left(account.id, moment), 0);
                END IF;
                used := account.spent + account.reserved;
            END IF;
        END IF;
        bound := CASE WHEN more = 0 THEN cap ELSE 0 END;  -- what was added may end: asked at each call
        IF cap IS NOT NULL AND (minute OR p_kinds[i] = 'concurrency') AND need <= cap THEN
            IF queued IS NULL THEN queued := EXISTS (SELECT FROM runs_wait); END IF;
            IF queued AND EXISTS (SELECT FROM runs_wait w WHERE w.account_id = account.id AND w.step_id <> p_step) THEN
                ahead := runs_ahead(account.id, p_step, p_team, moment);
            END IF;
            IF used + ahead + need > cap THEN
                -- When so much of the minute is over that those before it and it fit; who is further back looks again
                -- after a while, because somebody before it may not come.
                IF minute THEN
                    SELECT min(due.at) + interval '61 s' INTO again FROM (
                        SELECT e.at, sum(e.amount) OVER (ORDER BY e.at, e.id) AS freed FROM runs_rateentry e
                            WHERE e.account_id = account.id AND e.at > moment - interval '61 s'
                        ) due WHERE due.freed >= used + ahead + need - cap;
                END IF;
                more := least(20, 1 + 5 * ahead / cap);
                again := least(again, moment + make_interval(secs => CASE WHEN minute THEN
                    CASE WHEN again IS NULL THEN 20 ELSE 61 END ELSE more END));
                again := greatest(again, moment + interval '50 ms');
            END IF;
        END IF;
        IF used + ahead + need > cap THEN
            PERFORM runs_refuse('OG001', jsonb_build_object('guard', p_kinds[i], 'window', p_windows[i],
                'scope_kind', p_scope_kinds[i], 'scope', p_scopes[i], 'account', account.id, 'limit', p_limits[i],
                'cap', cap, 'used', used, 'ahead', ahead, 'need', need, 'until', again));
        END IF;
        IF minute AND account.noted_at < moment - interval '60 s' THEN account.noted := 0; END IF;
        bits := CASE WHEN (used + need) * 100 >= cap * p_share AND account.noted & 4 = 0 AND cap > 1 THEN 4 ELSE 0 END
            | CASE WHEN used + need > (note ->> 'warn')::bigint AND account.noted & 2 = 0 THEN 2 ELSE 0 END
            | CASE WHEN used + need > (note ->> 'observe')::bigint AND account.noted & 1 = 0 THEN 1 ELSE 0 END;
        IF bits > 0 THEN
            account.noted := account.noted | bits;
            account.noted_at := moment;
            told := told || jsonb_build_array(jsonb_build_object('bits', bits, 'guard', p_kinds[i],
                'window', p_windows[i], 'scope_kind', p_scope_kinds[i], 'scope', p_scopes[i], 'account', account.id,
                'limit', CASE WHEN bits & 4 > 0 THEN p_limits[i] WHEN bits & 2 > 0 THEN (note ->> 'warn_id')::bigint
                    ELSE (note ->> 'observe_id')::bigint END,
                'cap', CASE WHEN bits & 4 > 0 THEN cap WHEN bits & 2 > 0 THEN (note ->> 'warn')::bigint
                    ELSE (note ->> 'observe')::bigint END,
                'used', used + need));
        END IF;
        -- For the next calls while there is plenty; near the cap, or what people shall be told of, each reserves just
        -- what it needs. All that is left of a run's own accounts: up to there nobody else wants it.
        bound := least(bound, CASE WHEN account.noted & 2 = 0 THEN (note ->> 'warn')::bigint END,
            CASE WHEN account.noted & 1 = 0 THEN (note ->> 'observe')::bigint END,
            CASE WHEN own AND cap > 1 AND account.noted & 4 = 0 THEN (cap * p_share - 1) / 100 END);
        more := least(need * p_chunk, coalesce((bound - used - need) / CASE WHEN minute THEN 64 ELSE 256 END,
            need * p_chunk));
        IF own THEN more := coalesce(bound - used - need, need * p_chunk); END IF;
        IF minute AND (queued AND EXISTS (SELECT FROM runs_wait w WHERE w.account_id = account.id) OR p_chunk = 0)
            OR more < need OR more = 0 AND need > 0
        THEN more := NULL; END IF;
        IF minute THEN
            IF bits > 0 THEN
                UPDATE runs_account a SET noted = account.noted, noted_at = moment WHERE a.id = account.id;
            END IF;
            period := date_trunc('second', moment) + CASE WHEN more IS NULL THEN interval '0' ELSE interval '5 s' END;
            INSERT INTO runs_rateentry AS e (account_id, at, team, amount)
                VALUES (account.id, period, p_team, need + coalesce(more, 0))
                ON CONFLICT (account_id, at, team) DO UPDATE SET amount = e.amount + excluded.amount;
            IF more IS NULL AND p_kinds[i] = 'tokens' THEN
                taken := taken || ',' || jsonb_build_array(account.id, need,
                    extract(epoch FROM period)::bigint, p_team);
            END IF;
        ELSE
            counts := more IS NULL AND p_kinds[i] IN ('turns', 'model_calls', 'tool_calls');
            UPDATE runs_account a SET spent = account.spent + CASE WHEN counts THEN need ELSE 0 END,
                    reserved = account.reserved + coalesce(more, 0) + CASE WHEN counts THEN 0 ELSE need END,
                    noted = account.noted, noted_at = account.noted_at
                WHERE a.id = account.id;
            IF more IS NULL AND NOT counts THEN taken := taken || ',[' || account.id || ',' || need || ']'; END IF;
            period := CASE WHEN p_windows[i] IN ('hour', 'day', 'month')
                THEN account.begins + ('1 ' || p_windows[i])::interval END;
        END IF;
        IF more IS NULL THEN CONTINUE; END IF;
        IF place IS NULL THEN
            purse.keys := array_append(purse.keys, key);
            purse.kinds := array_append(purse.kinds, p_kinds[i]);
            purse.accounts := array_append(purse.accounts, account.id);
            purse.held := array_append(purse.held, 0::bigint);
            purse.spent := array_append(purse.spent, 0::bigint);
            purse.ends := array_append(purse.ends, NULL::timestamptz);
            place := cardinality(purse.keys);
        END IF;
        purse.held[place] := need + more;
        purse.ends[place] := period;
        drawn[place] := need;
    END LOOP;
    IF array_remove(drawn, NULL) = '{}' THEN drawn := NULL; END IF;
    IF cardinality(purse.keys) > 0 THEN
        SELECT min(one.ends) INTO purse.until FROM unnest(purse.keys, purse.ends) AS one(key, ends)
            WHERE one.key <> '' AND one.ends > asked_at;
        IF fresh THEN
            INSERT INTO runs_purse SELECT purse.*;
        ELSE
            UPDATE runs_purse p SET keys = purse.keys, kinds = purse.kinds, accounts = purse.accounts,
                    held = purse.held, spent = purse.spent, ends = purse.ends, until = purse.until
                WHERE p.run_id = p_run;
        END IF;
    END IF;
    RETURN jsonb_build_object('taken', ('[' || substr(taken, 2) || ']')::jsonb, 'told', told, 'at', asked_at,
        'drawn', to_jsonb(drawn), 'lent', runs_lending(purse, drawn, asked_at));
END $$;
"""

# What other runs have of an account and do not use comes back before anybody is refused: from one after the other, as
# much as is lacking, because who asks holds the gate.
RECALLED = """
CREATE FUNCTION runs_recalled(p_run bigint, p_account bigint, p_lacking bigint, p_moment timestamptz) RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    other record;
    purse runs_purse;
    place integer;
    back bigint := 0;
BEGIN
    FOR other IN SELECT p.run_id FROM runs_purse p JOIN runs_run r ON r.id = p.run_id
        WHERE p_account = ANY (p.accounts) AND p.run_id <> p_run
            AND (p.held[array_position(p.accounts, p_account)] > 0 OR p.flying <> '{}')
        ORDER BY p.run_id FOR NO KEY UPDATE OF r SKIP LOCKED
    LOOP
        purse := runs_tallied(other.run_id, 0, p_moment);
        place := array_position(purse.accounts, p_account);
        CONTINUE WHEN place IS NULL;
        IF runs_minute(purse.keys[place]) THEN
            IF purse.ends[place] > p_moment - interval '61 s' THEN back := back + purse.held[place]; END IF;
            purse := runs_closed(purse, place);
        ELSE
            back := back + purse.held[place];
            purse.held[place] := 0;
        END IF;
        UPDATE runs_purse p SET held = purse.held, spent = purse.spent, ends = purse.ends
            WHERE p.run_id = other.run_id;
        EXIT WHEN back >= p_lacking;
    END LOOP;
    RETURN back;
END $$;
"""

PERMIT = """
CREATE FUNCTION runs_permit(
    p_run bigint, p_fence bigint, p_worker text, p_step bigint, p_attempt bigint, p_kind text, p_name text, p_key text,
    p_request text, p_content text, p_size integer, p_effect text, p_egress boolean, p_digest text, p_question bigint,
    p_simulated boolean, p_model text, p_prompt text, p_parameters jsonb, p_edition bigint, p_team text,
    p_kinds text[], p_windows text[],
    p_scope_kinds text[], p_scopes text[], p_amounts bigint[], p_caps bigint[], p_limits bigint[], p_notes jsonb,
    p_share integer, p_chunk integer, p_breakers text[], p_probe_seconds integer,
    p_lent bigint, p_drawn bigint[]
) RETURNS TABLE (call_id bigint, send integer, permitted_at timestamptz, reserved jsonb, told jsonb, drawn bigint[],
    lent jsonb)
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    run record;
    asked jsonb;
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
    -- The everyday case by one look: nothing has changed, nothing is open, nobody waits here. Else each guard is asked.
    IF p_lent IS NOT NULL AND p_edition = coalesce((SELECT e.number FROM runs_limitedition e WHERE e.id = 1), 0)
        AND EXISTS (SELECT FROM runs_purse p WHERE p.run_id = p_run AND p.edition = p_lent
            AND (p.until IS NULL OR p.until > clock_timestamp()))
        AND NOT EXISTS (SELECT FROM runs_breaker b WHERE b.state <> 'closed' OR b.forced <> '')
        AND NOT EXISTS (SELECT FROM runs_wait w WHERE w.step_id = p_step)
    THEN
        drawn := p_drawn;
    ELSE
        asked := runs_guarded(p_run, p_team, p_step, runs_permit.send = 1, p_edition, p_kinds, p_windows,
            p_scope_kinds, p_scopes, p_amounts, p_caps, p_limits, p_notes, p_share, p_chunk, p_breakers,
            p_probe_seconds, p_lent, p_drawn);
        reserved := nullif(asked -> 'taken', '[]'::jsonb);
        told := nullif(asked -> 'told', '[]'::jsonb);
        lent := nullif(asked -> 'lent', 'null'::jsonb);
        drawn := p_drawn;
        IF jsonb_typeof(asked -> 'drawn') = 'array' AND p_lent IS NULL THEN
            SELECT array_agg(value::bigint ORDER BY n) INTO drawn
                FROM jsonb_array_elements_text(asked -> 'drawn') WITH ORDINALITY AS d(value, n);
        END IF;
        permitted_at := coalesce((asked ->> 'at')::timestamptz, permitted_at);  -- of the period that it counts in
    END IF;
    INSERT INTO runs_call (run_id, step_id, attempt_id, kind, name, key, send, state, replayable, fence, request_id,
            error_class, error, effect, egress, digest, question_id, simulated, model, model_returned, prompt_version,
            parameters, permitted_at, reserved, drawn)
        VALUES (p_run, p_step, p_attempt, p_kind, p_name, p_key, runs_permit.send, 'permitted', true, p_fence,
            p_request, '', '', p_effect, p_egress, p_digest, p_question, p_simulated, p_model, '', p_prompt,
            p_parameters, runs_permit.permitted_at, runs_permit.reserved, runs_permit.drawn)
        RETURNING id INTO call_id;
    IF asked ? 'probes' THEN
        UPDATE runs_breaker b SET probe = call_id
            WHERE b.id IN (SELECT value::bigint FROM jsonb_array_elements_text(asked -> 'probes'));
    END IF;
    RETURN NEXT;
END $$;
"""

# What both ways of a permit share: the straight one above, and the long one of runs.engine.permits.
GUARDED = """
CREATE FUNCTION runs_guarded(
    p_run bigint, p_team text, p_step bigint, p_first boolean, p_edition bigint,
    p_kinds text[], p_windows text[],
    p_scope_kinds text[], p_scopes text[], p_amounts bigint[], p_caps bigint[], p_limits bigint[], p_notes jsonb,
    p_share integer, p_chunk integer, p_breakers text[], p_probe_seconds integer,
    p_lent bigint, p_drawn bigint[]
) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    probes bigint[];
    asked jsonb;
BEGIN
    IF p_edition <> coalesce((SELECT e.number FROM runs_limitedition e WHERE e.id = 1), 0) THEN
        PERFORM runs_refuse('OG002', '{}');
    END IF;
    IF EXISTS (SELECT FROM runs_breaker b WHERE b.state <> 'closed' OR b.forced <> '') THEN
        probes := runs_pass(p_breakers, p_probe_seconds);
    END IF;
    IF p_lent IS NOT NULL THEN
        IF NOT EXISTS (SELECT FROM runs_purse p WHERE p.run_id = p_run AND p.edition = p_lent
            AND (p.until IS NULL OR p.until > clock_timestamp()))
        THEN PERFORM runs_refuse('OG003', '{}'); END IF;
    ELSIF p_kinds IS NOT NULL THEN
        asked := runs_reserve(p_run, p_team, p_step, p_first, p_kinds, p_windows, p_scope_kinds, p_scopes, p_amounts,
            p_caps, p_limits, p_notes, p_share, p_chunk);
    END IF;
    DELETE FROM runs_wait w WHERE w.step_id = p_step;
    IF probes IS NOT NULL THEN
        asked := coalesce(asked, '{}'::jsonb) || jsonb_build_object('probes', to_jsonb(probes));
    END IF;
    RETURN asked;
END $$;
"""

# In the order in which permits lock the accounts (`caps` sorts so).
BOOK = """
CREATE FUNCTION runs_book(
    p_run bigint, p_call bigint, p_taken jsonb, p_cost bigint, p_tokens bigint, p_known boolean
) RETURNS jsonb LANGUAGE plpgsql VOLATILE
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    one record;
    actual bigint;
    kept jsonb := '[]';
BEGIN
    PERFORM pg_advisory_xact_lock_shared(7050203);
    FOR one IN SELECT a.id, a.kind, a."window", (t.value ->> 1)::bigint AS amount, t.value
        FROM jsonb_array_elements(p_taken) t JOIN runs_account a ON a.id = (t.value ->> 0)::bigint
        ORDER BY runs_wide(a.scope_kind), a.scope COLLATE "C", a.kind COLLATE "C", a."window" COLLATE "C"
    LOOP
        IF one.kind = 'concurrency' THEN
            UPDATE runs_account a SET reserved = greatest(a.reserved - 1, 0) WHERE a.id = one.id;
            CONTINUE;
        END IF;
        IF NOT p_known THEN
            kept := kept || jsonb_build_array(one.value);
            CONTINUE;
        END IF;
        actual := CASE one.kind WHEN 'cost' THEN p_cost ELSE p_tokens END;
        IF one."window" = 'minute' THEN
            UPDATE runs_rateentry e SET amount = greatest(e.amount + actual - one.amount, 0)
                WHERE e.account_id = one.id AND e.at = to_timestamp((one.value ->> 2)::bigint)
                    AND e.team = one.value ->> 3;
            CONTINUE;
        END IF;
        UPDATE runs_account a SET reserved = greatest(a.reserved - one.amount, 0), spent = a.spent + actual
            WHERE a.id = one.id;
    END LOOP;
    RETURN nullif(kept, '[]'::jsonb);
END $$;
"""

# What a call used, booked where it had reserved; what of that is uncertain and stays reserved. A call of a purse says
# so by its row alone, unless nobody knows what it used, or it used more than it had drawn: that is booked now, in full.
USED = """
CREATE FUNCTION runs_used(
    p_run bigint, p_call bigint, p_cost bigint, p_tokens bigint, p_known boolean, p_overran boolean
) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    call record;
    purse runs_purse;
    one record;
BEGIN
    SELECT c.reserved, c.drawn INTO call FROM runs_call c WHERE c.id = p_call;
    IF call.drawn IS NOT NULL AND (p_overran OR NOT p_known) THEN
        PERFORM pg_advisory_xact_lock_shared(7050203);
        purse := runs_tallied(p_run, CASE WHEN p_known THEN 0 ELSE p_call END, clock_timestamp());
        SELECT c.reserved, c.drawn INTO call FROM runs_call c WHERE c.id = p_call;
        PERFORM FROM runs_account a WHERE a.id = ANY (purse.accounts)
                OR a.id IN (SELECT (t.value ->> 0)::bigint FROM jsonb_array_elements(call.reserved) t)
            ORDER BY runs_wide(a.scope_kind), a.scope COLLATE "C", a.kind COLLATE "C", a."window" COLLATE "C"
            FOR UPDATE OF a;
        FOR one IN SELECT a.id, a."window", u.n, actual - u.amount AS more, actual
            FROM unnest(call.drawn) WITH ORDINALITY AS u(amount, n)
            JOIN runs_account a ON a.id = purse.accounts[u.n]
            CROSS JOIN LATERAL (SELECT CASE a.kind WHEN 'cost' THEN p_cost WHEN 'tokens' THEN p_tokens END AS actual) b
            WHERE actual > u.amount
        LOOP
            IF one."window" = 'minute' THEN
                UPDATE runs_rateentry e SET amount = e.amount + one.more
                    WHERE e.account_id = one.id AND e.at = purse.ends[one.n] AND e.team = purse.team;
            ELSE
                UPDATE runs_account a SET reserved = a.reserved + one.more WHERE a.id = one.id;
            END IF;
            call.drawn[one.n] := one.actual;
        END LOOP;
        UPDATE runs_call c SET drawn = call.drawn WHERE c.id = p_call;
    END IF;
    IF call.reserved IS NULL THEN RETURN NULL; END IF;
    RETURN runs_book(p_run, p_call, call.reserved, p_cost, p_tokens, p_known);
END $$;
"""

RECORD = """
CREATE FUNCTION runs_record(
    p_run bigint, p_fence bigint, p_call bigint, p_state text, p_response text, p_content text, p_size integer,
    p_error text, p_error_class text, p_tokens_in integer, p_tokens_out integer, p_cost bigint, p_model text,
    p_latency integer, p_handed timestamptz, p_known boolean, p_overran boolean
) RETURNS TABLE (event_seq integer, finished_at timestamptz, reserved jsonb, probing boolean)
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    run record;
    call record;
BEGIN
    SELECT r.event_seq INTO run FROM runs_run r WHERE r.id = p_run AND r.fence = p_fence FOR NO KEY UPDATE;
    IF NOT FOUND THEN RETURN; END IF;
    SELECT c.step_id, c.name, c.send, c.reserved IS NOT NULL OR c.drawn IS NOT NULL AND (p_overran OR NOT p_known)
            AS booked INTO call FROM runs_call c
        WHERE c.id = p_call AND c.state = 'permitted' AND c.cost_micros IS NULL AND c.tokens_in IS NULL
        FOR NO KEY UPDATE;
    IF NOT FOUND THEN RETURN; END IF;
    event_seq := run.event_seq + 1;
    finished_at := clock_timestamp();
    IF p_response IS NOT NULL THEN
        INSERT INTO runs_body (digest, content, size) VALUES (p_response, p_content, p_size) ON CONFLICT DO NOTHING;
    END IF;
    IF call.booked THEN
        reserved := runs_used(p_run, p_call, coalesce(p_cost, 0), coalesce(p_tokens_in::bigint + p_tokens_out, 0),
            p_known, p_overran);
    END IF;
    UPDATE runs_call SET state = p_state, response_id = p_response, error = p_error, error_class = p_error_class,
            model_returned = p_model, latency_ms = p_latency, cost_micros = p_cost, tokens_in = p_tokens_in,
            tokens_out = p_tokens_out, finished_at = runs_record.finished_at,
            reserved = runs_record.reserved,
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
    probing := EXISTS (SELECT FROM runs_breaker b WHERE b.probe = p_call);
    RETURN NEXT;
END $$;
"""

# The purses of runs that nobody performs now, at most so many. Nobody waits for a run's row here.
GIVE_BACK = """
CREATE FUNCTION runs_give_back(p_most integer) RETURNS integer LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    idle bigint[];
    one bigint;
    purse runs_purse;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(7050203);
    SELECT array_agg(one.run_id) INTO idle FROM (
        SELECT p.run_id FROM runs_purse p JOIN runs_run r ON r.id = p.run_id
        WHERE r.lease_until IS NULL OR r.lease_until < clock_timestamp()
            - CASE r.state WHEN 'running' THEN interval '1 minute' ELSE interval '0' END
        ORDER BY p.run_id LIMIT p_most FOR NO KEY UPDATE OF r SKIP LOCKED
    ) one;
    IF idle IS NULL THEN RETURN 0; END IF;
    PERFORM FROM runs_account a
        WHERE a.id IN (SELECT unnest(p.accounts) FROM runs_purse p WHERE p.run_id = ANY (idle))
        ORDER BY runs_wide(a.scope_kind), a.scope COLLATE "C", a.kind COLLATE "C", a."window" COLLATE "C", a.run_id
        FOR UPDATE OF a;
    FOREACH one IN ARRAY idle LOOP
        purse := runs_tallied(one, 0, clock_timestamp());
        FOR place IN 1..cardinality(purse.keys) LOOP
            IF runs_minute(purse.keys[place]) THEN purse := runs_closed(purse, place); END IF;
        END LOOP;
        UPDATE runs_purse p SET held = purse.held, spent = purse.spent, ends = purse.ends WHERE p.run_id = one;
    END LOOP;
    UPDATE runs_account a SET reserved = a.reserved - one.held - one.spent, spent = a.spent + one.spent FROM (
            SELECT k.account, sum(k.held) AS held, sum(k.spent) AS spent
            FROM runs_purse p, unnest(p.accounts, p.held, p.spent) AS k(account, held, spent)
            WHERE p.run_id = ANY (idle) GROUP BY k.account
        ) one WHERE a.id = one.account;
    DELETE FROM runs_purse p WHERE p.run_id = ANY (idle);
    RETURN cardinality(idle);
END $$;
"""

_UNSAID = "OR c.drawn IS NOT NULL AND c.state = 'unknown'"  # gone, and its purse was not read off yet
FOUND = _opened.FOUND.replace(
    "OR c.reserved IS NOT NULL OR c.permitted_at", f"OR c.reserved IS NOT NULL {_UNSAID} OR c.permitted_at"
)
OPEN = _opened.OPEN.replace(
    "summed AND c.reserved IS NOT NULL)", f"summed AND c.reserved IS NOT NULL {_UNSAID})"
)
OWN = _guarded.OWN.replace("OR c.reserved IS NOT NULL)", f"OR c.reserved IS NOT NULL {_UNSAID})").replace(
    "runs_spent(p_kind, p_scope_kind, p_scope, p_run, 'epoch'))",
    "CASE WHEN EXISTS (SELECT FROM runs_call c WHERE c.run_id = p_run)\n"
    "                THEN runs_spent(p_kind, p_scope_kind, p_scope, p_run, 'epoch') ELSE 0 END)",
)

_ASKED = "text[], text[], text[], text[], bigint[], bigint[], bigint[], jsonb, integer, integer"
_CALL = "bigint, bigint, text, bigint, bigint, text, text, text, text, text, integer, text, boolean, text, bigint, boolean, text, text, jsonb, bigint, text"  # noqa: E501
_ENDED = "bigint, bigint, bigint, text, text, text, integer, text, text, integer, integer, bigint, text, integer, timestamptz, boolean"  # noqa: E501
_ACCOUNT = "text, text, text, text, timestamptz, bigint"
_REPLACED = (
    ("runs_draw(bigint, boolean, text[], text[], text[], text[], bigint[], bigint[], jsonb)", _purses.DRAW),
    (f"runs_reserve(bigint, text, bigint, boolean, {_ASKED})", _purses.RESERVE),
    ("runs_recalled(bigint, bigint)", _purses.RECALLED),
    ("runs_book(bigint, bigint, jsonb, bigint, bigint, boolean)", _purses.BOOK),
    ("runs_give_back(integer)", _purses.GIVE_BACK),
    (f"runs_guarded(bigint, text, bigint, boolean, bigint, {_ASKED}, text[], integer)", _guarded.GUARDED),
    (f"runs_permit({_CALL}, {_ASKED}, text[], integer)", _guarded.PERMIT),
    (f"runs_record({_ENDED})", _guarded.RECORD),
    (f"runs_open_found({_ACCOUNT})", _opened.FOUND),
    (f"runs_open({_ACCOUNT}, bigint, bigint[])", _opened.OPEN),
    ("runs_own(text, text, text, bigint)", _guarded.OWN),
)
_MADE = (
    ("runs_minute(text)", MINUTE),
    ("runs_taken(runs_purse, bigint, timestamptz)", TAKEN),
    ("runs_tallied(bigint, bigint, timestamptz)", TALLIED),
    ("runs_closed(runs_purse, integer)", CLOSED),
    ("runs_ahead(bigint, bigint, text, timestamptz)", AHEAD),
    ("runs_lending(runs_purse, bigint[], timestamptz)", LENDING),
    ("runs_recalled(bigint, bigint, bigint, timestamptz)", RECALLED),
    (f"runs_reserve(bigint, text, bigint, boolean, {_ASKED})", RESERVE),
    ("runs_book(bigint, bigint, jsonb, bigint, bigint, boolean)", BOOK),
    ("runs_used(bigint, bigint, bigint, bigint, boolean, boolean)", USED),
    ("runs_give_back(integer)", GIVE_BACK),
    (
        f"runs_guarded(bigint, text, bigint, boolean, bigint, {_ASKED}, text[], integer, bigint, bigint[])",
        GUARDED,
    ),
    (f"runs_permit({_CALL}, {_ASKED}, text[], integer, bigint, bigint[])", PERMIT),
    (f"runs_record({_ENDED}, boolean)", RECORD),
    (f"runs_open_found({_ACCOUNT})", FOUND),
    (f"runs_open({_ACCOUNT}, bigint, bigint[])", OPEN),
    ("runs_own(text, text, text, bigint)", OWN),
)
_EMPTIED = f"{_purses.EMPTIED}; DELETE FROM runs_purse"


class Migration(migrations.Migration):
    dependencies = [("runs", "0035_opened_outside")]

    operations = [
        migrations.RunSQL(_EMPTIED, migrations.RunSQL.noop),
        migrations.RunSQL("DROP VIEW runs_chunk", _purses.VIEW),
        *(migrations.RunSQL(f"DROP FUNCTION {name}", sql) for name, sql in _REPLACED),
        migrations.RemoveField("purse", "terms"),
        migrations.AddField("purse", "team", models.CharField(blank=True, max_length=80)),
        migrations.AddField("purse", "edition", models.BigIntegerField(default=0)),
        migrations.AddField("purse", "tallied", models.BigIntegerField(default=0)),
        migrations.AddField(
            "purse",
            "flying",
            django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), default=list),
        ),
        migrations.AddField(
            "call",
            "drawn",
            django.contrib.postgres.fields.ArrayField(
                base_field=models.BigIntegerField(null=True),
                null=True,
                help_text="what it took of its run's purse, by place",
            ),
        ),
        migrations.AlterField(
            "call",
            "run",
            models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=models.CASCADE,
                related_name="calls",
                to="runs.run",
            ),
        ),
        migrations.AddIndex("call", models.Index(fields=["run", "id"], name="call_of_run")),
        migrations.RunSQL("CREATE SEQUENCE runs_purse_edition", "DROP SEQUENCE runs_purse_edition"),
        *(migrations.RunSQL(sql, f"DROP FUNCTION {name}") for name, sql in _MADE),
        migrations.RunSQL(VIEW, f"{_EMPTIED}; DROP VIEW runs_chunk"),
    ]
