"""Whether the console is up (`/healthz`) and whether every part works (`/readyz`). Repairs nothing.

`/readyz` opens a database connection of its own: it must answer quickly when the pool is exhausted or the
server is gone. What it says is open to everybody, so it names parts and ages, never errors' texts.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import psycopg
import redis
from django.conf import settings
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

SEEN_SECONDS = 10
_CONNECT_SECONDS = 2
_STATEMENT_MS = 2000
_KINDS = ("agents", "ordinary", "beat")

# The database's clock on both sides: hosts' clocks differ.
_SEEN = f"""
    SELECT kind, extract(epoch FROM now() - max(seen_at)),
           count(*) FILTER (WHERE seen_at < now() - interval '{SEEN_SECONDS} s' AND seen_at > now() - interval '1 hour')
    FROM runs_worker WHERE gone_at IS NULL GROUP BY kind
"""
_APPLIED = "SELECT app, name FROM django_migrations"

Part = dict[str, Any]


@require_safe
@never_cache
def healthz(request: HttpRequest) -> JsonResponse:
    """The process answers. Asks neither the database nor Valkey."""
    return JsonResponse({"status": "ok"})


@require_safe
@never_cache
def readyz(request: HttpRequest) -> JsonResponse:
    """Every part the console needs, each on its own; 503 unless all are ok."""
    parts = {**_database_parts(), "valkey": _valkey()}
    ready = all(part["ok"] for part in parts.values())
    body = {"status": "ok" if ready else "not ready", "parts": parts}
    response = JsonResponse(body, status=200 if ready else 503)
    response._has_been_logged = True  # type: ignore[attr-defined]  # Django's own mark: a poll is not an error
    return response


def _database_parts() -> dict[str, Part]:
    unknown = _bad("not known: the database does not answer")
    try:
        with _connect() as conn:
            return {
                "database": {"ok": True},
                "migrations": _asked(conn, _migrations),
                **_asked_workers(conn),
            }
    except psycopg.Error:
        return {"database": _bad("no answer"), "migrations": unknown, **dict.fromkeys(_KINDS, unknown)}


def _connect() -> psycopg.Connection[tuple[Any, ...]]:
    params = connection.get_connection_params()
    keys = ("dbname", "user", "password", "host", "port", "sslmode", "sslrootcert")
    return psycopg.connect(
        **{key: params[key] for key in keys if key in params},
        connect_timeout=_CONNECT_SECONDS,
        options=f"-c statement_timeout={_STATEMENT_MS}",
        autocommit=True,
        application_name="opsconsole-readyz",
    )


def _asked(conn: psycopg.Connection[Any], ask: Callable[[psycopg.Connection[Any]], Part]) -> Part:
    try:
        return ask(conn)
    except psycopg.errors.UndefinedTable:
        return _bad("the tables are missing: run the migrations")


def _migrations(conn: psycopg.Connection[Any]) -> Part:
    missing = _migrations_of_the_code() - set(conn.execute(_APPLIED).fetchall())
    return _bad(f"{len(missing)} not applied") if missing else {"ok": True}


@cache
def _migrations_of_the_code() -> frozenset[tuple[str, str]]:
    return frozenset(MigrationLoader(None, ignore_no_migrations=True).graph.nodes)


def _asked_workers(conn: psycopg.Connection[Any]) -> dict[str, Part]:
    try:
        rows = conn.execute(_SEEN).fetchall()
    except psycopg.errors.UndefinedTable:
        rows = []
    ages = {kind: float(age) for kind, age, _ in rows}
    silent = {kind: {"silent": count} for kind, _, count in rows if count and kind != "beat"}
    return {kind: _seen(ages.get(kind), kind) | silent.get(kind, {}) for kind in _KINDS}


def _seen(age: float | None, kind: str) -> Part:
    """Beat shows itself by its tick, which may be slower than a heartbeat."""
    allowed = max(SEEN_SECONDS, 2 * settings.RUNS_SWEEP_SECONDS) if kind == "beat" else SEEN_SECONDS
    if age is None:
        return _bad("never seen")
    if age > allowed:
        return {**_bad(f"not seen for more than {allowed} s"), "seconds_ago": round(age, 1)}
    return {"ok": True, "seconds_ago": round(max(age, 0.0), 1)}


def _valkey() -> Part:
    client = redis.Redis.from_url(
        settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1, retry=None, retry_on_timeout=False
    )
    try:
        client.ping()
    except (redis.RedisError, OSError):
        return _bad("no answer")
    finally:
        client.close()
    return {"ok": True}


def _bad(sentence: str) -> Part:
    return {"ok": False, "says": sentence}
