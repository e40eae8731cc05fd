"""A call's permit asks the guards: breakers, rates, budgets, in the permit's own transaction (law L4, L5).

`runs_pass` asks breakers, `runs_reserve` reserves under every cap that Python found in the book of limits, widest
scope first; that is the one order in which accounts are locked. Both raise: OG001 is a refusal with what refused in its
detail (as JSON), OG002 means that the book or an account is not known as it is now: read again, and ask again. Nothing
of a refused permit stays. `runs_book` books what a call really used.

The accounts in use are few rows with many old versions: the functions that read them look by index, whatever the
planner thinks of so small a table.

Locks: gate, run row, the lock of the accounts (shared; whoever opens an account has it alone), accounts and chunks.
"""

from importlib import import_module

from django.db import migrations

_before = import_module("runs.migrations.0019_calls")

# The parts below take the run's row lock as given.
WITHIN = """
CREATE FUNCTION runs_within(c runs_call, r runs_run, p_scope_kind text, p_scope text) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT c.kind <> 'look' AND NOT r.recorded AND CASE p_scope_kind
        WHEN 'team' THEN r.team_id = (SELECT t.id FROM runs_team t WHERE t.name = p_scope)
        WHEN 'workflow' THEN r.workflow = p_scope
        WHEN 'provider' THEN starts_with(c.model, p_scope || '/')
        WHEN 'model' THEN c.model = p_scope
        WHEN 'tool' THEN c.kind = 'tool' AND c.name = p_scope
        WHEN 'agent' THEN CASE c.kind WHEN 'model' THEN c.name = p_scope
            ELSE EXISTS (SELECT FROM runs_attempt a WHERE a.id = c.attempt_id AND a.agent = p_scope) END
        ELSE true END
$$;
"""

# What one call counts of a kind. Requests and calls at once are those of models; of a tool those of the tool.
COUNTS = """
CREATE FUNCTION runs_counts(c runs_call, p_kind text, p_scope_kind text) RETURNS bigint
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE p_kind
        WHEN 'cost' THEN coalesce(c.cost_micros, 0)
        WHEN 'tokens' THEN coalesce(c.tokens_in::bigint + c.tokens_out, 0)
        WHEN 'turns' THEN (c.kind = 'model' AND c.send = 1)::int
        WHEN 'model_calls' THEN (c.kind = 'model')::int
        WHEN 'tool_calls' THEN (c.kind = 'tool')::int
        ELSE (c.kind = CASE p_scope_kind WHEN 'tool' THEN 'tool' ELSE 'model' END)::int END
$$;
"""

SPENT = """
CREATE FUNCTION runs_spent(
    p_kind text, p_scope_kind text, p_scope text, p_run bigint, p_since timestamptz
) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN coalesce((SELECT sum(runs_counts(c, p_kind, p_scope_kind))
        FROM runs_call c JOIN runs_run r ON r.id = c.run_id
        WHERE CASE WHEN p_run = 0 THEN c.permitted_at >= p_since ELSE c.run_id = p_run END
            AND runs_within(c, r, p_scope_kind, p_scope)), 0);
END $$;
"""

