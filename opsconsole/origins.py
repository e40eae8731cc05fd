"""Where a websocket may come from: a page of this very host and port, or an origin that settings trust.

Browsers send cookies to every port of a host, and a socket asks for no token; so the host alone is not enough.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import SplitResult, urlsplit

from channels.security.websocket import WebsocketDenier
from django.conf import settings

_PORTS = {"http": 80, "https": 443}
Application = Callable[[dict[str, Any], Any, Any], Awaitable[Any]]


class SameOrigin:
    """Passes a socket on, or refuses it before it is opened."""

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> Any:
        application = self._application if is_own(scope.get("headers", ())) else WebsocketDenier()
        return await application(scope, receive, send)


def is_own(headers: Any) -> bool:
    """Whether one origin is named, and it is the host that is asked or a trusted one."""
    origins, hosts = _values(headers, b"origin"), _values(headers, b"host")
    if len(origins) != 1 or len(hosts) != 1:
        return False
    if origins[0] in settings.CSRF_TRUSTED_ORIGINS:
        return True
    try:
        origin, host = urlsplit(origins[0]), urlsplit(f"{urlsplit(origins[0]).scheme}://{hosts[0]}")
        return origin.scheme in _PORTS and _place(origin) == _place(host)
    except ValueError:  # no port, no address
        return False


def _values(headers: Any, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in headers if key.lower() == name]


def _place(parts: SplitResult) -> tuple[str | None, int]:
    return parts.hostname, parts.port or _PORTS[parts.scheme]
