"""Somebody acts once, in a process of its own, which may be hurt between the commit and the answer.

    python -m tests.faults.acting start USERNAME WORKFLOW KEY
    python -m tests.faults.acting approve USERNAME ESCALATION
    python -m tests.faults.acting drop FOLDER
    python -m tests.faults.acting pause USERNAME RUN
    python -m tests.faults.acting release USERNAME CONTROL

Says `returned` when the act has come back: from then on it was acknowledged.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main(what: str, *given: str) -> None:
    match what:
        case "start":
            _start(*given)
        case "approve":
            _approve(*given)
        case "drop":
            _drop(*given)
        case "pause":
            _pause(*given)
        case "release":
            _release(*given)
    os.write(1, b"returned\n")


def _start(username: str, workflow: str, key: str) -> None:
    from django.contrib.auth.models import User

    from escalations import starts

    actor = User.objects.get(username=username)
    starts.start_run(actor=actor, workflow=workflow, raw_input={"effects": 1}, start_key=key)


def _approve(username: str, number: str) -> None:
    from django.contrib.auth.models import User

    from escalations import decisions
    from escalations.models import Escalation

    one = Escalation.objects.get(pk=int(number))
    actor = User.objects.get(username=username)
    decisions.approve(actor=actor, escalation_id=one.pk, version=one.version, digest=one.digest)


def _drop(folder: str) -> None:
    from django.conf import settings

    from runs.dropped import SETTLE_SECONDS
    from runs.engine.triggers import folders

    path = Path(folder)
    settings.WATCHED_FOLDERS = {"fault_plain/dropped": path}
    newest = max((one.stat().st_ctime for one in path.iterdir() if one.is_file()), default=0.0)
    folders.look(newest + 2 * SETTLE_SECONDS)


def _pause(username: str, run: str) -> None:
    from django.contrib.auth.models import User

    from escalations import controls

    actor = User.objects.get(username=username)
    controls.engage(actor=actor, kind="pause", scope_kind="run", scope=run)


def _release(username: str, control: str) -> None:
    from django.contrib.auth.models import User

    from escalations import controls

    controls.release(actor=User.objects.get(username=username), control_id=int(control), reason="seen")


if __name__ == "__main__":
    main(*sys.argv[1:])
