"""What one process of the console keeps in memory of its database, forgotten: a test begins as a process that has just
started. What is registered stays, and so do threads and connections.
"""

from __future__ import annotations


def everything() -> None:
    """As if nothing had been read, told or rehearsed here yet."""
    _of_limits()
    _of_runs()
    _of_workers()
    _of_people()


def _of_limits() -> None:
    from runs.engine import bounds, limits, overdue, shortened
    from runs.engine.spend import caps

    limits._book = bounds._recent = caps._found = None
    shortened._looked = shortened._settled = None
    overdue._told.clear()
    overdue._under_way.clear()


def _of_runs() -> None:
    from runs.engine import intake, remembered
    from runs.engine.spend import lent

    intake.forget()
    remembered._memories.clear()
    lent._lent.clear()


def _of_workers() -> None:
    from runs.engine import failpoints
    from runs.engine.triggers import turned_away
    from runs.engine.worker import heart

    heart._met.clear()
    heart._confirmed.clear()
    failpoints._passed.clear()
    turned_away.forget()


def _of_people() -> None:
    from escalations import imports
    from opsconsole.shipped.dependency_review import books as reviews
    from opsconsole.shipped.refund_desk import books as refunds

    imports._unpriced.clear()
    reviews._rehearsed_licences.clear()
    reviews._rehearsed_reports.clear()
    refunds._rehearsed.clear()
