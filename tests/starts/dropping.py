"""Dropping files into a watched folder, and looking at it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from runs.dropped import SETTLE_SECONDS
from runs.engine.triggers import folders
from runs.starts_by import Folder

DROPPED = Folder(name="dropped")


def look() -> int:
    """What is there now, looked at when it has lain still for long enough."""
    return folders.look(time.time() + 2 * SETTLE_SECONDS)


def drop(folder: Path, file: str = "order.json", **order: Any) -> Path:
    path = folder / file
    path.write_text(json.dumps(order))
    return path


def why(folder: Path, file: str = "order.json") -> str:
    return (folder / "refused" / f"{file}.why.txt").read_text()
