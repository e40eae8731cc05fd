"""How often a fault is repeated: a few times in `make test`, the full count in `make soak`. Measures nothing."""

from __future__ import annotations

import os

SOAK = "OPSCONSOLE_TESTS_SOAK"  # set by `pytest --soak` before any test is loaded


def soaking() -> bool:
    """Whether this is a soak."""
    return os.environ.get(SOAK) == "1"


def of(*, fast: int, soak: int, name: str = "") -> int:
    """The count for this session. With a name, SOAK_NAME in the environment replaces the soak's count."""
    if not soaking():
        return fast
    return int(os.environ.get(f"SOAK_{name.upper()}") or soak) if name else soak
