"""Which role may see which page: one middleware, one table, by route name. What is not in it, nobody sees.

Who may *do* an act is checked in the act itself (`escalations.roles`), so that a refused attempt is journalled:
the routes of acts are therefore open to everybody with a role.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import resolve_url

from escalations.roles import Role, roles_of

ANYBODY: Final = "anybody"  # without signing in
SIGNED_IN: Final = "signed in"  # even without a role
PEOPLE: Final = frozenset({Role.OPERATOR, Role.ADMIN, Role.AUDITOR})

May = str | frozenset[Role]

# Static files never come here: they are answered before the session is read.
PAGES: dict[str, May] = {
    "healthz": ANYBODY,
    "readyz": ANYBODY,
    "sign-in": ANYBODY,
    "hook": ANYBODY,  # the delivery's signature says who it is
    "sign-out": SIGNED_IN,
    # The frame round every page
    "places": PEOPLE,
    "held": PEOPLE,
    "search": PEOPLE,
    # Inbox, and the acts on its cards
    "inbox": PEOPLE,
    "queue": PEOPLE,
    "escalation": PEOPLE,
    "card": PEOPLE,
    "question": PEOPLE,
    "approve": PEOPLE,
    "decide-claims": PEOPLE,
    "edit": PEOPLE,
    "migrate": PEOPLE,
    "reject": PEOPLE,
    "respond": PEOPLE,
    "look": PEOPLE,
    "top-up": PEOPLE,
    "top-up-agree": PEOPLE,
    "top-up-decline": PEOPLE,
    "take": PEOPLE,
    "give-back": PEOPLE,
    # Runs
    "runs": PEOPLE,
    "runs-list": PEOPLE,
    "run": PEOPLE,
    "run-moving": PEOPLE,
    "run-inspector": PEOPLE,
    "run-events": PEOPLE,
    "run-body": PEOPLE,
    "start-choose": PEOPLE,
    "start": PEOPLE,
    "run-people": PEOPLE,
    # Workflows
    "workflows": PEOPLE,
    "workflows-list": PEOPLE,
    "workflow": PEOPLE,
    "workflow-version": PEOPLE,
    "workflow-versions": PEOPLE,
    # Controls, and the acts on them
    "controls": PEOPLE,
    "controls-held": PEOPLE,
    "controls-hits": PEOPLE,
    "controls-receipt": PEOPLE,
    "controls-left": PEOPLE,
    "engage": PEOPLE,
    "release": PEOPLE,
    "resume-all": PEOPLE,
    "resume": PEOPLE,
    # Limits, and the acts on them
    "limits": PEOPLE,
    "limits-list": PEOPLE,
    "limits-proposals": PEOPLE,
    "limit-new": PEOPLE,
    "limit-rehearse": PEOPLE,
    "limit-rehearsal": PEOPLE,
    "limit-set": PEOPLE,
    "limit": PEOPLE,
    "limit-asks": PEOPLE,
    "limit-change": PEOPLE,
    "limit-end": PEOPLE,
    "limit-agree": PEOPLE,
    "limit-decline": PEOPLE,
    # Budgets and breakers, and the acts on them
    "budgets": PEOPLE,
    "budgets-list": PEOPLE,
    "budgets-proposals": PEOPLE,
    "budgets-uncertain": PEOPLE,
    "budgets-spend": PEOPLE,
    "budget": PEOPLE,
    "budget-top-up": PEOPLE,
    "budget-book": PEOPLE,
    "budget-agree": PEOPLE,
    "budget-decline": PEOPLE,
    "breakers": PEOPLE,
    "breakers-list": PEOPLE,
    "breaker": PEOPLE,
    "breaker-force": PEOPLE,
    # Interventions
    "interventions": PEOPLE,
    "interventions-list": PEOPLE,
    "interventions-export": PEOPLE,
    "intervention": PEOPLE,
}


class PageAccess:
    """Lets a request pass to its view, sends it to the sign-in page, or refuses it with 403.

    Raises PermissionDenied for a route that is not in PAGES: forgetting one shows at once.
    """

    sync_capable = True
    async_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self._get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]
    ) -> HttpResponseBase | None:
        name = request.resolver_match.view_name if request.resolver_match else ""
        may = PAGES.get(name, frozenset())
        if may == ANYBODY:
            return None
        if any("\0" in str(part) for part in kwargs.values()):
            raise Http404("Nothing is called that.")  # PostgreSQL takes no such text, not even to look for it
        if not request.user.is_authenticated:
            return _to_sign_in(request)
        roles = roles_of(request.user)
        request.roles = roles  # type: ignore[attr-defined]  # the page's frame need not ask again
        if may == SIGNED_IN or seen_by(roles, may):
            return None
        raise PermissionDenied(_refusal(request.user, name))


def seen_by(roles: frozenset[Role], may: May) -> bool:
    """Whether one of those roles is among those that may."""
    return isinstance(may, frozenset) and bool(roles & may)


def _refusal(user: User | AnonymousUser, name: str) -> str:
    if name not in PAGES:
        return f"The page {name!r} is not in the table of pages (opsconsole/access.py)."
    return f"{user.get_username()} has no role that may see this page. Ask an admin for one."


def _to_sign_in(request: HttpRequest) -> HttpResponseBase:
    """Back to this page after signing in; a form that was sent comes back to the front page."""
    if request.headers.get("HX-Request"):
        # htmx would follow a redirect and put the sign-in page into a corner of this one.
        return HttpResponse(status=401, headers={"HX-Redirect": resolve_url(settings.LOGIN_URL)})
    here = request.get_full_path() if request.method in ("GET", "HEAD") else resolve_url("/")
    return redirect_to_login(here, settings.LOGIN_URL)
