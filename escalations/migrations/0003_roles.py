"""The three roles, as groups. What each may do is `escalations.roles.TABLE`, not Django's permissions."""

from typing import Any

from django.db import migrations

ROLES = ("operator", "admin", "auditor")


def create(apps: Any, schema_editor: Any) -> None:
    group = apps.get_model("auth", "Group")
    for name in ROLES:
        group.objects.using(schema_editor.connection.alias).get_or_create(name=name)


class Migration(migrations.Migration):
    dependencies = [
        ("escalations", "0002_journal_append_only"),
        ("auth", "0012_alter_user_first_name_max_length"),
    ]

    # Backwards the groups stay: people may be in them.
    operations = [migrations.RunPython(create, migrations.RunPython.noop)]