# Alone with the accounts: nobody permits or records a call meanwhile.
OPEN = """
CREATE FUNCTION runs_open(p_kind text, p_window text, p_scope_kind text, p_scope text) RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    made bigint;
    counted bigint;
    moment timestamptz;
    began timestamptz;
    summed boolean := p_window IN ('hour', 'day', 'month');
BEGIN
    PERFORM pg_advisory_xact_lock(7050203);
    moment := clock_timestamp();
    began := CASE WHEN summed THEN date_trunc(p_window, moment, 'UTC') ELSE 'epoch'::timestamptz END;
    INSERT INTO runs_account (kind, "window", scope_kind, scope, begins)
        VALUES (p_kind, p_window, p_scope_kind, p_scope, began) ON CONFLICT DO NOTHING RETURNING id INTO made;
    IF made IS NULL THEN RETURN NULL; END IF;
    IF summed THEN
        UPDATE runs_account a SET spent = runs_spent(p_kind, p_scope_kind, p_scope, 0, began) WHERE a.id = made;
    END IF;
    IF p_window = 'minute' THEN
        INSERT INTO runs_rateentry (account_id, at, team, amount)
            SELECT made, date_trunc('second', c.permitted_at), t.name, sum(runs_counts(c, p_kind, p_scope_kind))
            FROM runs_call c JOIN runs_run r ON r.id = c.run_id JOIN runs_team t ON t.id = r.team_id
            WHERE c.permitted_at > moment - interval '61 s' AND runs_within(c, r, p_scope_kind, p_scope)
                AND runs_counts(c, p_kind, p_scope_kind) > 0
            GROUP BY 2, 3;
    ELSE
        -- Calls under way and those that are uncertain reserve nothing here; what they used is booked in full when
        -- it is known.
        UPDATE runs_call c SET reserved = coalesce(c.reserved, '[]'::jsonb)
                || jsonb_build_array(jsonb_build_array(made, CASE p_kind WHEN 'concurrency' THEN 1 ELSE 0 END))
            FROM runs_run r WHERE r.id = c.run_id AND c.cost_micros IS NULL
                AND (c.state = 'permitted' OR summed AND c.reserved IS NOT NULL)
                AND (summed AND c.permitted_at >= began OR NOT summed AND c.fence = r.fence)
                AND runs_within(c, r, p_scope_kind, p_scope) AND (summed AND c.kind = 'model'
                    OR NOT summed AND runs_counts(c, p_kind, p_scope_kind) > 0);
        GET DIAGNOSTICS counted = ROW_COUNT;
        IF NOT summed THEN UPDATE runs_account a SET reserved = counted WHERE a.id = made; END IF;
    END IF;
    RETURN made;
END $$;
"""

# The order of accounts, from wide to narrow: that of `LimitScope`.
WIDE = """
CREATE FUNCTION runs_wide(p_scope_kind text) RETURNS integer LANGUAGE sql IMMUTABLE AS $$
    SELECT array_position(
        ARRAY['organisation', 'team', 'workflow', 'provider', 'model', 'agent', 'tool', 'run'], p_scope_kind)
$$;
"""

REFUSE = """
CREATE FUNCTION runs_refuse(p_code text, p_why jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a guard refuses this call' USING ERRCODE = p_code, DETAIL = p_why::text;
END $$;
"""

PASS = """
CREATE FUNCTION runs_pass(p_names text[], p_probe_seconds integer) RETURNS bigint[]
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    breaker record;
    probes bigint[];
    moment timestamptz := clock_timestamp();
BEGIN
    FOR breaker IN SELECT b.id, b.kind, b.name, b.state, b.forced, b.why, b.retry_at, b.probe_until, b.opens
        FROM runs_breaker b WHERE b.kind || ':' || b.name = ANY (p_names) AND (b.state <> 'closed' OR b.forced <> '')
        ORDER BY b.id FOR UPDATE
    LOOP
        IF breaker.forced = 'closed' OR breaker.forced = '' AND breaker.state = 'closed' THEN CONTINUE; END IF;
        IF breaker.forced = 'open'
            OR breaker.state = 'open' AND breaker.retry_at > moment
            OR breaker.state = 'half_open' AND breaker.probe_until > moment
        THEN
            PERFORM runs_refuse('OG001', jsonb_build_object('guard', 'breaker', 'breaker', breaker.id,
                'scope_kind', breaker.kind, 'scope', breaker.name, 'why', breaker.why, 'forced', breaker.forced,
                'until', CASE WHEN breaker.forced = 'open' THEN moment + interval '60 s'
                    WHEN breaker.state = 'open' THEN breaker.retry_at ELSE breaker.probe_until END));
        END IF;
        UPDATE runs_breaker SET state = 'half_open', probe = NULL, changed_at = moment,
            probe_until = moment + make_interval(secs => p_probe_seconds) WHERE id = breaker.id;
        probes := array_append(probes, breaker.id);
    END LOOP;
    RETURN probes;
END $$;
"""

# A run's own account, which a refused permit has taken back with it. What its calls under way use is booked there too.
OWN = """
CREATE FUNCTION runs_own(p_kind text, p_scope_kind text, p_scope text, p_run bigint) RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    made bigint;
BEGIN
    PERFORM FROM runs_run r WHERE r.id = p_run FOR NO KEY UPDATE;
    PERFORM pg_advisory_xact_lock_shared(7050203);
    SELECT a.id INTO made FROM runs_account a WHERE a.kind = p_kind AND a."window" = 'run'
        AND a.scope_kind = p_scope_kind AND a.scope = p_scope AND a.run_id = p_run;
    IF made IS NULL THEN
        INSERT INTO runs_account (kind, "window", scope_kind, scope, run_id, begins, spent) VALUES (p_kind, 'run',
            p_scope_kind, p_scope, p_run, 'epoch', runs_spent(p_kind, p_scope_kind, p_scope, p_run, 'epoch'))
            RETURNING id INTO made;
        IF p_kind IN ('cost', 'tokens') THEN
            UPDATE runs_call c SET reserved = coalesce(c.reserved, '[]'::jsonb)
                    || jsonb_build_array(jsonb_build_array(made, 0))
                FROM runs_run r WHERE r.id = p_run AND c.run_id = p_run AND c.kind = 'model' AND c.cost_micros IS NULL
                    AND (c.state = 'permitted' OR c.reserved IS NOT NULL)
                    AND runs_within(c, r, p_scope_kind, p_scope);
        END IF;
    END IF;
    RETURN made;
END $$;
"""

