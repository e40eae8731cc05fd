"""What a run holds in advance of its accounts is one row, its purse: a call that fits into it writes that row alone.

Before, each account had a chunk a run, and a run's own accounts were written by every call: a permit under twelve caps
wrote nine rows by a dozen statements. `runs_chunk` is a view of the purses now. A run holds its own accounts whole, up
to where somebody must be told or asked; nobody else wants them.

Locks: gate, run row, the lock of the accounts (shared), the run's purse, accounts from wide to narrow. Who holds an
account takes from others' purses only when these are free.
"""

from importlib import import_module

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

_before = import_module("runs.migrations.0021_guarded_calls")

VIEW = """
CREATE VIEW runs_chunk AS
    SELECT p.run_id * 4096 + one.n AS id, p.run_id, one.account AS account_id, one.held, one.spent
    FROM runs_purse p, unnest(p.accounts, p.held, p.spent) WITH ORDINALITY AS one(account, held, spent, n)
    WHERE one.account <> 0
"""

# What was held in advance goes back into its accounts.
EMPTIED = """
UPDATE runs_account a SET reserved = a.reserved - one.held - one.spent, spent = a.spent + one.spent FROM (
        SELECT account_id, sum(held) AS held, sum(spent) AS spent FROM runs_chunk GROUP BY account_id
    ) one WHERE a.id = one.account_id
"""

# What all of a call's accounts but rates have for it in the purse, drawn at once. Null when anything is missing, when
# a limit has changed, and when somebody has taken back what was there.
DRAW = """
CREATE FUNCTION runs_draw(
    p_run bigint, p_first boolean, p_kinds text[], p_windows text[], p_scope_kinds text[], p_scopes text[],
    p_amounts bigint[], p_caps bigint[], p_notes jsonb
) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    purse runs_purse;
    free bigint[];
    used bigint[];
    taken text := '';
    place integer;
BEGIN
    SELECT p.* INTO purse FROM runs_purse p WHERE p.run_id = p_run;
    IF NOT FOUND OR purse.until <= clock_timestamp() THEN RETURN NULL; END IF;
    free := purse.held;
    used := purse.spent;
    FOR i IN 1..cardinality(p_kinds) LOOP
        CONTINUE WHEN p_windows[i] = 'minute' OR p_kinds[i] = 'turns' AND NOT p_first;
        place := array_position(purse.keys,
            p_kinds[i] || '|' || p_windows[i] || '|' || p_scope_kinds[i] || '|' || p_scopes[i]);
        IF (free[place] >= p_amounts[i]
            AND purse.terms[place] = concat(p_caps[i], p_notes -> (i - 1)::text)) IS NOT TRUE
        THEN RETURN NULL; END IF;
        free[place] := free[place] - p_amounts[i];
        IF p_kinds[i] IN ('turns', 'model_calls', 'tool_calls') THEN
            used[place] := used[place] + p_amounts[i];
        ELSE
            taken := taken || ',[' || purse.accounts[place] || ',' || p_amounts[i] || ']';
        END IF;
    END LOOP;
    UPDATE runs_purse p SET held = free, spent = used
        WHERE p.run_id = p_run AND p.held = purse.held;
    IF NOT FOUND THEN RETURN NULL; END IF;
    RETURN taken;
END $$;
"""

