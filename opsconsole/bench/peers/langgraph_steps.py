"""LangGraph with PostgresSaver, durability "sync": graphs of ten no-op nodes, a connection and a graph a thread.

    python langgraph_steps.py RUNS THREADS        (BENCH_DATABASE; with SETUP=1 it only makes the tables)

prints "ready", waits for a line, prints how many milliseconds each step took: from the beginning of one node to that
of the next, between which the checkpoint is written.
"""

import itertools
import json
import os
import sys
import threading
import time
import uuid
from typing import Any, TypedDict

from langgraph.checkpoint.postgres import PostgresSaver  # type: ignore[import-not-found, unused-ignore]
from langgraph.graph import END, START, StateGraph  # type: ignore[import-not-found, unused-ignore]
from psycopg import Connection
from psycopg.rows import dict_row

STEPS = 10
FILLER = "0123456789abcdef" * 15


class Slip(TypedDict):
    number: int
    hop: int
    mark: str
    filler: str


_began = threading.local()


def _hop(slip: Slip) -> dict[str, Any]:
    _began.moments.append(time.perf_counter())
    return {"number": slip["number"], "hop": slip["hop"] + 1, "mark": slip["mark"], "filler": FILLER}


def _connect() -> Any:
    return Connection.connect(
        os.environ["BENCH_DATABASE"], autocommit=True, prepare_threshold=0, row_factory=dict_row
    )


def _graph(conn: Any) -> Any:
    graph = StateGraph(Slip)
    names = [f"hop{number}" for number in range(1, STEPS + 1)]
    for name in names:
        graph.add_node(name, _hop)
    for before, after in zip([START, *names], [*names, END], strict=True):
        graph.add_edge(before, after)
    return graph.compile(checkpointer=PostgresSaver(conn))


def _runs(graph: Any, count: int, took: list[float]) -> None:
    for number in range(count):
        _began.moments = []
        mark = uuid.uuid4().hex
        config = {"configurable": {"thread_id": mark}}
        slip = {"number": number, "hop": 0, "mark": mark, "filler": FILLER}
        ended = graph.invoke(slip, config, durability="sync")
        if ended["hop"] != STEPS:
            raise ValueError(f"a run made {ended['hop']} steps")
        moments = _began.moments
        took += [(after - before) * 1000 for before, after in itertools.pairwise(moments)]


def main() -> None:
    if os.environ.get("SETUP"):
        with _connect() as conn:
            PostgresSaver(conn).setup()
        return
    runs, count = int(sys.argv[1]), int(sys.argv[2])
    graphs = [_graph(_connect()) for _ in range(count)]
    _runs(graphs[0], 1, [])  # the first loads code
    print("ready", flush=True)
    sys.stdin.readline()
    took: list[float] = []
    threads = [
        threading.Thread(target=_runs, args=(graph, runs // count + (at < runs % count), took))
        for at, graph in enumerate(graphs)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps({"ended_ns": time.monotonic_ns(), "step_ms": took}), flush=True)


if __name__ == "__main__":
    main()
