"""What a guard found, as an event of the run: once a step, however often the attempt is replayed. Decides nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db import connection, transaction

from runs.canonical import cut
from runs.engine.record import announce_run, event, lock_run
from runs.limits.kinds import Mode
from runs.limits.rows import Row
from runs.models import Event

if TYPE_CHECKING:
    from runs.engine.claimed import Claimed  # which knows how runs end, and runs that end tell of themselves

GUARD = "guard"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One finding. `row` is the limit that it goes by, if there is one; `value` and its cap are whole numbers in the
    kind's unit. `about`: what tells it from another of the same words."""

    guard: str
    scope: str
    says: str
    mode: Mode = Mode.ENFORCE
    row: Row | None = None
    cap: int | None = None
    value: int | None = None
    about: str = ""

    @property
    def data(self) -> dict[str, Any]:
        row = self.row
        return {
            "guard": self.guard,
            "mode": self.mode.value,
            "scope": cut(self.scope)[:200],
            "limit": row.id if row else 0,
            "cap": row.value if row else self.cap,
            "value": self.value,
            "says": cut(self.says)[:600],
            **({"about": self.about} if self.about else {}),
        }


def because(row: Row) -> str:
    """Which limit it is, for the end of a sentence."""
    number = f"limit {row.id}" if row.id else row.origin
    return f"{row.what} of {row.scope_words}, {row.amount} ({number})"


def tell(claimed: Claimed, found: Found) -> None:
    """Append the event, unless this step has it already or somebody else holds the run by now."""
    data = found.data
    with transaction.atomic():
        run = lock_run(claimed.run.pk)
        if run is None or run.fence != claimed.fence or _is_told(claimed, data):
            return
        event(run, GUARD, step=claimed.step, **data)
        run.save(update_fields=["event_seq"])
        announce_run(run)
    connection.close()


def _is_told(claimed: Claimed, data: dict[str, Any]) -> bool:
    same = Event.objects.filter(run_id=claimed.run.pk, step_id=claimed.step.pk, kind=GUARD)
    keys = ("guard", "says", "about")
    return any(
        all(one.get(key) == data.get(key) for key in keys) for one in same.values_list("data", flat=True)
    )
