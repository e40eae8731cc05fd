"""The web entry: pages and websockets. Decides nothing."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "opsconsole.settings")

from django.core.asgi import get_asgi_application

_pages = get_asgi_application()  # loads the apps, which the imports below need

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402
from django.urls import path  # noqa: E402

from escalations.consumers import LiveConsumer  # noqa: E402
from opsconsole.origins import SameOrigin  # noqa: E402

_sockets = URLRouter([path("ws/live", LiveConsumer.as_asgi())])
_guarded = AllowedHostsOriginValidator(SameOrigin(AuthMiddlewareStack(_sockets)))
application = ProtocolTypeRouter({"http": _pages, "websocket": _guarded})
