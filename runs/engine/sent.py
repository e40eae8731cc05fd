"""Which calls of a step were sent before, by key: looked up once an attempt. Says nothing of how they ended."""

from __future__ import annotations

from django.db import connection

_KEYS = "SELECT key, replayable FROM runs_call WHERE step_id = %s"


class Sent:
    """Only the attempt that holds the lease may send for its step, so a key that was not there at its beginning and
    that it has not used is not there: of such a call nobody need ask the database."""

    __slots__ = ("_keys", "_replayable")

    def __init__(self) -> None:
        self._keys: set[str] | None = None
        self._replayable: set[str] = set()

    def may_have(self, step_id: int, key: str) -> bool:
        """Whether there may be a record that can be replayed."""
        self._known(step_id)
        return key in self._replayable

    def was_sent(self, step_id: int, key: str) -> bool:
        """Whether such a call was permitted before, whatever came of it."""
        return key in self._known(step_id)

    def _known(self, step_id: int) -> set[str]:
        if self._keys is None:
            with connection.cursor() as cursor:
                cursor.execute(_KEYS, [step_id])
                found = cursor.fetchall()
            self._keys = {key for key, _ in found}
            self._replayable |= {key for key, replayable in found if replayable}
        return self._keys

    def uses(self, key: str) -> None:
        if self._keys is not None:
            self._keys.add(key)
            self._replayable.add(key)
