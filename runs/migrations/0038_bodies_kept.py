"""No foreign keys from steps to bodies: two lookups and two row locks a step, of rows that the same transaction has
stored. In their place nobody may take a body away: a trigger refuses it, which costs only who tries.
"""

import django.db.models.deletion
from django.db import migrations, models

KEPT = """
CREATE FUNCTION runs_body_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'body % is kept: steps refer to it by its digest', OLD.digest
        USING ERRCODE = 'restrict_violation', CONSTRAINT = 'body_kept', TABLE = TG_TABLE_NAME,
            SCHEMA = TG_TABLE_SCHEMA;
END $$;
CREATE TRIGGER runs_body_kept BEFORE DELETE OR UPDATE OF digest ON runs_body
    FOR EACH ROW EXECUTE FUNCTION runs_body_kept();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("runs", "0036_lent"),
    ]

    operations = [
        migrations.AlterField(
            model_name="step",
            name="input",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="runs.body",
            ),
        ),
        migrations.AlterField(
            model_name="step",
            name="output",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="runs.body",
            ),
        ),
        migrations.RunSQL(KEPT, "DROP TRIGGER runs_body_kept ON runs_body; DROP FUNCTION runs_body_kept()"),
    ]
