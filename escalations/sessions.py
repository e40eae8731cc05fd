"""Which open sockets still belong to somebody signed in. Reads only.

A socket is checked against the database, not against what was true when it was opened: signing out,
being deactivated, changing the password or losing every role ends it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from escalations.roles import TABLE, Act, Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """Who opened a socket, and with which session."""

    session_key: str
    user_id: int


def valid(seats: Iterable[Seat]) -> dict[Seat, frozenset[Role]]:
    """The seats that still count, with their roles as they are now. Three queries, however many there are."""
    wanted = frozenset(seats)
    if not wanted:
        return {}
    opened = _sessions({seat.session_key for seat in wanted})
    people = _people({seat.user_id for seat in wanted})
    return {
        seat: _roles(people[seat.user_id])
        for seat in wanted
        if _counts(opened.get(seat.session_key), people.get(seat.user_id), seat)
    }


def _sessions(keys: set[str]) -> dict[str, Mapping[str, Any]]:
    store = import_module(settings.SESSION_ENGINE).SessionStore
    rows = store.get_model_class().objects.filter(session_key__in=keys, expire_date__gt=timezone.now())
    return {row.session_key: row.get_decoded() for row in rows}


def _people(ids: set[int]) -> dict[int, User]:
    people = User.objects.filter(pk__in=ids, is_active=True).prefetch_related("groups")
    return {person.pk: person for person in people if _roles(person)}


def _roles(person: User) -> frozenset[Role]:
    """As `roles.roles_of` has them; the groups have been read."""
    named = {group.name for group in person.groups.all()}
    if person.is_superuser:
        named.add(Role.ADMIN)
    return frozenset(role for role in TABLE[Act.READ] if role in named)


def _counts(session: Mapping[str, Any] | None, person: User | None, seat: Seat) -> bool:
    if session is None or person is None or str(session.get(SESSION_KEY)) != str(seat.user_id):
        return False
    known = str(session.get(HASH_SESSION_KEY, ""))
    hashes = [person.get_session_auth_hash(), *person.get_session_auth_fallback_hash()]
    return any(constant_time_compare(known, one) for one in hashes)
