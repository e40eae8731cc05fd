"""What stands on every page: places with counts, the banner of what is held, who is signed in. Reads only.

The context processor costs nothing until a template asks: each value is read when it is first used.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from escalations import inbox, live
from escalations.roles import TABLE as ACTS
from escalations.roles import Act, Role, name_of, roles_of
from runs.engine import holds
from runs.engine.holds import Confirmation
from runs.models import Control, ControlKind

PLACES = ("inbox", "runs", "controls", "interventions")


@dataclass(frozen=True, slots=True, kw_only=True)
class Banner:
    """The control that weighs most, how far it has taken hold, and how many others there are."""

    control: Control
    confirmation: Confirmation
    runs: int
    others: int

    @property
    def waiting_for(self) -> int:
        """Workers that have not confirmed."""
        return len(self.confirmation.workers) - self.confirmation.confirmed

    @property
    def settled(self) -> bool:
        return self.confirmation.state in ("stopped", "paused")


class Frame:
    """Read by base.html and the fragments of it."""

    def __init__(self, user: User | AnonymousUser) -> None:
        self.user = user

    @cached_property
    def roles(self) -> frozenset[Role]:
        return roles_of(self.user)

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
    def waiting(self) -> int:
        return inbox.waiting()

    @cached_property
    def controls(self) -> list[Control]:
        """Everything engaged: stops first, the newest of them first."""
        engaged = list(holds.engaged())
        return sorted(engaged, key=lambda one: (one.kind != ControlKind.STOP, -one.pk))

    @cached_property
    def banner(self) -> Banner | None:
        if not self.controls:
            return None
        control = self.controls[0]
        return Banner(
            control=control,
            confirmation=holds.confirmation(control),
            runs=holds.covered(control).count(),
            others=len(self.controls) - 1,
        )

    @cached_property
    def head(self) -> int:
        """The journal's newest number: from here on the page's socket replays."""
        return live.head()


def initials(name: str) -> str:
    """Two letters for the round sign of a person."""
    words = name.split()
    if not words:
        return "?"
    return (words[0][0] + (words[-1][0] if len(words) > 1 else words[0][1:2])).upper()


def frame(request: HttpRequest) -> dict[str, object]:
    """The context processor. Anonymous pages get no frame."""
    if not getattr(request, "user", None) or not request.user.is_authenticated:
        return {}
    return {"frame": Frame(request.user)}


@require_safe
def places(request: HttpRequest) -> HttpResponse:
    """The places with their counts, as a fragment."""
    at = request.GET.get("at", "")
    return render(request, "_places.html", {"place": at if at in PLACES else ""})


@require_safe
def held(request: HttpRequest) -> HttpResponse:
    """The banner of what is held, as a fragment."""
    return render(request, "_held.html")