# What the purse does not have is asked of the accounts, one after the other in the order of the asks; what the purse
# has of them goes back first. Rates are always asked.
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
    taken text;
    drawn boolean;
    told jsonb := '[]';
    queued boolean;
    minute boolean;
    own boolean;
    counts boolean;
    terms text;
    key text;
    place integer;
    made bigint;
    need bigint;
    cap bigint;
    bound bigint;
    used bigint;
    more bigint;
    ahead bigint;
    mine record;
    note jsonb;
    bits integer;
    again timestamptz;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(7050203);
    taken := runs_draw(p_run, p_first, p_kinds, p_windows, p_scope_kinds, p_scopes, p_amounts, p_caps, p_notes);
    drawn := taken IS NOT NULL;
    IF NOT drawn THEN
        taken := '';
        SELECT p.* INTO purse FROM runs_purse p WHERE p.run_id = p_run FOR UPDATE;
        IF NOT FOUND THEN
            purse.run_id := p_run;
            purse.keys := '{}'; purse.terms := '{}'; purse.kinds := '{}'; purse.accounts := '{}';
            purse.held := '{}'; purse.spent := '{}'; purse.ends := '{}';
        END IF;
        FOR i IN 1..cardinality(purse.keys) LOOP  -- of a period that is over; what it has goes back with the rest
            IF purse.ends[i] <= moment THEN purse.keys[i] := ''; END IF;
        END LOOP;
    END IF;
    FOR i IN 1..cardinality(p_kinds) LOOP
        minute := p_windows[i] = 'minute';
        CONTINUE WHEN drawn AND NOT minute OR p_kinds[i] = 'turns' AND NOT p_first;
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
            made := runs_own(p_kinds[i], p_scope_kinds[i], p_scopes[i], p_run);
            SELECT a.* INTO STRICT account FROM runs_account a WHERE a.id = made;
        END IF;
        IF minute THEN
            moment := clock_timestamp();
            SELECT coalesce(sum(e.amount), 0), greatest(moment, max(e.at)) INTO used, moment FROM runs_rateentry e
                WHERE e.account_id = account.id AND e.at > moment - interval '61 s';
        ELSE
            key := p_kinds[i] || '|' || p_windows[i] || '|' || p_scope_kinds[i] || '|' || p_scopes[i];
            place := array_position(purse.keys, key);
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
            IF used + need > cap AND NOT own AND NOT minute THEN
                account.reserved := account.reserved - runs_recalled(p_run, account.id);
                IF p_kinds[i] = 'concurrency' AND account.spent + account.reserved + need > cap THEN
                    account.reserved := greatest(account.reserved - runs_left(account.id, moment), 0);
                END IF;
                used := account.spent + account.reserved;
            END IF;
        END IF;
        bound := CASE WHEN more = 0 THEN cap ELSE 0 END;  -- what was added may end: asked at each call
        IF cap IS NOT NULL AND (minute OR p_kinds[i] = 'concurrency') AND need <= cap THEN
            -- Who waits goes first: the team that had least within the minute, then who has waited longest.
            IF queued IS NULL THEN queued := EXISTS (SELECT FROM runs_wait); END IF;
            IF queued AND EXISTS (SELECT FROM runs_wait w WHERE w.account_id = account.id AND w.step_id <> p_step) THEN
                SELECT coalesce((SELECT w.since FROM runs_wait w WHERE w.step_id = p_step
                        AND w.account_id = account.id), moment) AS since,
                    coalesce((SELECT sum(e.amount) FROM runs_rateentry e WHERE e.account_id = account.id
                        AND e.at > moment - interval '61 s' AND e.team = p_team), 0) AS had
                    INTO mine;
                SELECT coalesce(sum(w.need), 0) INTO ahead FROM runs_wait w
                    JOIN runs_run r ON r.id = w.run_id JOIN runs_step s ON s.id = w.step_id
                    WHERE w.account_id = account.id AND w.step_id <> p_step AND r.hold = ''
                        AND s.state IN ('sleeping', 'running') AND w.until > moment - interval '5 s'
                        AND (coalesce((SELECT sum(e.amount) FROM runs_rateentry e WHERE e.account_id = account.id
                            AND e.at > moment - interval '61 s' AND e.team = w.team), 0), w.since)
                            < (mine.had, mine.since);
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
        IF minute THEN
            IF bits > 0 THEN
                UPDATE runs_account a SET noted = account.noted, noted_at = moment WHERE a.id = account.id;
            END IF;
            INSERT INTO runs_rateentry AS e (account_id, at, team, amount)
                VALUES (account.id, date_trunc('second', moment), p_team, need)
                ON CONFLICT (account_id, at, team) DO UPDATE SET amount = e.amount + excluded.amount;
            IF p_kinds[i] = 'tokens' THEN
                taken := taken || ',' || jsonb_build_array(account.id, need,
                    extract(epoch FROM date_trunc('second', moment))::bigint, p_team);
            END IF;
            CONTINUE;
        END IF;
        -- For the next calls while there is plenty; near the cap, or what people shall be told of, each reserves just
        -- what it needs. All that is left of a run's own accounts: up to there nobody else wants it.
        bound := least(bound, CASE WHEN account.noted & 2 = 0 THEN (note ->> 'warn')::bigint END,
            CASE WHEN account.noted & 1 = 0 THEN (note ->> 'observe')::bigint END,
            CASE WHEN own AND cap > 1 AND account.noted & 4 = 0 THEN (cap * p_share - 1) / 100 END);
        more := least(need * p_chunk, coalesce((bound - used - need) / 256, need * p_chunk));
        IF own THEN more := coalesce(bound - used - need, need * p_chunk); END IF;
        IF more < need THEN more := 0; END IF;
        counts := p_kinds[i] IN ('turns', 'model_calls', 'tool_calls');
        UPDATE runs_account a SET spent = account.spent + CASE WHEN counts THEN need ELSE 0 END,
                reserved = account.reserved + more + CASE WHEN counts THEN 0 ELSE need END,
                noted = account.noted, noted_at = account.noted_at
            WHERE a.id = account.id;
        IF NOT counts THEN taken := taken || ',[' || account.id || ',' || need || ']'; END IF;
        terms := concat(p_caps[i], note);
        IF place IS NOT NULL THEN
            purse.held[place] := more;
            purse.terms[place] := terms;
            -- Of calls at once a place goes back into the purse only while there is plenty.
            purse.kinds[place] := CASE WHEN more = 0 AND p_kinds[i] = 'concurrency' THEN '' ELSE p_kinds[i] END;
        ELSIF more > 0 OR need = 0 THEN
            purse.keys := array_append(purse.keys, key);
            purse.terms := array_append(purse.terms, terms);
            purse.kinds := array_append(purse.kinds, p_kinds[i]);
            purse.accounts := array_append(purse.accounts, account.id);
            purse.held := array_append(purse.held, more);
            purse.spent := array_append(purse.spent, 0::bigint);
            purse.ends := array_append(purse.ends, CASE WHEN p_windows[i] IN ('hour', 'day', 'month')
                THEN account.begins + ('1 ' || p_windows[i])::interval END);
        END IF;
    END LOOP;
    IF NOT drawn AND cardinality(purse.keys) > 0 THEN
        SELECT min(one.ends) INTO purse.until FROM unnest(purse.keys, purse.ends) AS one(key, ends)
            WHERE one.key <> '';
        INSERT INTO runs_purse SELECT purse.*
            ON CONFLICT (run_id) DO UPDATE SET keys = excluded.keys, terms = excluded.terms, kinds = excluded.kinds,
                accounts = excluded.accounts, held = excluded.held, spent = excluded.spent, ends = excluded.ends,
                until = excluded.until;
    END IF;
    RETURN jsonb_build_object('taken', ('[' || substr(taken, 2) || ']')::jsonb, 'told', told, 'at', asked_at);
