"""What PostgreSQL's log and a sampler's stacks add up to."""

from __future__ import annotations

from opsconsole.bench import spent

LOG = """\
2026-01-01 10:00:00.000 UTC [11] LOG:  duration: 0.500 ms  statement: SELECT "a"."id" FROM "a" WHERE "a"."id" = 7
2026-01-01 10:00:00.001 UTC [11] LOG:  duration: 2.000 ms  statement: UPDATE "a" SET "text" = 'it''s 5
\tlines' WHERE "a"."id" IN (1, 2, 3)
2026-01-01 10:00:00.002 UTC [12] LOG:  duration: 1.000 ms  execute x: SELECT "a"."id" FROM "a" WHERE "a"."id" = 8
2026-01-01 10:00:00.003 UTC [12] LOG:  received SIGHUP, reloading configuration files
"""


def test_equal_kinds_of_statements_are_counted_together_the_costliest_first() -> None:
    update, select = spent.statements(LOG.splitlines(keepends=True))
    assert update.text == 'UPDATE "a" SET "text" = ? WHERE "a"."id" IN (…)'
    assert (update.times, update.ms) == (1, 2.0)
    assert select.text == 'SELECT "a"."id" FROM "a" WHERE "a"."id" = ?'
    assert (select.times, select.ms) == (2, 1.5)
    assert select.example.strip().endswith("8")


def test_names_with_digits_and_placeholders_stay_apart() -> None:
    assert spent.normal("SELECT col2 FROM t1 WHERE x = -3.5 AND y = $1") == (
        "SELECT col2 FROM t1 WHERE x = ? AND y = $1"
    )


def test_a_function_counts_once_a_stack_however_deep_it_calls_itself() -> None:
    stacks = ["main (a.py:1);again (a.py:2);again (a.py:9) 3", "main (a.py:1);other (b.py:7) 2", "nonsense"]
    on_top, anywhere = spent.by_function(stacks)
    assert on_top == {"again (a.py)": 3, "other (b.py)": 2}
    assert anywhere == {"main (a.py)": 5, "again (a.py)": 3, "other (b.py)": 2}
