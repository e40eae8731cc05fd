#!/usr/bin/env python
"""Django's commands. Without DATABASE_URL they use the embedded servers, shared or started for this command."""

import os
import sys

# These need no server, or (`up`) see to the servers themselves.
_WITHOUT_SERVERS = {"", "help", "--help", "-h", "version", "--version", "check", "collectstatic", "up"}


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "opsconsole.settings")
    from opsconsole import environment

    try:
        if not environment.servers_given() and (sys.argv[1:] or [""])[0] not in _WITHOUT_SERVERS:
            from opsconsole.embedded import lease

            lease.hold(environment.data_dir())
    except environment.Refused as why:
        sys.exit(str(why))

    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