END $$;
"""

# What other runs hold of an account and do not use comes back before anybody is refused.
RECALLED = """
CREATE FUNCTION runs_recalled(p_run bigint, p_account bigint) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    back bigint;
BEGIN
    WITH idle AS (
        SELECT p.run_id, array_position(p.accounts, p_account) AS at, p.held FROM runs_purse p
            WHERE p_account = ANY (p.accounts) AND p.run_id <> p_run ORDER BY p.run_id FOR UPDATE SKIP LOCKED
    ), emptied AS (
        UPDATE runs_purse p SET held[idle.at] = 0 FROM idle WHERE p.run_id = idle.run_id AND idle.held[idle.at] > 0
            RETURNING idle.held[idle.at] AS held
    ) SELECT coalesce(sum(emptied.held), 0) INTO back FROM emptied;
    RETURN back;
END $$;
"""

# Calls whose worker is gone are not under way: each gives its place back once, now and not when it comes late. One that
# is being recorded just now gives it back by itself.
LEFT = """
CREATE FUNCTION runs_left(p_account bigint, p_moment timestamptz) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    places bigint;
BEGIN
    WITH gone AS (
        SELECT c.id FROM runs_call c JOIN runs_run r ON r.id = c.run_id
            WHERE c.reserved @> jsonb_build_array(jsonb_build_array(p_account, 1))
                AND (c.state = 'permitted' AND c.fence = r.fence AND r.lease_until > p_moment) IS NOT TRUE
                AND EXISTS (SELECT FROM jsonb_array_elements(c.reserved) v WHERE v -> 0 = to_jsonb(p_account))
            FOR NO KEY UPDATE OF c SKIP LOCKED
    ) UPDATE runs_call c SET reserved = (SELECT jsonb_agg(v.value ORDER BY v.ordinality)
            FROM jsonb_array_elements(c.reserved) WITH ORDINALITY v WHERE v.value -> 0 <> to_jsonb(p_account))
        FROM gone WHERE c.id = gone.id;
    GET DIAGNOSTICS places = ROW_COUNT;
    RETURN places;
