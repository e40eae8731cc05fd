"""What a test has measured: one line a row at the end of the session, in `make soak` a file. Asserts nothing; what a
test may assert of a figure is `room`."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from opsconsole.environment import REPOSITORY
from tests.faults import counts

_rows: list[dict[str, Any]] = []


def tell(row: str, *, target: str, measured: str, n: int, **detail: Any) -> None:
    """Keep one figure: which fault, what it should be, what it was, out of how many."""
    load = round(os.getloadavg()[0], 1)
    _rows.append({"row": row, "target": target, "measured": measured, "n": n, "load1": load, **detail})


def rows() -> str:
    """The rows for another process."""
    return json.dumps(_rows)


def take(given: str) -> None:
    """Rows that another process has measured; of one that was killed there are none."""
    _rows.extend(json.loads(given or "[]"))


def lines() -> list[str]:
    """The rows for people."""
    return [
        f"{one['row']} | target {one['target']} | {one['measured']} | n={one['n']} | load {one['load1']}"
        for one in _rows
    ]


def keep(folder: Path) -> Path | None:
    """Write the rows of a soak to a file of their own, with what was tried; None when there is nothing to write."""
    if not counts.soaking() or not _rows:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{time.strftime('%Y-%m-%d-%H%M%S', time.gmtime())}.json"
    file.write_text(json.dumps({"commit": _commit(), "command": sys.argv, "rows": _rows}, indent=1) + "\n")
    return file


def _commit() -> str:
    """With a + where something is not committed; empty where this is no checkout."""
    told = subprocess.run(
        ["git", "describe", "--always", "--abbrev=12", "--dirty=+"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    return told.stdout.strip()


def at(share: float, values: Sequence[float]) -> float:
    """The value that this share of them does not exceed (nearest rank). Raises ValueError without any."""
    if not values:
        raise ValueError("nothing was measured")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def room(seconds: float) -> float:
    """What a test holds of a figure: itself in a soak; four times as much in `make test`, whose cores are shared with
    other tests, coverage and whoever else is there, and where what it really was is only told."""
    return seconds if counts.soaking() else 4 * seconds


def spread(values: Sequence[float], unit: str = "s") -> str:
    """p50, p95 and max in a few words."""
    return f"p50 {at(0.5, values):.1f}, p95 {at(0.95, values):.1f}, max {max(values):.1f} {unit}"