# All of a run's chunks that a call needs, at once, before any account is locked. Somebody may have taken one back just
# now: then all is asked again.
DRAW = """
CREATE FUNCTION runs_draw(p_ids bigint[], p_amounts bigint[]) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    drawn integer;
BEGIN
    UPDATE runs_chunk c SET held = c.held - one.amount FROM unnest(p_ids, p_amounts) AS one(id, amount)
        WHERE c.id = one.id AND c.held >= one.amount;
    GET DIAGNOSTICS drawn = ROW_COUNT;
    IF drawn <> cardinality(p_ids) THEN PERFORM runs_refuse('OG002', '{}'); END IF;
END $$;
"""

# Every account by one look; what a run has for itself is kept apart by its row lock, what all share is locked in the
# order of the asks. A chunk is used without its account. Who holds an account never waits for a chunk: others' chunks
# that are in use just now are not taken back.
RESERVE = """
CREATE FUNCTION runs_reserve(
    p_run bigint, p_team text, p_step bigint, p_first boolean, p_kinds text[], p_windows text[], p_scope_kinds text[],
    p_scopes text[], p_amounts bigint[], p_caps bigint[], p_limits bigint[], p_notes jsonb, p_share integer,
    p_chunk integer
) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    ask record;
    own bigint;
    moment timestamptz := clock_timestamp();
    asked_at timestamptz := moment;
    cap bigint;
    bound bigint;
    more bigint;
    used bigint;
    ahead bigint;
    mine record;
    again timestamptz;
    taken jsonb := '[]';
    told jsonb := '[]';
    bits integer;
    own_ids bigint[];
    own_spent bigint[];
    own_reserved bigint[];
    drawn bigint[];
    drawn_by bigint[];
    queued boolean;
    counts boolean;
    note jsonb;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(7050203);
    FOR ask IN
        SELECT one.*, a.id, a.spent, a.reserved, a.noted, a.noted_at, c.held, c.id AS chunk_id
        FROM unnest(p_kinds, p_windows, p_scope_kinds, p_scopes, p_amounts, p_caps, p_limits) WITH ORDINALITY
            AS one(kind, "window", scope_kind, scope, amount, cap, limit_id, n)
        LEFT JOIN runs_account a ON a.kind = one.kind AND a."window" = one."window" AND a.scope_kind = one.scope_kind
            AND a.scope = one.scope AND a.run_id = CASE one."window" WHEN 'run' THEN p_run ELSE 0 END
            AND a.begins = CASE WHEN one."window" IN ('hour', 'day', 'month')
                THEN date_trunc(one."window", moment, 'UTC') ELSE 'epoch'::timestamptz END
        LEFT JOIN runs_chunk c ON c.run_id = p_run AND c.account_id = a.id
        ORDER BY (one."window" IN ('hour', 'day', 'month') AND c.held >= one.amount
            AND (one.cap IS NULL OR a.spent + a.reserved <= one.cap)) IS TRUE DESC, one.n
    LOOP
        CONTINUE WHEN ask.kind = 'turns' AND NOT p_first;
        IF ask.id IS NULL THEN
            IF ask."window" <> 'run' THEN
                PERFORM runs_refuse('OG002', jsonb_build_object('kind', ask.kind, 'window', ask."window",
                    'scope_kind', ask.scope_kind, 'scope', ask.scope));
            END IF;
            own := runs_own(ask.kind, ask.scope_kind, ask.scope, p_run);
            SELECT a.id, a.spent, a.reserved, a.noted INTO STRICT ask.id, ask.spent, ask.reserved, ask.noted
                FROM runs_account a WHERE a.id = own;
        END IF;
        cap := ask.cap;
        again := NULL;
        IF ask."window" = 'run' THEN
            used := ask.spent + ask.reserved;
        ELSIF ask."window" IN ('hour', 'day', 'month') AND ask.held >= ask.amount
            AND (cap IS NULL OR ask.spent + ask.reserved <= cap)
        THEN
            drawn := array_append(drawn, ask.chunk_id);
            drawn_by := array_append(drawn_by, ask.amount);
            taken := taken || jsonb_build_array(jsonb_build_array(ask.id, ask.amount));
            CONTINUE;
        ELSE
            IF drawn IS NOT NULL THEN
                PERFORM runs_draw(drawn, drawn_by);
                drawn := NULL;
            END IF;
            SELECT a.spent, a.reserved, a.noted, a.noted_at INTO ask.spent, ask.reserved, ask.noted, ask.noted_at
                FROM runs_account a WHERE a.id = ask.id FOR UPDATE;
            used := ask.spent + ask.reserved;
            IF ask."window" = 'minute' THEN
                moment := clock_timestamp();
                SELECT coalesce(sum(e.amount), 0), greatest(moment, max(e.at)) INTO used, moment FROM runs_rateentry e
                    WHERE e.account_id = ask.id AND e.at > moment - interval '61 s';
            END IF;
        END IF;
        IF used + ask.amount > cap THEN
            SELECT coalesce(sum(t.amount), 0) INTO more FROM runs_topup t
                WHERE t.account_id = ask.id AND (t.until IS NULL OR t.until > moment);
            cap := cap + more;
            IF used + ask.amount > cap AND ask."window" IN ('hour', 'day', 'month') THEN
                -- What other runs hold and do not use comes back before anybody is refused.
                WITH idle AS (
                    SELECT c.id, c.held FROM runs_chunk c WHERE c.account_id = ask.id AND c.held > 0
                        ORDER BY c.id FOR UPDATE SKIP LOCKED
                ), back AS (
                    UPDATE runs_chunk c SET held = 0 FROM idle WHERE c.id = idle.id RETURNING idle.held
                ) SELECT coalesce(sum(back.held), 0) INTO more FROM back;
                IF more > 0 THEN
                    UPDATE runs_account a SET reserved = a.reserved - more WHERE a.id = ask.id;
                    used := used - more;
                END IF;
            ELSIF used + ask.amount > cap AND ask.kind = 'concurrency' THEN
                -- Calls whose worker is gone are not under way: each gives its place back once, now and not when it
                -- comes late. One that is being recorded just now gives it back by itself.
                WITH gone AS (
                    SELECT c.id FROM runs_call c JOIN runs_run r ON r.id = c.run_id
                        WHERE c.reserved @> jsonb_build_array(jsonb_build_array(ask.id, 1))
                            AND (c.state = 'permitted' AND c.fence = r.fence AND r.lease_until > moment) IS NOT TRUE
                            AND EXISTS (SELECT FROM jsonb_array_elements(c.reserved) v WHERE v -> 0 = to_jsonb(ask.id))
                        FOR NO KEY UPDATE OF c SKIP LOCKED
                ) UPDATE runs_call c SET reserved = (SELECT jsonb_agg(v.value ORDER BY v.ordinality)
                        FROM jsonb_array_elements(c.reserved) WITH ORDINALITY v WHERE v.value -> 0 <> to_jsonb(ask.id))
                    FROM gone WHERE c.id = gone.id;
                GET DIAGNOSTICS more = ROW_COUNT;
                IF more > 0 THEN
                    UPDATE runs_account a SET reserved = greatest(a.reserved - more, 0) WHERE a.id = ask.id;
                    used := greatest(used - more, 0);
                END IF;
            END IF;
        END IF;
        IF cap IS NOT NULL AND (ask."window" = 'minute' OR ask.kind = 'concurrency') AND ask.amount <= cap THEN
            -- Who waits goes first: the team that had least within the minute, then who has waited longest.
            ahead := 0;
            IF queued IS NULL THEN queued := EXISTS (SELECT FROM runs_wait); END IF;
            IF queued AND EXISTS (SELECT FROM runs_wait w WHERE w.account_id = ask.id AND w.step_id <> p_step) THEN
                SELECT coalesce((SELECT w.since FROM runs_wait w WHERE w.step_id = p_step AND w.account_id = ask.id),
                        moment) AS since,
                    coalesce((SELECT sum(e.amount) FROM runs_rateentry e WHERE e.account_id = ask.id
                        AND e.at > moment - interval '61 s' AND e.team = p_team), 0) AS had
                    INTO mine;
                SELECT coalesce(sum(w.need), 0) INTO ahead FROM runs_wait w
                    JOIN runs_run r ON r.id = w.run_id JOIN runs_step s ON s.id = w.step_id
                    WHERE w.account_id = ask.id AND w.step_id <> p_step AND r.hold = ''
                        AND s.state IN ('sleeping', 'running') AND w.until > moment - interval '5 s'
                        AND (coalesce((SELECT sum(e.amount) FROM runs_rateentry e WHERE e.account_id = ask.id
                            AND e.at > moment - interval '61 s' AND e.team = w.team), 0), w.since)
                            < (mine.had, mine.since);
            END IF;
            IF used + ahead + ask.amount > cap THEN
                -- When so much of the minute is over that those before it and it fit; who is further back looks again
                -- after a while, because somebody before it may not come.
                IF ask."window" = 'minute' THEN
                    SELECT min(due.at) + interval '61 s' INTO again FROM (
                        SELECT e.at, sum(e.amount) OVER (ORDER BY e.at, e.id) AS freed FROM runs_rateentry e
                            WHERE e.account_id = ask.id AND e.at > moment - interval '61 s'
                        ) due WHERE due.freed >= used + ahead + ask.amount - cap;
                END IF;
                more := least(20, 1 + 5 * ahead / cap);
                again := least(again, moment + make_interval(secs => CASE ask."window" WHEN 'minute' THEN
                    CASE WHEN again IS NULL THEN 20 ELSE 61 END ELSE more END));
                again := greatest(again, moment + interval '50 ms');
                used := used + ahead;
            END IF;
        END IF;
        IF used + ask.amount > cap THEN
            PERFORM runs_refuse('OG001', jsonb_build_object('guard', ask.kind, 'window', ask."window",
                'scope_kind', ask.scope_kind, 'scope', ask.scope, 'account', ask.id, 'limit', ask.limit_id,
                'cap', cap, 'used', used, 'need', ask.amount, 'until', again));
        END IF;
        IF ask."window" = 'minute' AND ask.noted_at < moment - interval '60 s' THEN ask.noted := 0; END IF;
        note := p_notes -> (ask.n - 1)::text;
        bits := CASE WHEN (used + ask.amount) * 100 >= cap * p_share AND ask.noted & 4 = 0 AND cap > 1 THEN 4 ELSE 0 END
            | CASE WHEN used + ask.amount > (note ->> 'warn')::bigint AND ask.noted & 2 = 0 THEN 2 ELSE 0 END
            | CASE WHEN used + ask.amount > (note ->> 'observe')::bigint AND ask.noted & 1 = 0 THEN 1 ELSE 0 END;
        IF bits > 0 THEN
            UPDATE runs_account a SET noted = ask.noted | bits, noted_at = moment WHERE a.id = ask.id;
            told := told || jsonb_build_array(jsonb_build_object('bits', bits, 'guard', ask.kind,
                'window', ask."window", 'scope_kind', ask.scope_kind, 'scope', ask.scope, 'account', ask.id,
                'limit', CASE WHEN bits & 4 > 0 THEN ask.limit_id WHEN bits & 2 > 0 THEN (note ->> 'warn_id')::bigint
                    ELSE (note ->> 'observe_id')::bigint END,
                'cap', CASE WHEN bits & 4 > 0 THEN cap WHEN bits & 2 > 0 THEN (note ->> 'warn')::bigint
                    ELSE (note ->> 'observe')::bigint END,
                'used', used + ask.amount));
        END IF;
        IF ask."window" = 'run' THEN
            counts := ask.kind IN ('turns', 'model_calls', 'tool_calls');
            own_ids := array_append(own_ids, ask.id);
            own_spent := array_append(own_spent, CASE WHEN counts THEN ask.amount ELSE 0 END);
            own_reserved := array_append(own_reserved, CASE WHEN counts THEN 0 ELSE ask.amount END);
            IF NOT counts THEN taken := taken || jsonb_build_array(jsonb_build_array(ask.id, ask.amount)); END IF;
        ELSIF ask."window" = 'minute' THEN
            INSERT INTO runs_rateentry AS e (account_id, at, team, amount)
                VALUES (ask.id, date_trunc('second', moment), p_team, ask.amount)
                ON CONFLICT (account_id, at, team) DO UPDATE SET amount = e.amount + excluded.amount;
            IF ask.kind = 'tokens' THEN
                taken := taken || jsonb_build_array(jsonb_build_array(ask.id, ask.amount,
                    extract(epoch FROM date_trunc('second', moment))::bigint, p_team));
            END IF;
        ELSIF ask.kind = 'concurrency' THEN
            UPDATE runs_account a SET reserved = a.reserved + 1 WHERE a.id = ask.id;
            taken := taken || jsonb_build_array(jsonb_build_array(ask.id, 1));
        ELSE
            -- A chunk for the next calls while there is plenty; near the cap, or what people shall be told of, each
            -- reserves just what it needs.
            bound := least(cap, CASE WHEN ask.noted & 2 = 0 THEN (note ->> 'warn')::bigint END,
                CASE WHEN ask.noted & 1 = 0 THEN (note ->> 'observe')::bigint END);
            more := least(ask.amount * p_chunk, coalesce((bound - used - ask.amount) / 256, ask.amount * p_chunk));
            IF more < ask.amount THEN more := 0; END IF;
            UPDATE runs_account a SET reserved = a.reserved + ask.amount + more WHERE a.id = ask.id;
            INSERT INTO runs_chunk AS c (run_id, account_id, held) VALUES (p_run, ask.id, more)
                ON CONFLICT (run_id, account_id) DO UPDATE SET held = c.held + more;
            taken := taken || jsonb_build_array(jsonb_build_array(ask.id, ask.amount));
        END IF;
    END LOOP;
    IF drawn IS NOT NULL THEN PERFORM runs_draw(drawn, drawn_by); END IF;
    IF own_ids IS NOT NULL THEN
        UPDATE runs_account a SET spent = a.spent + one.spent, reserved = a.reserved + one.reserved
            FROM unnest(own_ids, own_spent, own_reserved) AS one(id, spent, reserved) WHERE a.id = one.id;
    END IF;
    RETURN jsonb_build_object('taken', taken, 'told', told, 'at', asked_at);
END $$;
"""