END $$;
"""

# First what goes back into the purse; then accounts, in the order in which permits lock them (`caps` sorts so): what
# overran, and what the purse does not have.
BOOK = """
CREATE FUNCTION runs_book(
    p_run bigint, p_call bigint, p_taken jsonb, p_cost bigint, p_tokens bigint, p_known boolean
) RETURNS jsonb LANGUAGE plpgsql VOLATILE
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    purse runs_purse;
    one record;
    place integer;
    actual bigint;
    rest jsonb := '[]';
    kept jsonb := '[]';
BEGIN
    PERFORM pg_advisory_xact_lock_shared(7050203);
    SELECT p.* INTO purse FROM runs_purse p WHERE p.run_id = p_run FOR UPDATE;
    FOR one IN SELECT (t.value ->> 0)::bigint AS account, (t.value ->> 1)::bigint AS amount, t.value
        FROM jsonb_array_elements(p_taken) t
    LOOP
        place := array_position(purse.accounts, one.account);
        actual := CASE purse.kinds[place]
            WHEN 'concurrency' THEN 0 WHEN 'cost' THEN p_cost WHEN 'tokens' THEN p_tokens END;
        IF place IS NULL OR actual IS NULL OR actual > one.amount
            OR NOT p_known AND purse.kinds[place] <> 'concurrency'
        THEN
            rest := rest || jsonb_build_array(one.value);
        ELSE
            purse.held[place] := purse.held[place] + one.amount - actual;
            purse.spent[place] := purse.spent[place] + actual;
        END IF;
    END LOOP;
    IF rest <> p_taken THEN
        UPDATE runs_purse p SET held = purse.held, spent = purse.spent WHERE p.run_id = p_run;
    END IF;
    IF rest = '[]'::jsonb THEN RETURN NULL; END IF;
    FOR one IN SELECT a.id, a.kind, a."window", (t.value ->> 1)::bigint AS amount, t.value
        FROM jsonb_array_elements(rest) t JOIN runs_account a ON a.id = (t.value ->> 0)::bigint
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

