"""A process of its own that keeps four runs hot until its stdin closes: `python -m tests.escalations.hot_runs`.

Apart from the test's process, because eight busy threads would make a stop wait for the interpreter's lock and
the figure would say nothing about the engine.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runs.engine.worker.runtime import Runtime

THREADS = 4


def main() -> None:
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "opsconsole.settings")
    django.setup()
    from django.conf import settings

    from runs.engine.worker.runtime import Runtime

    settings.SIMULATED_SECONDS = 0.0
    over = threading.Event()
    failures: list[BaseException] = []

    def keep_hot(number: int) -> None:
        runtime = Runtime(f"hot-{os.getpid()}-{number}", "agents")
        try:
            while not over.is_set():
                one_run(runtime, over)
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=keep_hot, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    print("hot", flush=True)
    sys.stdin.read()
    over.set()
    for thread in threads:
        thread.join(60)
    sys.exit(len(failures))


def one_run(runtime: Runtime, over: threading.Event) -> None:
    """From its start to its end; while it is held, asks again and again, more often than any sweep would."""
    from runs.engine.advance import advance
    from runs.engine.starts import Held
    from tests import factories

    try:
        run = factories.started()
    except Held:
        over.wait(0.01)
        return
    while not over.is_set() and advance(run.pk, runtime).why != "final":
        over.wait(0.01)


if __name__ == "__main__":
    main()