# First what comes out of chunks, at once; then accounts, in the order in which permits lock them (`caps` sorts so):
# what overran, and what a chunk was taken back for meanwhile.
BOOK = """
CREATE FUNCTION runs_book(
    p_run bigint, p_call bigint, p_taken jsonb, p_cost bigint, p_tokens bigint, p_known boolean
) RETURNS jsonb LANGUAGE plpgsql VOLATILE
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    one record;
    actual bigint;
    kept jsonb := '[]';
    own_ids bigint[];
    own_free bigint[];
    own_spent bigint[];
    put_ids bigint[];
BEGIN
    PERFORM pg_advisory_xact_lock_shared(7050203);
    IF p_known THEN
        WITH put AS (
            UPDATE runs_chunk c SET held = c.held + t.amount - t.actual, spent = c.spent + t.actual FROM (
                SELECT a.id, (v.value ->> 1)::bigint AS amount,
                    CASE a.kind WHEN 'cost' THEN p_cost ELSE p_tokens END AS actual
                FROM jsonb_array_elements(p_taken) v JOIN runs_account a ON a.id = (v.value ->> 0)::bigint
            ) t WHERE c.run_id = p_run AND c.account_id = t.id AND t.amount >= t.actual RETURNING c.account_id
        ) SELECT array_agg(account_id) INTO put_ids FROM put;
    END IF;
    FOR one IN SELECT a.id, a.kind, a."window", (t.value ->> 1)::bigint AS amount, t.value
        FROM jsonb_array_elements(p_taken) t JOIN runs_account a ON a.id = (t.value ->> 0)::bigint
        WHERE a.id <> ALL (coalesce(put_ids, '{}'))
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
        IF one."window" = 'run' THEN
            own_ids := array_append(own_ids, one.id);
            own_free := array_append(own_free, one.amount);
            own_spent := array_append(own_spent, actual);
            CONTINUE;
        END IF;
        IF one."window" = 'minute' THEN
            UPDATE runs_rateentry e SET amount = greatest(e.amount + actual - one.amount, 0)
                WHERE e.account_id = one.id AND e.at = to_timestamp((one.value ->> 2)::bigint)
                    AND e.team = one.value ->> 3;
            CONTINUE;
        END IF;
        UPDATE runs_account a SET reserved = greatest(a.reserved - one.amount, 0), spent = a.spent + actual
            WHERE a.id = one.id;
    END LOOP;
    IF own_ids IS NOT NULL THEN
        UPDATE runs_account a SET reserved = greatest(a.reserved - used.free, 0), spent = a.spent + used.spent
            FROM unnest(own_ids, own_free, own_spent) AS used(id, free, spent) WHERE a.id = used.id;
    END IF;
    RETURN nullif(kept, '[]'::jsonb);
END $$;
"""

