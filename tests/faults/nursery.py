"""The process that the fault tests' workers are forked from. It has everything loaded, one thread, no connection.

So a worker is there in a third of a second, by the same way as the console's own (opsconsole/supervisor). One JSON
line in, one out: {"start": ...} forks, {"code": pid} says how a child ended (null while it lives, negative for a
signal). When its input ends, so does it, and its children with it.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import sys
from pathlib import Path
from typing import Any

from opsconsole.supervisor import children

_LIBRARIES = (
    "celery.bin.celery",
    "celery.bin.beat",
    "celery.bin.worker",
    "celery.worker.worker",
    "celery.concurrency.thread",
    "celery.beat",
    "kombu.transport.redis",
    "channels_redis.pubsub",
    "psycopg_pool",
)
_codes: dict[int, int] = {}


def _load() -> None:
    import django

    django.setup()
    for module in _LIBRARIES:
        importlib.import_module(module)
    importlib.import_module("opsconsole.celery").app.loader.import_default_modules()  # every task, too
    importlib.import_module("runs.registry").contents()
    importlib.import_module("django.core.checks").run_checks(tags=["workflows"])  # each worker does it again
    gc.freeze()


def _start(order: dict[str, Any]) -> int:
    """Fork one `celery ...`; `settings` replace those that this process has read already."""

    def run() -> None:
        from django.conf import settings

        for name, value in order["settings"].items():
            setattr(settings, name, value)
        if order.get("place"):
            from runs.engine.worker import heart

            heart._place = lambda: order["place"]  # as if on a machine of its own
        from tests.faults import under_way, unread

        unread.install()
        under_way.install()
        module = order.get("module", "celery")
        sys.argv = [module, *order["arguments"]]
        runpy.run_module(module, run_name="__main__", alter_sys=True)

    pid = children.fork(order["name"], Path(order["log"]), {**os.environ, **order["env"]}, (), run)
    _codes.pop(pid, None)  # in a soak the numbers come round: another child of this number has ended long ago
    return pid


def _code(pid: int) -> int | None:
    if pid not in _codes:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found == 0:
            return None
        _codes[pid] = os.waitstatus_to_exitcode(status)
    return _codes[pid]


def main() -> None:
    _load()
    print(json.dumps("loaded"), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        answer = _start(order["start"]) if "start" in order else _code(order["code"])
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
