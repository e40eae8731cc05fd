"""DBOS: workflows of ten no-op steps, called from as many threads as asked for.

    python dbos_steps.py RUNS THREADS        (BENCH_DATABASE; with SETUP=1 it only makes the tables)

prints "ready", waits for a line, prints how many milliseconds each step took: from the beginning of one step to that
of the next, between which the outcome is recorded.
"""

import itertools
import json
import os
import sys
import threading
import time
import uuid
from typing import Any

from dbos import DBOS, DBOSConfig  # type: ignore[import-not-found, unused-ignore]

STEPS = 10
FILLER = "0123456789abcdef" * 15

config: DBOSConfig = {
    "name": "bench",
    "system_database_url": os.environ["BENCH_DATABASE"],
    "sys_db_pool_size": 16,
    "log_level": "WARNING",
    "executor_id": f"bench-{os.getpid()}",
    "application_version": "bench",
}
DBOS(config=config)
_began: dict[str, list[float]] = {}


@DBOS.step()  # type: ignore[untyped-decorator, unused-ignore]
def hop(slip: dict[str, Any]) -> dict[str, Any]:
    _began[slip["mark"]].append(time.perf_counter())
    return {**slip, "hop": slip["hop"] + 1}


@DBOS.workflow()  # type: ignore[untyped-decorator, unused-ignore]
def chain(slip: dict[str, Any]) -> dict[str, Any]:
    for _ in range(STEPS):
        slip = hop(slip)
    return slip


def _runs(count: int, took: list[float]) -> None:
    for number in range(count):
        mark = uuid.uuid4().hex
        _began[mark] = []
        ended = chain({"number": number, "hop": 0, "mark": mark, "filler": FILLER})
        if ended["hop"] != STEPS:
            raise ValueError(f"a run made {ended['hop']} steps")
        moments = _began.pop(mark)
        took += [(after - before) * 1000 for before, after in itertools.pairwise(moments)]


def main() -> None:
    DBOS.launch()
    if os.environ.get("SETUP"):
        DBOS.destroy()
        return
    runs, count = int(sys.argv[1]), int(sys.argv[2])
    _runs(1, [])  # the first loads code
    print("ready", flush=True)
    sys.stdin.readline()
    took: list[float] = []
    threads = [
        threading.Thread(target=_runs, args=(runs // count + (at < runs % count), took))
        for at in range(count)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps({"ended_ns": time.monotonic_ns(), "step_ms": took}), flush=True)
    DBOS.destroy()


if __name__ == "__main__":
    main()