# A chunk that is in use just now is not idle: who holds an account does not wait for it.
GIVE_BACK = """
CREATE FUNCTION runs_give_back(p_account bigint) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(7050203);
    PERFORM FROM runs_account a WHERE a.id = p_account FOR UPDATE;
    WITH idle AS (
        SELECT c.id, c.held, c.spent FROM runs_chunk c JOIN runs_run r ON r.id = c.run_id
        WHERE c.account_id = p_account
            AND (r.state <> 'running' OR r.lease_until < clock_timestamp() - interval '1 minute')
        ORDER BY c.id FOR UPDATE OF c SKIP LOCKED
    ), gone AS (
        DELETE FROM runs_chunk c USING idle WHERE c.id = idle.id RETURNING idle.held, idle.spent
    ), sums AS (
        SELECT coalesce(sum(held), 0) AS held, coalesce(sum(spent), 0) AS spent FROM gone
    )
    UPDATE runs_account a SET reserved = a.reserved - sums.held - sums.spent, spent = a.spent + sums.spent
        FROM sums WHERE a.id = p_account;
END $$;
"""

# An uncertain spend is booked: as somebody says (millionths of a dollar), else all that is reserved. It stands on the
# call as well, so that calls add up to what accounts say; tokens that nobody knows stand there as tokens out.
SETTLE = """
CREATE FUNCTION runs_settle(p_call bigint, p_cost bigint) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    one record;
    cost bigint := p_cost;
    tokens bigint;
    run_id bigint;
BEGIN
    SELECT c.run_id, coalesce(p_cost, max((t.value ->> 1)::bigint) FILTER (WHERE a.kind = 'cost')),
            max((t.value ->> 1)::bigint) FILTER (WHERE a.kind = 'tokens')
        INTO run_id, cost, tokens
        FROM runs_call c, jsonb_array_elements(c.reserved) t, runs_account a
        WHERE c.id = p_call AND a.id = (t.value ->> 0)::bigint GROUP BY c.run_id;
    FOR one IN SELECT a.id, a.kind, a."window", (t.value ->> 1)::bigint AS amount
        FROM runs_call c, jsonb_array_elements(c.reserved) t, runs_account a
        WHERE c.id = p_call AND a.id = (t.value ->> 0)::bigint AND a."window" <> 'minute'
        ORDER BY runs_wide(a.scope_kind), a.scope COLLATE "C", a.kind COLLATE "C", a."window" COLLATE "C"
    LOOP
        UPDATE runs_account a SET reserved = greatest(a.reserved - one.amount, 0),
                spent = a.spent + CASE one.kind WHEN 'cost' THEN cost WHEN 'tokens' THEN tokens ELSE 0 END
            WHERE a.id = one.id;
    END LOOP;
    UPDATE runs_call c SET reserved = NULL, cost_micros = coalesce(c.cost_micros, cost),
            tokens_in = coalesce(c.tokens_in, CASE WHEN tokens IS NOT NULL THEN 0 END),
            tokens_out = coalesce(c.tokens_out, tokens)
        WHERE c.id = p_call;
    UPDATE runs_run r SET cost_micros = r.cost_micros + coalesce(cost, 0),
            tokens_out = r.tokens_out + coalesce(tokens, 0)
        WHERE r.id = run_id;
    RETURN cost;
END $$;
"""

