"""Which calls of a step were sent before, by key: looked up once an attempt. Says nothing of how they ended."""

from __future__ import annotations

from django.db import connection

_KEYS = "SELECT key FROM runs_call WHERE step_id = %s AND replayable"


class Sent:
    """Only the attempt that holds the lease may send for its step, so a key that was not there at its beginning and
    that it has not used is not there: of such a call nobody need ask the database."""

    __slots__ = ("_keys",)

    def __init__(self) -> None:
        self._keys: set[str] | None = None

    def may_have(self, step_id: int, key: str) -> bool:
        if self._keys is None:
            with connection.cursor() as cursor:
                cursor.execute(_KEYS, [step_id])
                self._keys = {key for (key,) in cursor.fetchall()}
        return key in self._keys

    def uses(self, key: str) -> None:
        if self._keys is not None:
            self._keys.add(key)
