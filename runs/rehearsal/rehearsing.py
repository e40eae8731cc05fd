"""A rehearsal: a draft over histories, run by run, in one pass. Pure; whoever reads histories feeds it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from runs.rehearsal.comparing import Difference, compared
from runs.rehearsal.drafts import Draft
from runs.rehearsal.history import PastRun
from runs.rehearsal.streams import Both, Made, Streams, over_runs, placed
from runs.rehearsal.totals import Totals


class Rehearsal:
    """`totals` grow with every run that is looked at. Of what counts over many runs, `feed` gets every call first."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.totals = Totals()
        self._streams = Streams(draft)

    @property
    def needs_stream(self) -> bool:
        """Whether the draft counts over many runs, so that `feed` must come first."""
        return over_runs(self.draft)

    def feed(self, calls: Iterable[Made]) -> None:
        """Every call of every run in order of beginnings, also those of runs that are not looked at."""
        for made in calls:
            self._streams.feed(made)

    def look(self, run: PastRun) -> Difference | None:
        """What the draft would have done to a run; None when nothing."""
        self.totals.look(run, self.draft)
        found = compared(run, self.draft, self._streamed(run) if self.needs_stream else None)
        if found is not None:
            self.totals.differs(found, self.draft)
        return found

    def _streamed(self, run: PastRun) -> Both:
        found = self._streams.found.get(run.key)
        return placed(found, run) if found else Both()


def rehearsed(draft: Draft, runs: Iterable[PastRun]) -> tuple[list[Difference], Totals]:
    """Everything at once, of runs that fit into memory."""
    kept = list(runs)
    rehearsal = Rehearsal(draft)
    rehearsal.feed(made(kept))
    return [one for one in map(rehearsal.look, kept) if one is not None], rehearsal.totals


def made(runs: Iterable[PastRun]) -> Iterator[Made]:
    """Their calls in order of beginnings, as streams take them; those without a moment are left out."""
    calls = [
        (call.begun, run.key, place, run, call)
        for run in runs
        if run.timed
        for place, call in enumerate(run.calls)
        if call.begun is not None
    ]
    calls.sort(key=lambda one: one[:3])
    for _, key, _, run, call in calls:
        yield Made(key=key, where=run.where(call), call=call)
