"""`runs_begin` does nothing where it is not told a first node: the statement that reads a run calls it in the same
message, and what comes first in some definitions is not known beforehand. Older workers always tell it one.
"""

from django.db import migrations

_SIGNATURE = "runs_begin(bigint, bigint, text, interval, text, text)"


class Migration(migrations.Migration):
    dependencies = [("runs", "0045_intake")]

    operations = [
        migrations.RunSQL(
            f"ALTER FUNCTION {_SIGNATURE} STRICT", f"ALTER FUNCTION {_SIGNATURE} CALLED ON NULL INPUT"
        )
    ]
