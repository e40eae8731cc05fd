"""The Celery edge of the people's side. A tick that is lost or doubled is harmless."""

from __future__ import annotations

from celery import shared_task

from escalations import limits, rehearsals, topups
from escalations.audit import refused


@shared_task(name="escalations.settle_refused", ignore_result=True)
def settle_refused() -> None:
    """Every 10 s by beat: write how many identical refusals followed the ones in the journal, close proposals of limits
    and top-ups that nobody agreed to in time, and hint at rehearsals that nobody does."""
    refused.settle()
    limits.expire()
    topups.expire()
    for number in rehearsals.overlooked():
        rehearse.apply_async(args=(number,), queue="ordinary", retry=False)


@shared_task(name=rehearsals.TASK, ignore_result=True)
def rehearse(number: int) -> None:
    """A rehearsal that took too long for whoever asked for it to wait."""
    rehearsals.perform(number)
