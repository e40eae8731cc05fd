#!/usr/bin/env python
"""Django's commands. Without DATABASE_URL they use the embedded servers, shared or started for this command."""

import os
import sys

if sys.version_info < (3, 11):  # noqa: UP036  (the sentence is for whoever runs an older one)
    sys.exit("opsconsole needs Python 3.11 or newer; this is {}.{}.".format(*sys.version_info[:2]))

_NEED_NO_SERVER = {
    "",
    "help",
    "--help",
    "-h",
    "version",
    "--version",
    "check",
    "collectstatic",
    "guard_report",
}
_STARTS_THEM_ITSELF = {"check_workflow"}  # it refuses at once what can be refused without them


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "opsconsole.settings")
    command = (sys.argv[1:] or [""])[0]
    if command == "up":  # supervises; loads no Django itself
        from opsconsole.supervisor import up

        sys.exit(up.main())
    if command == "bench":  # has processes and servers of its own, on a directory of its own
        from opsconsole.bench import command as bench

        sys.exit(bench.main(sys.argv[2:]))

    from opsconsole import environment

    try:
        if command not in _NEED_NO_SERVER | _STARTS_THEM_ITSELF and not environment.servers_given():
            from opsconsole.embedded import lease

            lease.hold(environment.data_dir())
    except environment.Refused as why:
        sys.exit(str(why))

    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
