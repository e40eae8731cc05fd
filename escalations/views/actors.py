"""Who asks: the signed-in person of a request. The middleware lets nobody else come this far."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest


def actor_of(request: HttpRequest) -> User:
    """The person. Raises PermissionDenied for an anonymous request, should the middleware ever be missing."""
    if not isinstance(request.user, User):
        raise PermissionDenied("Sign in first.")
    return request.user
