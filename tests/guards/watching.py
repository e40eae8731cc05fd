"""What the guards say about made-up runs."""

from __future__ import annotations

import functools
import json
from typing import Any

from runs.guards.breakers import Breakers
from runs.guards.findings import Finding, Guard, Limits
from runs.guards.watch import judged
from runs.recorded import toolsets
from runs.recorded.toolsets import Toolsets
from runs.recorded.trace import read
from tests.guards.made import Steps, line

NOTHING_DECLARED = Toolsets()


def found(
    steps: Steps,
    guard: Guard | None = None,
    *,
    declared: dict[str, Any] | None = None,
    limits: Limits | None = None,
    breakers: Breakers | None = None,
    **more: Any,
) -> list[Finding]:
    """The findings over a run, of one guard or of all. `declared`: the toolsets; the run uses the first."""
    known = _parsed(json.dumps(declared)) if declared else NOTHING_DECLARED
    if declared:
        more["toolset"] = next(iter(declared))
    findings = judged(read(line(steps, **more)), known, limits, breakers)
    return [one for one in findings if guard in (None, one.guard)]


@functools.cache
def _parsed(declared: str) -> Toolsets:
    return toolsets.parse(json.loads(declared))


def steps_of(findings: list[Finding]) -> list[int]:
    return [one.step for one in findings]