PERMIT = """
CREATE FUNCTION runs_permit(
    p_run bigint, p_fence bigint, p_worker text, p_step bigint, p_attempt bigint, p_kind text, p_name text, p_key text,
    p_request text, p_content text, p_size integer, p_effect text, p_egress boolean, p_digest text, p_question bigint,
    p_simulated boolean, p_model text, p_prompt text, p_parameters jsonb, p_edition bigint, p_team text,
    p_kinds text[], p_windows text[],
    p_scope_kinds text[], p_scopes text[], p_amounts bigint[], p_caps bigint[], p_limits bigint[], p_notes jsonb,
    p_share integer, p_chunk integer, p_breakers text[], p_probe_seconds integer
) RETURNS TABLE (call_id bigint, send integer, permitted_at timestamptz, reserved jsonb, told jsonb)
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
    asked := runs_guarded(p_run, p_team, p_step, runs_permit.send = 1, p_edition, p_kinds, p_windows,
        p_scope_kinds, p_scopes, p_amounts, p_caps, p_limits, p_notes, p_share, p_chunk, p_breakers, p_probe_seconds);
    reserved := nullif(asked -> 'taken', '[]'::jsonb);
    told := nullif(asked -> 'told', '[]'::jsonb);
    permitted_at := coalesce((asked ->> 'at')::timestamptz, permitted_at);  -- of the period that it counts in
    INSERT INTO runs_call (run_id, step_id, attempt_id, kind, name, key, send, state, replayable, fence, request_id,
            error_class, error, effect, egress, digest, question_id, simulated, model, model_returned, prompt_version,
            parameters, permitted_at, reserved)
        VALUES (p_run, p_step, p_attempt, p_kind, p_name, p_key, runs_permit.send, 'permitted', true, p_fence,
            p_request, '', '', p_effect, p_egress, p_digest, p_question, p_simulated, p_model, '', p_prompt,
            p_parameters, runs_permit.permitted_at, runs_permit.reserved)
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
    p_share integer, p_chunk integer, p_breakers text[], p_probe_seconds integer
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
    IF p_kinds IS NOT NULL THEN
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

RECORD = """
CREATE FUNCTION runs_record(
    p_run bigint, p_fence bigint, p_call bigint, p_state text, p_response text, p_content text, p_size integer,
    p_error text, p_error_class text, p_tokens_in integer, p_tokens_out integer, p_cost bigint, p_model text,
    p_latency integer, p_handed timestamptz, p_known boolean
) RETURNS TABLE (event_seq integer, finished_at timestamptz, reserved jsonb, probing boolean)
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    run record;
    call record;
