"""The Celery edge of the people's side. A tick that is lost or doubled is harmless."""

from __future__ import annotations

from celery import shared_task

from escalations import limits
from escalations.audit import refused


@shared_task(name="escalations.settle_refused", ignore_result=True)
def settle_refused() -> None:
    """Every 10 s by beat: write how many identical refusals followed the ones in the journal, and close proposals
    of limits that nobody agreed to in time."""
    refused.settle()
    limits.expire()
