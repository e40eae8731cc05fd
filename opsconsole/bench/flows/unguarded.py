"""The bench-only switch: calls of one workflow pass no guard of ours, in the same workers beside those that pass all.

Only a benchmark's processes have this app; no setting of the product turns guards off.
"""

from __future__ import annotations

from runs.engine import caps
from runs.engine.caps import Asks
from runs.engine.claimed import Claimed
from runs.engine.wanted import Wanted

WORKFLOW = "bench_unguarded"
_asks = caps.asks


def _asks_unless_unguarded(claimed: Claimed, wanted: Wanted) -> Asks:
    return Asks() if claimed.run.workflow == WORKFLOW else _asks(claimed, wanted)


def install() -> None:
    caps.asks = _asks_unless_unguarded
