"""Advancing a run while this worker can: claim, perform, settle, again; side by side where the definition says so.

Enqueues nothing; returns why it stopped.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait

from django.db import connection

from runs.engine.claim import claim
from runs.engine.claimed import Claimed, Next, Nothing
from runs.engine.perform import perform
from runs.engine.settle import settle
from runs.engine.worker.flights import Flight
from runs.engine.worker.runtime import Runtime, current

_log = logging.getLogger("opsconsole.advance")
Airborne = tuple[Claimed, Flight]


def advance(run_id: int, runtime: Runtime | None = None, *, answered: bool = False) -> Nothing:
    """Look at one run and advance it until it waits, sleeps, is held, is done, or somebody else has it.

    `answered`: it has just been answered by a person, so that it is not looked at first as one that never began.
    """
    return _Crew(runtime or current(), run_id).advance(answered=answered)


class _Crew:
    """One thread's turn at a run, with others beside it where several steps may be performed at once."""

    def __init__(self, runtime: Runtime, run_id: int) -> None:
        self._runtime = runtime
        self._run_id = run_id
        self._last = Nothing(why="")
        self._going: set[Future[list[Airborne]]] = set()

    def advance(self, *, answered: bool) -> Nothing:
        with self._runtime.looking():
            claims = claim(self._run_id, worker=self._runtime.name, answered=answered)
            if isinstance(claims, Nothing) and claims.why == "final":
                self._runtime.cut_run(self._run_id, "the run is final")
            todo = self._take_off(claims)
        while todo or self._going:
            alone = len(todo) == 1 and not self._going
            todo = self._perform(*todo[0]) if alone else self._beside(todo)
        return self._last

    def _beside(self, todo: Sequence[Airborne]) -> list[Airborne]:
        """Perform these beside what goes on already; what comes next of the first that is done."""
        pool = self._runtime.beside()
        self._going |= {pool.submit(self._in_thread, *one) for one in todo}
        connection.close()  # this thread only waits
        done, self._going = wait(self._going, return_when=FIRST_COMPLETED)
        return [one for future in done for one in future.result()]

    def _in_thread(self, claimed: Claimed, flight: Flight) -> list[Airborne]:
        try:
            return self._perform(claimed, flight)
        except Exception:
            _log.exception("step %s could not be settled", claimed.step.pk)
            self._runtime.tore(self._run_id, claimed.fence)
            return []
        finally:
            connection.close()

    def _perform(self, claimed: Claimed, flight: Flight) -> list[Airborne]:
        try:
            outcome = perform(claimed, flight)
        except BaseException:
            self._runtime.land(flight)
            raise
        with self._runtime.looking():
            self._runtime.land(flight)
            following = settle(claimed, outcome)
            if isinstance(following, Nothing) and following.why in ("final", "taken", "gone"):
                self._runtime.cut_run(self._run_id, f"the run is {following.why}", fence=claimed.fence)
            elif isinstance(following, Nothing) and following.why == "lost":
                self._runtime.tore(self._run_id, claimed.fence)
            return self._take_off(following)

    def _take_off(self, claims: Next) -> list[Airborne]:
        if isinstance(claims, Nothing):
            self._last = claims
            return []
        return [(claimed, self._fly(claimed)) for claimed in claims]

    def _fly(self, claimed: Claimed) -> Flight:
        return self._runtime.take_off(
            self._run_id, claimed.run.workflow, claimed.fence, claimed.left(), claimed.step.pk
        )
