"""What the lines of a file say about how well their runs went. Read apart from the runs, and only where somebody asks
for it: no guard, no replay and no screen of a run gets to see it. No database.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path

_PACKED = b"\x1f\x8b"


def outcomes(path: Path) -> dict[str, bool]:
    """By run_id whether it succeeded; runs that do not say so are not in it. Raises OSError; bad lines say nothing."""
    with path.open("rb") as file:
        packed = file.peek(2).startswith(_PACKED)
    found: dict[str, bool] = {}
    with gzip.open(path, "rb") if packed else path.open("rb") as file:
        for row in file:
            run_id, success = _said(row)
            if isinstance(run_id, str) and isinstance(success, bool):
                found.setdefault(run_id, success)
    return found


def _said(row: bytes) -> tuple[object, object]:
    try:
        line = json.loads(row)
    except (ValueError, RecursionError):
        return None, None
    outcome = line.get("outcome") if isinstance(line, dict) else None
    return (
        (line["run_id"], outcome.get("success"))
        if isinstance(outcome, dict) and "run_id" in line
        else (None, None)
    )