# The purses of runs that nobody performs now, at most so many. One that is in use just now is not idle: who holds an
# account does not wait for it, so all purses are locked before any account.
GIVE_BACK = """
CREATE FUNCTION runs_give_back(p_most integer) RETURNS integer LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    idle bigint[];
BEGIN
    PERFORM pg_advisory_xact_lock_shared(7050203);
    SELECT array_agg(one.run_id) INTO idle FROM (
        SELECT p.run_id FROM runs_purse p JOIN runs_run r ON r.id = p.run_id
        WHERE r.state <> 'running' OR r.lease_until < clock_timestamp() - interval '1 minute'
        ORDER BY p.run_id LIMIT p_most FOR UPDATE OF p SKIP LOCKED
    ) one;
    IF idle IS NULL THEN RETURN 0; END IF;
    PERFORM FROM runs_account a
        WHERE a.id IN (SELECT c.account_id FROM runs_chunk c WHERE c.run_id = ANY (idle))
        ORDER BY runs_wide(a.scope_kind), a.scope COLLATE "C", a.kind COLLATE "C", a."window" COLLATE "C", a.run_id
        FOR UPDATE OF a;
    UPDATE runs_account a SET reserved = a.reserved - one.held - one.spent, spent = a.spent + one.spent FROM (
            SELECT c.account_id, sum(c.held) AS held, sum(c.spent) AS spent FROM runs_chunk c
            WHERE c.run_id = ANY (idle) GROUP BY c.account_id
        ) one WHERE a.id = one.account_id;
    DELETE FROM runs_purse p WHERE p.run_id = ANY (idle);
    RETURN cardinality(idle);
END $$;
"""

_RESERVE_OF = "runs_reserve(bigint, text, bigint, boolean, text[], text[], text[], text[], bigint[], bigint[], bigint[], jsonb, integer, integer)"  # noqa: E501
_BOOK_OF = "runs_book(bigint, bigint, jsonb, bigint, bigint, boolean)"
_ARRAYS = django.contrib.postgres.fields.ArrayField


class Migration(migrations.Migration):
    dependencies = [("runs", "0032_questions_within_runs")]

    operations = [
        migrations.CreateModel(
            name="Purse",
            fields=[
                (
                    "run",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="runs.run",
                    ),
                ),
                ("keys", _ARRAYS(base_field=models.TextField())),
                ("terms", _ARRAYS(base_field=models.TextField())),
                ("kinds", _ARRAYS(base_field=models.TextField())),
                ("accounts", _ARRAYS(base_field=models.BigIntegerField())),
                ("held", _ARRAYS(base_field=models.BigIntegerField())),
                ("spent", _ARRAYS(base_field=models.BigIntegerField())),
                ("ends", _ARRAYS(base_field=models.DateTimeField(null=True))),
                ("until", models.DateTimeField(help_text="when the first of its periods ends", null=True)),
            ],
        ),
        migrations.RunSQL("ALTER TABLE runs_purse SET (fillfactor = 50)", migrations.RunSQL.noop),
        migrations.RunSQL(EMPTIED, migrations.RunSQL.noop),
        migrations.DeleteModel(name="Chunk"),
        migrations.RunSQL(VIEW, f"{EMPTIED}; DROP VIEW runs_chunk"),
        migrations.CreateModel(
            name="Chunk",
            fields=[
                ("id", models.BigIntegerField(primary_key=True, serialize=False)),
                (
                    "run",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="runs.run",
                    ),
                ),
                (
                    "account",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="runs.account",
                    ),
                ),
                ("held", models.BigIntegerField()),
                ("spent", models.BigIntegerField()),
            ],
            options={"managed": False, "db_table": "runs_chunk"},
        ),
        migrations.RunSQL(
            f"DROP FUNCTION runs_draw(bigint[], bigint[]); DROP FUNCTION {_RESERVE_OF}; DROP FUNCTION {_BOOK_OF};"
            " DROP FUNCTION runs_give_back(bigint)",
            _before.DRAW + _before.RESERVE + _before.BOOK + _before.GIVE_BACK,
        ),
        *(
            migrations.RunSQL(sql, f"DROP FUNCTION {name}")
            for name, sql in (
                ("runs_draw", DRAW),
                ("runs_recalled", RECALLED),
                ("runs_left", LEFT),
                ("runs_reserve", RESERVE),
                ("runs_book", BOOK),
                ("runs_give_back", GIVE_BACK),
            )
        ),
    ]