BEGIN
    SELECT r.event_seq INTO run FROM runs_run r WHERE r.id = p_run AND r.fence = p_fence FOR NO KEY UPDATE;
    IF NOT FOUND THEN RETURN; END IF;
    PERFORM pg_advisory_xact_lock_shared(7050203);
    SELECT c.step_id, c.name, c.send, c.reserved INTO call FROM runs_call c
        WHERE c.id = p_call AND c.state = 'permitted' AND c.cost_micros IS NULL AND c.tokens_in IS NULL
        FOR NO KEY UPDATE;
    IF NOT FOUND THEN RETURN; END IF;
    event_seq := run.event_seq + 1;
    finished_at := clock_timestamp();
    IF p_response IS NOT NULL THEN
        INSERT INTO runs_body (digest, content, size) VALUES (p_response, p_content, p_size) ON CONFLICT DO NOTHING;
    END IF;
    IF call.reserved IS NOT NULL THEN
        reserved := runs_book(p_run, p_call, call.reserved, coalesce(p_cost, 0),
            coalesce(p_tokens_in::bigint + p_tokens_out, 0), p_known);
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

_OLD_PERMIT = "runs_permit(bigint, bigint, text, bigint, bigint, text, text, text, text, text, integer, text, boolean, text, bigint, boolean, text, text, jsonb)"  # noqa: E501
_OLD_RECORD = "runs_record(bigint, bigint, bigint, text, text, text, integer, text, text, integer, integer, bigint, text, integer, timestamptz)"  # noqa: E501


class Migration(migrations.Migration):
    dependencies = [("runs", "0020_spend")]

    operations = [
        migrations.RunSQL(
            f"DROP FUNCTION {_OLD_PERMIT}; DROP FUNCTION {_OLD_RECORD}", _before.PERMIT + _before.RECORD
        ),
        *(
            migrations.RunSQL(sql, f"DROP FUNCTION {name}")
            for name, sql in (
                ("runs_refuse", REFUSE),
                ("runs_wide", WIDE),
                ("runs_within", WITHIN),
                ("runs_counts", COUNTS),
                ("runs_spent", SPENT),
                ("runs_open", OPEN),
                ("runs_pass", PASS),
                ("runs_own", OWN),
                ("runs_draw", DRAW),
                ("runs_reserve", RESERVE),
                ("runs_book", BOOK),
                ("runs_give_back", GIVE_BACK),
                ("runs_settle", SETTLE),
                ("runs_guarded", GUARDED),
                ("runs_permit", PERMIT),
                ("runs_record", RECORD),
            )
        ),
    ]
