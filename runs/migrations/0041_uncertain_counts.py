"""An account that is opened later reserves what calls under way and uncertain ones may still use: what they reserved of
the same kind elsewhere, or hold of their run's purse. It took them at nothing, and let others spend it again.

Of a call that reserved nothing of that kind nobody knows what it may use: it counts when it is booked. Locks nothing
that was not locked before.
"""

from importlib import import_module

from django.db import migrations

_lent = import_module("runs.migrations.0036_lent")

# What a call may still use of a kind, as far as it has reserved it anywhere.
MAY_USE = """
CREATE FUNCTION runs_may_use(c runs_call, p_kind text) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT greatest(
        (SELECT max((t.value ->> 1)::bigint) FROM jsonb_array_elements(c.reserved) t
            JOIN runs_account a ON a.id = (t.value ->> 0)::bigint WHERE a.kind = p_kind),
        (SELECT max(u.amount) FROM runs_purse p CROSS JOIN LATERAL unnest(c.drawn) WITH ORDINALITY AS u(amount, n)
            WHERE p.run_id = c.run_id AND p.kinds[u.n] = p_kind),
        0)
$$;
"""


def _changed(sql: str, *changes: tuple[str, str]) -> str:
    for before, after in changes:
        if sql.count(before) != 1:
            raise ValueError(f"Migration 0036 does not have this once: {before}")
        sql = sql.replace(before, after)
    return sql


OPEN = _changed(
    _lent.OPEN,
    (
        """\
    -- Calls under way and those that are uncertain reserve nothing here; what they used is booked in full when
    -- it is known.
    UPDATE runs_call c""",
        """\
    WITH changed AS (UPDATE runs_call c""",
    ),
    (
        "CASE p_kind WHEN 'concurrency' THEN 1 ELSE 0 END)",
        "CASE p_kind WHEN 'concurrency' THEN 1 ELSE runs_may_use(c, p_kind) END)",
    ),
    (
        """ > 0);
    GET DIAGNOSTICS counted = ROW_COUNT;
    IF NOT summed THEN UPDATE runs_account a SET reserved = counted WHERE a.id = made; END IF;
""",
        """ > 0)
        RETURNING (c.reserved -> -1 ->> 1)::bigint AS amount)
    SELECT coalesce(sum(changed.amount), 0) INTO counted FROM changed;
    UPDATE runs_account a SET reserved = counted WHERE a.id = made;
""",
    ),
)
OWN = _changed(
    _lent.OWN,
    ("    made bigint;\n", "    made bigint;\n    counted bigint;\n"),
    ("            UPDATE runs_call c", "            WITH changed AS (UPDATE runs_call c"),
    ("jsonb_build_array(made, 0)", "jsonb_build_array(made, runs_may_use(c, p_kind))"),
    (
        "AND runs_within(c, r, p_scope_kind, p_scope);\n",
        "AND runs_within(c, r, p_scope_kind, p_scope)\n"
        "                RETURNING (c.reserved -> -1 ->> 1)::bigint AS amount)\n"
        "            SELECT coalesce(sum(changed.amount), 0) INTO counted FROM changed;\n"
        "            UPDATE runs_account a SET reserved = counted WHERE a.id = made;\n",
    ),
)

_OPEN = "DROP FUNCTION runs_open(text, text, text, text, timestamptz, bigint, bigint, bigint[])"
_OWN = "DROP FUNCTION runs_own(text, text, text, bigint)"


class Migration(migrations.Migration):
    dependencies = [("runs", "0047_start")]

    operations = [
        migrations.RunSQL(MAY_USE, "DROP FUNCTION runs_may_use(runs_call, text)"),
        migrations.RunSQL(_OPEN, _lent.OPEN),
        migrations.RunSQL(OPEN, _OPEN),
        migrations.RunSQL(_OWN, _lent.OWN),
        migrations.RunSQL(OWN, _OWN),
    ]
