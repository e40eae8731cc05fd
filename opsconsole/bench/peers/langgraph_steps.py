"""LangGraph with PostgresSaver, durability "sync": graphs of ten no-op nodes, a connection and a graph a thread.

    python langgraph_steps.py RUNS THREADS        (BENCH_DATABASE; with SETUP=1 it only makes the tables)

prints "ready", waits for a line, prints how many milliseconds each step took: from the beginning of one node to that
of the next, between which the checkpoint is written. With ON_RECORD=1 the first checkpoint of every run, which holds
its input, is written before "ready", and the runs are gone on with from there.
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


def _slips(count: int) -> list[Slip]:
    return [
        {"number": number, "hop": 0, "mark": uuid.uuid4().hex, "filler": FILLER} for number in range(count)
    ]


def _of(slip: Slip) -> dict[str, Any]:
    return {"configurable": {"thread_id": slip["mark"]}}


def _put_on_record(graph: Any, slips: list[Slip]) -> None:
    for slip in slips:
        graph.update_state(_of(slip), slip, as_node=START)


def _runs(graph: Any, slips: list[Slip], took: list[float], *, on_record: bool) -> None:
    for slip in slips:
        _began.moments = []
        ended = graph.invoke(None if on_record else slip, _of(slip), durability="sync")
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
    _runs(graphs[0], _slips(1), [], on_record=False)  # the first loads code
    on_record = bool(os.environ.get("ON_RECORD"))
    shares = [_slips(runs // count + (at < runs % count)) for at in range(count)]
    if on_record:
        for graph, share in zip(graphs, shares, strict=True):
            _put_on_record(graph, share)
    print("ready", flush=True)
    sys.stdin.readline()
    took: list[float] = []
    threads = [
        threading.Thread(target=_runs, args=(graph, share, took), kwargs={"on_record": on_record})
        for graph, share in zip(graphs, shares, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps({"ended_ns": time.monotonic_ns(), "step_ms": took}), flush=True)


if __name__ == "__main__":
    main()
