"""Who may try to sign in now, and what of it is on record. Checks no password.

Wrong passwords are counted for a name and an address together, in Valkey: without it nobody is made to wait, because
nobody shall be kept out by a cache. Names from many addresses, and many names from one, are not counted together.
"""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from redis.exceptions import RedisError

from escalations.audit.record import Subject, append
from runs.canonical import digest

FREE = 5  # wrong passwords before anybody waits
FIRST_WAIT = 60  # seconds; twice as long after each further wrong one
LONGEST_WAIT = 15 * 60
REMEMBERED = 60 * 60  # seconds after the last wrong one
SIGNED_IN, SIGNED_OUT, PAUSED = "sign in", "sign out", "sign in paused"
_log = logging.getLogger("opsconsole.sign_ins")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """Somebody who says that they are `name`, at `address`. Capital and small letters of a name count as one."""

    name: str
    address: str

    @property
    def key(self) -> str:
        return digest({"name": self.name.strip().casefold(), "address": self.address})

    def wait(self) -> int:
        """Seconds until it may be tried again; 0 is now."""
        try:
            until = _kept().get(f"until:{self.key}") or 0.0
        except RedisError as error:
            return _unkept(error)
        return max(0, math.ceil(until - time.time()))

    def failed(self) -> int:
        """Count a wrong password; the seconds until the next try, 0 while there are free ones."""
        kept, count = _kept(), f"count:{self.key}"
        try:
            kept.add(count, 0, REMEMBERED)
            number = int(kept.incr(count))
            kept.touch(count, REMEMBERED)
            if number < FREE:
                return 0
            wait: int = min(FIRST_WAIT * 2 ** min(number - FREE, 10), LONGEST_WAIT)
            kept.set(f"until:{self.key}", time.time() + wait, wait)
        except (
            RedisError,
            ValueError,
        ) as error:  # ValueError: the count was forgotten between two statements
            return _unkept(error)
        return wait

    def succeeded(self) -> None:
        """Forget what was wrong before."""
        try:
            _kept().delete_many([f"count:{self.key}", f"until:{self.key}"])
        except RedisError as error:
            _unkept(error)


def note(act: str, person: User, address: str) -> None:
    """On record, as the last statement of the transaction."""
    append(actor=person, act=act, subject=_about(person), details={"address": address})


def note_pause(attempt: Attempt, wait: int) -> None:
    """On record when it is somebody's name; names that nobody has are nobody's business and could be any text."""
    person = User.objects.filter(username__iexact=attempt.name.strip()).first()
    if person is None:
        return
    reason = f"{FREE} or more wrong passwords"
    details = {"address": attempt.address, "wait_seconds": wait}
    append(actor=None, act=PAUSED, subject=_about(person), reason=reason, details=details)


def _about(person: User) -> Subject:
    return Subject(target=f"account {person.username}")


def _kept() -> BaseCache:
    return caches["sign-ins"]


def _unkept(error: Exception) -> int:
    _log.warning("wrong passwords are not counted: %s", error)
    return 0
