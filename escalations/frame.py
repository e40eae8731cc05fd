"""What stands on every page: places with counts, the banner of what is held, who is signed in. Reads only.

It costs nothing until a template asks: each value is read when it is first used.
"""

from __future__ import annotations

from functools import cached_property

from django.contrib.auth.models import AnonymousUser, User

from escalations import headlines, holding
from escalations.headlines import Headlines
from escalations.holding import Held
from escalations.roles import TABLE as ACTS
from escalations.roles import Act, Role, name_of, roles_of
from runs.models import Control, ControlKind

PLACES = ("inbox", "runs", "workflows", "controls", "limits", "budgets", "breakers", "interventions")


class Frame:
    """Read by base.html and the fragments of it."""

    def __init__(self, user: User | AnonymousUser, roles: frozenset[Role] | None = None) -> None:
        self.user = user
        self._roles = roles
        self._held: dict[int, Held] = {}

    def seen_by(self, roles: frozenset[Role]) -> Frame:
        """The same, read already, for somebody with other roles."""
        made = Frame(self.user, roles)
        made._headlines, made._held = self._headlines, self._held
        return made

    @cached_property
    def roles(self) -> frozenset[Role]:
        """As the middleware has just read them, or read now."""
        return roles_of(self.user) if self._roles is None else self._roles

    @cached_property
    def may(self) -> frozenset[Act]:
        """The acts this person may do: for showing or leaving out buttons. The acts ask again."""
        return frozenset(act for act, may in ACTS.items() if self.roles & may)

    @property
    def role(self) -> str:
        return " and ".join(sorted(self.roles)) or "no role"

    @property
    def name(self) -> str:
        return name_of(self.user)

    @property
    def initials(self) -> str:
        return initials(self.name)

    @cached_property
    def _headlines(self) -> Headlines:
        return headlines.now()

    @property
    def waiting(self) -> int:
        """How many escalations are open, counted to counted.MOST."""
        return self._headlines.waiting

    @cached_property
    def controls(self) -> list[Control]:
        """Everything engaged: stops first, the newest of them first."""
        engaged = self._headlines.controls
        return sorted(engaged, key=lambda one: (one.kind != ControlKind.STOP, -one.pk))

    @property
    def banner(self) -> Held | None:
        """The control that weighs most, and how far it has taken hold."""
        return self.held(self.controls[0]) if self.controls else None

    @property
    def others(self) -> int:
        """How many controls are engaged beside the one of the banner."""
        return len(self.controls) - 1

    def held(self, control: Control) -> Held:
        """How far a control has taken hold. Of the engaged ones all are read at once, when the first is asked for."""
        if control.pk not in self._held:
            asked = self.controls if control in self.controls else [control]
            self._held |= {one.control.pk: one for one in holding.several(asked)}
        return self._held[control.pk]

    @cached_property
    def all_held(self) -> tuple[Held, ...]:
        """Every engaged control; what is not confirmed comes first."""
        return holding.by_pace([self.held(control) for control in self.controls])

    @property
    def head(self) -> int:
        """The journal's newest number: from here on the page's socket replays."""
        return self._headlines.head


def initials(name: str) -> str:
    """Two letters for the round sign of a person."""
    words = name.split()
    if not words:
        return "?"
    return (words[0][0] + (words[-1][0] if len(words) > 1 else words[0][1:2])).upper()
