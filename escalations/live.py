"""What the screens are told about the journal, and what they may ask for again. Writes nothing.

A message is only a hint (law L8): a screen that misses some asks for everything after the last number it saw.
"""

from __future__ import annotations

from typing import Any

from escalations.models import JournalEntry
from runs.live import announce

GROUP = "journal"
REPLAY_LIMIT = 500

Message = dict[str, Any]


def message(
    *,
    seq: int,
    act: str,
    outcome: str,
    target: str,
    run_id: int | None,
    escalation_id: int | None,
    actor_name: str,
    **_: Any,
) -> Message:
    """One entry as the screens hear of it. The rest they fetch by number."""
    return {
        "type": "journal",
        "seq": seq,
        "act": act,
        "outcome": outcome,
        "target": target,
        "run": run_id,
        "escalation": escalation_id,
        "who": actor_name,
    }


def tell(entry: Message) -> None:
    """Announce an entry that has been committed. Never blocks and never raises, Valkey or no Valkey."""
    announce(GROUP, entry)


def head() -> int:
    """The number of the newest entry; 0 when there is none. One index look-up."""
    newest = JournalEntry.objects.order_by("-seq").values_list("seq", flat=True).first()
    return newest or 0


def after(seq: int, limit: int = REPLAY_LIMIT) -> list[Message]:
    """The entries after `seq`, oldest first, at most `limit`."""
    columns = ("seq", "act", "outcome", "target", "run_id", "escalation_id", "actor_name")
    newer = JournalEntry.objects.filter(seq__gt=seq).order_by("seq").values(*columns)
    return [message(**row) for row in newer[:limit]]
