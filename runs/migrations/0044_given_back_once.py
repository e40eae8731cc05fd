"""Two who give back at the same moment: the purse that one of them has closed since the other looked is passed over.

Whoever looks for idle runs reads purses as they were when it began, and locks the runs one after another. A purse may
be gone by then, and the loop over its places failed with 22004, which gave back nothing of the others either.
"""

from importlib import import_module

from django.db import migrations

_lent = import_module("runs.migrations.0036_lent")

_READ_OFF = "purse := runs_tallied(one, 0, clock_timestamp());\n"
BEFORE = _lent.GIVE_BACK.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")
GIVE_BACK = BEFORE.replace(_READ_OFF, f"{_READ_OFF}        CONTINUE WHEN purse.run_id IS NULL;\n")


class Migration(migrations.Migration):
    dependencies = [("runs", "0043_rehearsed_policies")]

    operations = [migrations.RunSQL(GIVE_BACK, BEFORE)]
