"""Who may do what: one table. Decides nothing else; which page a role may see is `opsconsole.access`.

Roles are Django groups. They are read from the database at every act, so that a role taken away counts at
once. A superuser counts as an admin, because the first person of a new installation is one.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from django.contrib.auth.models import AnonymousUser, User
from django.db import connection

from escalations.expected import NotAllowed

LONGEST_NAME = 150  # characters; first and last name together may have twice that


class Role(enum.StrEnum):
    OPERATOR = "operator"
    ADMIN = "admin"
    AUDITOR = "auditor"
    SYSTEM = "system"  # the command line of the machine itself; never a signed-in person


class Act(enum.StrEnum):
    """Every act a person can do, in the words of the journal."""

    READ = "read"
    EXPORT = "export"
    APPROVE = "approve"
    EDIT = "edit"
    REJECT = "reject"
    RESPOND = "respond"
    LOOK = "look again"  # at what may have happened
    MIGRATE = "migrate"  # a run to another version of its workflow
    CONFIRM = "confirm claims"  # that nothing shows
    DROP = "drop claims"
    TAKE = "take"
    GIVE_BACK = "release"  # a claim
    TAKE_OVER = "take over"  # what another person holds
    PAUSE = "engage pause"
    STOP = "engage stop"
    RELEASE_PAUSE = "release pause"
    RELEASE_STOP = "release stop"
    RESUME = "resume"
    START = "start run"
    SET_LIMIT = "set limit"
    CHANGE_LIMIT = "change limit"
    END_LIMIT = "end limit"
    PROPOSE_LIMIT = "propose limit"  # a change that a second admin must agree to
    AGREE_LIMIT = "agree to limit"
    DECLINE_LIMIT = "decline limit"
    REHEARSE_LIMIT = "rehearse limit"  # try a draft on runs that are over; changes nothing
    KEEP_TRACES = "keep traces"  # recorded runs from elsewhere, to rehearse over
    FORGET_TRACES = "forget traces"
    TOP_UP = "top up"  # allow more than a limit does, once: answers a card, or on an account
    PROPOSE_TOP_UP = "propose top up"  # one that a second person must agree to
    AGREE_TOP_UP = "agree to top up"
    DECLINE_TOP_UP = "decline top up"
    TOP_UP_BUDGET = "top up budget"  # without a card
    BOOK = "book uncertain spend"
    OPEN_BREAKER = "force breaker open"
    CLOSE_BREAKER = "force breaker closed"
    FREE_BREAKER = "let breaker decide"


_ALL = frozenset({Role.OPERATOR, Role.ADMIN, Role.AUDITOR})
_ACTING = frozenset({Role.OPERATOR, Role.ADMIN})

TABLE: dict[Act, frozenset[Role]] = {
    # Auditors read everything, change nothing, and take copies away.
    Act.READ: _ALL,
    Act.EXPORT: _ALL,
    Act.APPROVE: _ACTING,
    Act.EDIT: _ACTING,
    Act.REJECT: _ACTING,
    Act.RESPOND: _ACTING,
    Act.LOOK: _ACTING,
    Act.MIGRATE: _ACTING,
    Act.CONFIRM: _ACTING,
    Act.DROP: _ACTING,
    Act.TAKE: _ACTING,
    Act.GIVE_BACK: _ACTING,
    Act.TAKE_OVER: frozenset({Role.ADMIN}),
    # Reducing agency is for everybody on shift.
    Act.PAUSE: _ACTING,
    Act.STOP: _ACTING,
    # Increasing it is for them too, until the limits issue asks for a second look (its own permission for
    # "everything", fresh sign-in); every release needs a reason already.
    Act.RELEASE_PAUSE: _ACTING,
    Act.RELEASE_STOP: _ACTING,
    Act.RESUME: _ACTING,
    Act.START: _ACTING | {Role.SYSTEM},
    # Whether a change of a limit needs a reason or a second admin is `runs.limits.increasing`; the command line only
    # lowers.
    Act.SET_LIMIT: frozenset({Role.ADMIN, Role.SYSTEM}),
    Act.CHANGE_LIMIT: frozenset({Role.ADMIN, Role.SYSTEM}),
    Act.END_LIMIT: frozenset({Role.ADMIN}),
    Act.PROPOSE_LIMIT: frozenset({Role.ADMIN}),
    Act.AGREE_LIMIT: frozenset({Role.ADMIN}),
    Act.DECLINE_LIMIT: frozenset({Role.ADMIN}),
    Act.REHEARSE_LIMIT: frozenset({Role.ADMIN, Role.SYSTEM}),
    Act.KEEP_TRACES: frozenset({Role.ADMIN, Role.SYSTEM}),
    Act.FORGET_TRACES: frozenset({Role.ADMIN, Role.SYSTEM}),
    # What may be topped up alone is `escalations.topups`; whoever proposed more may take it back.
    Act.TOP_UP: _ACTING,
    Act.PROPOSE_TOP_UP: _ACTING,
    Act.AGREE_TOP_UP: frozenset({Role.ADMIN}),
    Act.DECLINE_TOP_UP: _ACTING,
    Act.TOP_UP_BUDGET: frozenset({Role.ADMIN}),
    Act.BOOK: frozenset({Role.ADMIN}),
    Act.OPEN_BREAKER: _ACTING,
    Act.CLOSE_BREAKER: _ACTING,
    Act.FREE_BREAKER: _ACTING,
}


# Before every act and for every page: the ORM took longer to write it than PostgreSQL to answer it.
_ROLES = "SELECT role FROM roles_of(%s) AS named(role)"


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """An actor without an account: the command line. `name` is what the journal shows."""

    name: str


Actor = User | AnonymousUser | System


def name_of(actor: Actor) -> str:
    """How an actor is called in sentences and in the journal, at most as long as their columns."""
    if isinstance(actor, System):
        return actor.name[:LONGEST_NAME]
    if not isinstance(actor, User):
        return "anonymous"
    return (actor.get_full_name() or actor.get_username())[:LONGEST_NAME]


def account_of(actor: Actor) -> User | None:
    return actor if isinstance(actor, User) else None


def roles_of(actor: Actor) -> frozenset[Role]:
    """The actor's roles as the database has them now; none for the deactivated and the anonymous. One query."""
    if isinstance(actor, System):
        return frozenset({Role.SYSTEM})
    if not isinstance(actor, User):
        return frozenset()
    with connection.cursor() as cursor:
        cursor.execute(_ROLES, [actor.pk])
        named = {role for (role,) in cursor.fetchall()}
    return frozenset(role for role in _ALL if role in named)


def allowed(actor: Actor, act: str) -> bool:
    """Whether the table allows it; for showing or leaving out a button. The act itself asks `require`."""
    return bool(roles_of(actor) & TABLE[Act(act)])


def require(actor: Actor, act: Act, what: str = "") -> None:
    """Raise NotAllowed unless the table allows it. `what` overrides the act's words in the sentence."""
    roles = roles_of(actor)
    if roles & TABLE[act]:
        return
    mine = " and ".join(sorted(roles)) or "no role"
    may = " or ".join(sorted(role for role in TABLE[act] if role is not Role.SYSTEM))
    raise NotAllowed(f"{name_of(actor)} ({mine}) may not {what or act}: it needs {may}.")
