"""The journal: one function appends, triggers refuse everything else. No extension is needed (core sha256()).

The advisory lock is taken inside the function, as its first statement: under READ COMMITTED the head is then
read with a snapshot that is younger than the wait. It is held to the end of the transaction, so `seq` is
gap-free and in commit order; that is why appending must be a transaction's last statement.
Session settings (`session_replication_role`, a disabled trigger) can switch triggers off for whoever owns the
table; what that person then changes is found by `escalations.audit.chain.verify`.
"""

from django.db import migrations

JOURNAL_LOCK = 7_050_202

HASH = """
CREATE FUNCTION journal_hash(prev_hash text, seq bigint, at timestamptz, body text) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT encode(sha256(convert_to(
        prev_hash || E'\\n' || seq || E'\\n'
        || to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || E'\\n' || body,
        'UTF8')), 'hex')
$$;
"""

APPEND = f"""
CREATE FUNCTION journal_append(
    act text, outcome text, actor_id bigint, actor_name text, target text, run_id bigint, escalation_id bigint,
    workflow text, team text, reason text, body text,
    OUT seq bigint, OUT at timestamptz, OUT hash text
) LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_variable
DECLARE
    head record;
BEGIN
    PERFORM pg_advisory_xact_lock({JOURNAL_LOCK});
    SELECT entry.seq, entry.hash INTO head
        FROM escalations_journalentry entry ORDER BY entry.seq DESC LIMIT 1;
    seq := coalesce(head.seq, 0) + 1;
    at := clock_timestamp();
    hash := journal_hash(coalesce(head.hash, repeat('0', 64)), seq, at, body);
    INSERT INTO escalations_journalentry (
        seq, at, act, outcome, actor_id, actor_name, target, run_id, escalation_id, workflow, team, reason, body,
        prev_hash, hash
    ) VALUES (
        seq, at, act, outcome, actor_id, actor_name, target, run_id, escalation_id, workflow, team, reason, body,
        coalesce(head.hash, repeat('0', 64)), hash
    );
END
$$;
"""

REFUSE = """
CREATE FUNCTION journal_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the journal is append-only: % is refused', TG_OP USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER journal_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON escalations_journalentry
    FOR EACH STATEMENT EXECUTE FUNCTION journal_refuse();
"""

CONTINUE = f"""
CREATE FUNCTION journal_continue() RETURNS trigger LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    head record;
BEGIN
    PERFORM pg_advisory_xact_lock({JOURNAL_LOCK});
    SELECT entry.seq, entry.hash INTO head
        FROM escalations_journalentry entry ORDER BY entry.seq DESC LIMIT 1;
    IF NEW.seq IS DISTINCT FROM coalesce(head.seq, 0) + 1
        OR NEW.prev_hash IS DISTINCT FROM coalesce(head.hash, repeat('0', 64))
        OR NEW.hash IS DISTINCT FROM journal_hash(NEW.prev_hash, NEW.seq, NEW.at, NEW.body)
    THEN
        RAISE EXCEPTION 'the journal is appended by journal_append() only: entry % does not continue the chain',
            NEW.seq USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER journal_continues BEFORE INSERT ON escalations_journalentry
    FOR EACH ROW EXECUTE FUNCTION journal_continue();
"""

UNDO = """
DROP TRIGGER journal_continues ON escalations_journalentry;
DROP TRIGGER journal_append_only ON escalations_journalentry;
DROP FUNCTION journal_continue();
DROP FUNCTION journal_refuse();
DROP FUNCTION journal_append(text, text, bigint, text, text, bigint, bigint, text, text, text, text);
DROP FUNCTION journal_hash(text, bigint, timestamptz, text);
"""


class Migration(migrations.Migration):
    dependencies = [("escalations", "0001_initial")]

    operations = [migrations.RunSQL(HASH + APPEND + REFUSE + CONTINUE, reverse_sql=UNDO)]
