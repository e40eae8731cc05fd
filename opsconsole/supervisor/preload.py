"""Imports what the children will need, before they are forked. Opens nothing and starts no thread."""

import gc
import importlib
import os
import sys
import threading

_LIBRARIES = (
    "celery.bin.celery",
    "celery.bin.beat",
    "celery.bin.worker",
    "celery.worker.worker",
    "celery.concurrency.thread",
    "celery.beat",
    "kombu.transport.redis",
    "channels.auth",
    "channels.routing",
    "channels.security.websocket",
    "channels_redis.pubsub",
    "django.core.handlers.asgi",
    "django.core.management.commands.migrate",
    "django.contrib.staticfiles.management.commands.collectstatic",
    "psycopg_pool",
    # Of daphne only what does not install Twisted's reactor: two lanes must not share one.
    "twisted.web.http",
    "twisted.internet.endpoints",
    "autobahn.websocket.protocol",
)


def load() -> None:
    """Load libraries, settings, apps and addresses. Raises what importing them raises.

    Not the web application itself: making it lists the static files, which are collected after this.
    """
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "opsconsole.settings")
    import django
    from django.conf import settings
    from django.urls import get_resolver

    django.setup()
    _ = get_resolver().url_patterns
    middleware = [path.rpartition(".")[0] for path in settings.MIDDLEWARE]
    for module in (*_LIBRARIES, *middleware):
        importlib.import_module(module)
    importlib.import_module(
        "runs.registry"
    ).contents()  # every worker tells which definitions it has: a second's work
    if "twisted.internet.reactor" in sys.modules or threading.active_count() > 1:
        raise RuntimeError("an import installed Twisted's reactor or started a thread: forking is not safe")
    gc.freeze()  # the collector would otherwise touch, and so copy, every shared page
