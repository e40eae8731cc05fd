"""What this process remembers of what its runs have read, so that a step asks only for what is new. Decides nothing.

What was before a step does not change any more: what is remembered here is what would be read again. A run whose steps
go side by side is not remembered, since there a step that began before may be done later.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from threading import Lock

from runs.engine import sources
from runs.engine.claimed import Claimed
from runs.engine.sources import Upto
from runs.guards.taint import Taint

MOST_RUNS = 64  # remembered at once; a process performs fewer
MOST_VALUES = 5_000  # of one run; what has read more is read again
MOST_CHARACTERS = 200_000


@dataclass(slots=True, kw_only=True)
class _Memory:
    """What was told, how far, and under which fence: as long as that holds, nobody else performs the run."""

    upto: Upto
    taint: Taint
    fence: int


_lock = Lock()
_memories: OrderedDict[int, dict[tuple[object, ...], _Memory]] = OrderedDict()  # by run


def provenance(claimed: Claimed, prompts: tuple[str, ...]) -> Taint:
    """The guard over where values come from, told of everything before this step. One query, seldom two; none when
    this process has performed the step before it as well."""
    if claimed.workflow.width > 1:
        return _read(claimed, prompts)[0]
    key = (claimed.workflow.name, claimed.workflow.version, prompts)
    with _lock:
        memory = _memories.get(claimed.run.pk, {}).pop(key, None)
    taint, upto = _gone_on(claimed, memory) or _read(claimed, prompts)
    if taint.origins.values > MOST_VALUES or taint.origins.characters > MOST_CHARACTERS:
        return taint
    with _lock:
        _memories.setdefault(claimed.run.pk, {})[key] = _Memory(upto=upto, taint=taint, fence=claimed.fence)
        _memories.move_to_end(claimed.run.pk)
        while len(_memories) > MOST_RUNS:
            _memories.popitem(last=False)
    return taint.copy()


def handed_on(claimed: Claimed, output: str, step_id: int) -> None:
    """A step is done here, and its run goes on at that step: what it has read is told at once."""
    with _lock:
        memories = list(_memories.get(claimed.run.pk, {}).values())
    answered = claimed.sent.tools if memories else None
    if answered is None:
        return
    for memory in memories:
        if (memory.upto.seq, memory.upto.step, memory.fence) == (
            claimed.step.seq,
            claimed.step.pk,
            claimed.fence,
        ):
            sources.tell_done(claimed, memory.taint, output, answered)
            memory.upto = replace(memory.upto, seq=claimed.step.seq + 1, step=step_id)


def _gone_on(claimed: Claimed, memory: _Memory | None) -> tuple[Taint, Upto] | None:
    """What is remembered, told of what came since. None when it is of no use."""
    if memory is None or memory.upto.seq > claimed.step.seq or memory.upto.step > claimed.step.pk:
        return None
    if (memory.fence, memory.upto.step) == (claimed.fence, claimed.step.pk):
        return memory.taint, memory.upto
    upto = sources.tell(claimed, memory.taint, memory.upto)
    return (memory.taint, upto) if upto else None


def _read(claimed: Claimed, prompts: tuple[str, ...]) -> tuple[Taint, Upto]:
    taint = Taint()
    for prompt in prompts:
        taint.told(prompt)
    upto = sources.tell(claimed, taint)
    assert upto is not None
    return taint, upto
