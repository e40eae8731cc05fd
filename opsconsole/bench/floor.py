"""What the machine gives without us: one commit a step, nothing else. psycopg alone, no Django.

    python -m opsconsole.bench.floor STEPS THREADS

connects (BENCH_DATABASE), prints "ready", waits for a line, and prints how many milliseconds each step took. The rows
of the runs are made within the measured time, a commit each, or before it when BENCH_RUNS is "before".
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time

import psycopg

TABLES = """
    DROP TABLE IF EXISTS bench_floor_step, bench_floor_run;
    CREATE TABLE bench_floor_run (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, seq int NOT NULL DEFAULT 0, due_at timestamptz
    );
    CREATE TABLE bench_floor_step (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        run_id bigint NOT NULL REFERENCES bench_floor_run, seq int NOT NULL, output text NOT NULL, UNIQUE (run_id, seq)
    );
"""
STEP = """
    WITH moved AS (
        UPDATE bench_floor_run SET seq = seq + 1, due_at = clock_timestamp() WHERE id = %s RETURNING id, seq
    )
    INSERT INTO bench_floor_step (run_id, seq, output) SELECT id, seq, %s FROM moved
"""
STEPS_A_RUN = 10
OUTPUT = "x" * 300


def make_tables(url: str) -> None:
    """Fresh tables for the floor."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(TABLES)


def _made(conn: psycopg.Connection[tuple[int]]) -> int:
    row = conn.execute("INSERT INTO bench_floor_run DEFAULT VALUES RETURNING id").fetchone()
    assert row is not None
    return row[0]


def _steps(
    conn: psycopg.Connection[tuple[int]], runs: int, before: list[int] | None, took: list[float]
) -> None:
    for number in range(runs):
        run_id = _made(conn) if before is None else before[number]
        for _ in range(STEPS_A_RUN):
            began = time.perf_counter()
            conn.execute(STEP, [run_id, OUTPUT], prepare=True)
            took.append((time.perf_counter() - began) * 1000)


def main() -> None:
    runs, count = int(sys.argv[1]), int(sys.argv[2])
    url = os.environ["BENCH_DATABASE"]
    conns = [psycopg.connect(url, autocommit=True) for _ in range(count)]
    shares = [runs // count + (at < runs % count) for at in range(count)]
    made: list[list[int] | None] = [None] * count
    if os.environ.get("BENCH_RUNS") == "before":
        made = [[_made(conn) for _ in range(share)] for conn, share in zip(conns, shares, strict=True)]
    print("ready", flush=True)
    sys.stdin.readline()
    took: list[float] = []
    threads = [
        threading.Thread(target=_steps, args=(conn, share, before, took))
        for conn, share, before in zip(conns, shares, made, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps({"ended_ns": time.monotonic_ns(), "step_ms": took}), flush=True)


if __name__ == "__main__":
    main()
