"""Checks the record of a whole console, in a process of its own that uses the console's settings.

    python -m tests.faults.checked watch
    python -m tests.faults.checked check LOG...

The logs are those of `clients`: what was acknowledged to them must be on record. Prints what is wrong.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import django


def main(what: str, *logs: str) -> int:
    django.setup()
    from django.db import connection, transaction

    from tests.faults import history

    if what == "watch":
        _patiently(history.watch)
        return 0
    _tell(line for log in logs for line in Path(log).read_text().splitlines())
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")  # other runs may go on meanwhile
        wrong = list(history.faults())
    print("\n".join(wrong))
    return 1 if wrong else 0


def _patiently(change: Callable[[], None]) -> None:
    """Tables that are in use are locked one after another: somebody else may be in the way."""
    from django.db import OperationalError, transaction

    for _ in range(50):
        try:
            with transaction.atomic():
                change()
        except OperationalError:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError("somebody was always in the way")


def _tell(lines: Iterable[str]) -> None:
    """What the clients were told."""
    for line in lines:
        act = json.loads(line)
        if act["ok"]:
            _told(act["act"], act)


def _told(what: str, act: dict[str, Any]) -> None:
    from runs.models import Run
    from tests.faults import acknowledged

    match what:
        case "start":
            acknowledged.started(Run(pk=act["run"], start_key=act["key"]))
        case "engage":
            acknowledged.engaged(act["control"], act["kind"], act["scope_kind"], act["scope"])
        case "release":
            acknowledged.released(act["control"])
        case "resume":
            acknowledged.resumed(act["run"])
        case "take":
            acknowledged.taken(act["escalation"], act["by"])
        case _:
            acknowledged.answered(act["question"], what)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
