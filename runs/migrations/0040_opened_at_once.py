"""A run's own accounts are written once when they are opened; what they start with is summed up by a plan that stays.

One function asked for sums of a run and of a period by one condition; its plan was made anew at every sum.
"""

from importlib import import_module

from django.db import migrations

_guarded = import_module("runs.migrations.0021_guarded_calls")
_lent = import_module("runs.migrations.0036_lent")

SPENT = """
CREATE FUNCTION runs_spent(
    p_kind text, p_scope_kind text, p_scope text, p_run bigint, p_since timestamptz
) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF p_run <> 0 THEN
        RETURN coalesce((SELECT sum(runs_counts(c, p_kind, p_scope_kind))
            FROM runs_call c JOIN runs_run r ON r.id = c.run_id
            WHERE c.run_id = p_run AND runs_within(c, r, p_scope_kind, p_scope)), 0);
    END IF;
    RETURN coalesce((SELECT sum(runs_counts(c, p_kind, p_scope_kind))
        FROM runs_call c JOIN runs_run r ON r.id = c.run_id
        WHERE c.permitted_at >= p_since AND runs_within(c, r, p_scope_kind, p_scope)), 0);
END $$;
"""


def _changed(sql: str, *changes: tuple[str, str]) -> str:
    for before, after in changes:
        if sql.count(before) != 1:
            raise ValueError(f"Migration 0036 does not have this once: {before}")
        sql = sql.replace(before, after)
    return sql


RESERVE = _changed(
    _lent.RESERVE,
    ("    own boolean;\n", "    own boolean;\n    opened boolean;\n"),
    (
        "        own := p_windows[i] = 'run';\n",
        "        own := p_windows[i] = 'run';\n        opened := false;\n",
    ),
    (
        """\
            IF purse.tallied = 0 THEN  -- its first call: nothing is to be added up
                INSERT INTO runs_account AS a (kind, "window", scope_kind, scope, run_id, begins)
                    VALUES (p_kinds[i], 'run', p_scope_kinds[i], p_scopes[i], p_run, 'epoch')
                    RETURNING a.* INTO account;
            ELSE
""",
        """\
            opened := purse.tallied = 0 OR p_kinds[i] NOT IN ('cost', 'tokens');
            IF opened THEN  -- no earlier call has to learn that it counts here: written once, below
                account := NULL;
                account.id := nextval('runs_account_id_seq');
                account.spent := CASE WHEN purse.tallied = 0 THEN 0
                    ELSE runs_spent(p_kinds[i], p_scope_kinds[i], p_scopes[i], p_run, 'epoch') END;
                account.reserved := 0;
                account.noted := 0;
            ELSE
""",
    ),
    (
        """\
            UPDATE runs_account a SET spent = account.spent + CASE WHEN counts THEN need ELSE 0 END,
                    reserved = account.reserved + coalesce(more, 0) + CASE WHEN counts THEN 0 ELSE need END,
                    noted = account.noted, noted_at = account.noted_at
                WHERE a.id = account.id;
""",
        """\
            account.spent := account.spent + CASE WHEN counts THEN need ELSE 0 END;
            account.reserved := account.reserved + coalesce(more, 0) + CASE WHEN counts THEN 0 ELSE need END;
            IF opened THEN
                INSERT INTO runs_account (id, kind, "window", scope_kind, scope, run_id, begins, spent, reserved,
                        noted, noted_at)
                    VALUES (account.id, p_kinds[i], 'run', p_scope_kinds[i], p_scopes[i], p_run, 'epoch',
                        account.spent, account.reserved, account.noted, account.noted_at);
            ELSE
                UPDATE runs_account a SET spent = account.spent, reserved = account.reserved, noted = account.noted,
                        noted_at = account.noted_at
                    WHERE a.id = account.id;
            END IF;
""",
    ),
)

_SUMMED = "runs_spent(text, text, text, bigint, timestamptz)"
_RESERVED = (
    "runs_reserve(bigint, text, bigint, boolean, text[], text[], text[], text[], bigint[], bigint[], bigint[], jsonb, "
    "integer, integer)"
)


class Migration(migrations.Migration):
    dependencies = [("runs", "0039_question_limits")]

    operations = [
        migrations.RunSQL(f"DROP FUNCTION {_SUMMED}", _guarded.SPENT),
        migrations.RunSQL(SPENT, f"DROP FUNCTION {_SUMMED}"),
        migrations.RunSQL(f"DROP FUNCTION {_RESERVED}", _lent.RESERVE),
        migrations.RunSQL(RESERVE, f"DROP FUNCTION {_RESERVED}"),
    ]
