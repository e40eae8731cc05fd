"""Reads the process environment; every bad value is one sentence. Knows neither Django nor the servers.

Addresses are parsed here in a few lines instead of by a library: only two kinds are accepted, and what
is wrong with one has to be said in our words.
"""

import difflib
import importlib.util
import os
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

REPOSITORY = Path(__file__).resolve().parents[1]
OURS = "OPSCONSOLE_"
OF_TESTS = ("MARK", "TESTS_SOAK")
NAMES = frozenset(
    [
        "APPS",
        "BREAKER_CONSECUTIVE",
        "BREAKER_LEAST_CALLS",
        "BREAKER_OPEN_SECONDS",
        "BREAKER_PERCENT",
        "BREAKER_SLOW_MS",
        "BREAKER_SLOW_PERCENT",
        "BREAKER_TRY_SLOW_MS",
        "BREAKER_WINDOW_SECONDS",
        "BUDGET_CHUNK",
        "BUDGET_WARN_PERCENT",
        "CLUSTER_LIKE",
        "DATABASE_POOL",
        "DRAIN_SECONDS",
        "FREEZE_VERSIONS",
        "HOST",
        "LEAST_FREE_MB",
        "LOG_LEVEL",
        "PLAIN_STATIC",
        "PRODUCTION",
        "RUNS_AGENT_THREADS",
        "RUNS_GATE_HOLD_MS",
        "RUNS_HEARTBEAT_SECONDS",
        "RUNS_INTAKE_LIMIT",
        "RUNS_LEASE_SECONDS",
        "RUNS_SILENT_SECONDS",
        "RUNS_SWEEP_SECONDS",
        "SECOND_ADMIN_ABOVE",
        "SECOND_ADMIN_HOURS",
        "SIMULATED_MISBEHAVIOUR",
        "SIMULATED_MS",
        "TOKENS_OUT",
        "UNCERTAIN_HOURS",
        "VERSION_GRACE_SECONDS",
    ]
)


class Refused(Exception):
    """Something on this machine stands in the way; the message is the sentence a person reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresAddress:
    """A database address, taken apart. `host` is a host name or the directory of a unix socket."""

    name: str
    user: str
    password: str
    host: str
    port: str
    options: dict[str, str]


def no_others(env: Mapping[str, str] = os.environ) -> None:
    """Raises Refused for a name that begins as ours do and that nothing reads: a misspelt one would set nothing."""
    for name in sorted(env):
        given = name.removeprefix(OURS)
        if given == name or given in NAMES or given in OF_TESTS:
            continue
        near = difflib.get_close_matches(given, NAMES, n=1)
        meant = f" Did you mean {OURS}{near[0]}?" if near else ""
        raise Refused(
            f"{name} is set, and there is no such setting.{meant} Unset it, or spell it as it is meant."
        )


def number(name: str, default: int, *, least: int, most: int, env: Mapping[str, str] = os.environ) -> int:
    """A whole number from the environment. Raises Refused."""
    given = env.get(name, "").strip()
    if not given:
        return default
    if not given.isascii() or not given.isdigit() or not least <= int(given) <= most:
        raise Refused(f"{name} must be a whole number from {least} to {most}, not {given!r}.")
    return int(given)


def flag(name: str, *, default: bool, env: Mapping[str, str] = os.environ) -> bool:
    """A yes or no from the environment. Raises Refused."""
    given = env.get(name, "").strip().lower()
    if not given:
        return default
    if given not in ("0", "1", "true", "false", "yes", "no"):
        raise Refused(f"{name} must be 1 or 0, not {given!r}.")
    return given in ("1", "true", "yes")


def one_of(name: str, default: str, choices: Collection[str], env: Mapping[str, str] = os.environ) -> str:
    """One of a few words, in capitals. Raises Refused."""
    given = env.get(name, "").strip()
    if given and given.upper() not in choices:
        raise Refused(f"{name} must be one of {', '.join(choices)}, not {given!r}.")
    return given.upper() or default


def words(name: str, default: list[str], env: Mapping[str, str] = os.environ) -> list[str]:
    """A comma-separated list from the environment."""
    given = [part.strip() for part in env.get(name, "").split(",")]
    return [part for part in given if part] or default


def apps(env: Mapping[str, str] = os.environ) -> list[str]:
    """Apps of one's own from OPSCONSOLE_APPS, by module name or by folder. Raises Refused.

    A folder's parent becomes importable, after everything else, in this process and the children it spawns.
    """
    return list(dict.fromkeys(_app(part) for part in words("OPSCONSOLE_APPS", [], env)))


def _app(given: str) -> str:
    if "/" not in given and not given.startswith("~"):
        _find(given, given)
        return given
    folder = Path(given).expanduser().resolve()
    if not folder.is_dir():
        raise Refused(f"OPSCONSOLE_APPS names {given}, and there is no such folder.")
    if str(folder.parent) not in sys.path:
        sys.path.append(str(folder.parent))
    place = _find(folder.name, given)
    if Path(place).resolve() != folder:
        raise Refused(f"OPSCONSOLE_APPS names {given}, but {folder.name!r} is {place}: rename the folder.")
    return folder.name


def _find(name: str, given: str) -> str:
    """Where Python finds the package of that name."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise Refused(
            f"OPSCONSOLE_APPS names {given!r}, and Python finds no such package; give its folder instead."
        )
    return next(iter(spec.submodule_search_locations))


def data_dir(env: Mapping[str, str] = os.environ) -> Path:
    """Where the console keeps its files; relative paths count from the current directory."""
    given = env.get("DATA_DIR", "").strip()
    return Path(given).expanduser().resolve() if given else REPOSITORY / ".data"


def servers_given(env: Mapping[str, str] = os.environ) -> bool:
    """True with both addresses set, False with none. Raises Refused with one of them."""
    given = [name for name in ("DATABASE_URL", "REDIS_URL") if env.get(name, "").strip()]
    if len(given) == 1:
        missing = "REDIS_URL" if given == ["DATABASE_URL"] else "DATABASE_URL"
        raise Refused(
            f"{given[0]} is set and {missing} is not: set both, or none to use the embedded servers."
        )
    return bool(given)


def postgres_address(url: str) -> PostgresAddress:
    """Take postgresql://USER:PASSWORD@HOST:PORT/NAME?OPTION=… apart. Raises Refused."""
    parts = _split("DATABASE_URL", url, "postgresql://USER:PASSWORD@HOST:PORT/NAME")
    name = unquote(parts.path.removeprefix("/"))
    if parts.scheme not in ("postgresql", "postgres") or not name or "/" in name:
        _malformed("DATABASE_URL", "postgresql://USER:PASSWORD@HOST:PORT/NAME")
    options = dict(parse_qsl(parts.query))
    return PostgresAddress(
        name=name,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        host=options.pop("host", "") or unquote(parts.hostname or ""),
        port=options.pop("port", "") or str(parts.port or ""),
        options=options,
    )


def redis_address(url: str) -> str:
    """Check redis://, rediss:// or unix:// and return it. Raises Refused."""
    shape = "redis://HOST:PORT/0 or unix:///PATH?db=0"
    parts = _split("REDIS_URL", url, shape)
    names_a_server = (
        parts.hostname if parts.scheme in ("redis", "rediss") else parts.scheme == "unix" and parts.path
    )
    if not names_a_server:
        _malformed("REDIS_URL", shape)
    return url


def celery_address(redis_url: str) -> str:
    """The same server in Celery's spelling: a unix socket has a scheme of its own there."""
    parts = urlsplit(redis_url)
    if parts.scheme != "unix":
        return redis_url
    database = dict(parse_qsl(parts.query)).get("db", "0")
    return f"redis+socket://{parts.path}?virtual_host={database}"


def secret_file(path: Path, fresh: str) -> str:
    """The content of a 0600 file, written with `fresh` if it is not there yet.

    Written aside and linked into place, so that a reader never sees a half-written secret and of two
    processes that start at once both get the same one.
    """
    if not path.exists():
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        aside.touch(mode=0o600)
        aside.write_text(fresh)
        try:
            os.link(aside, path)
        except FileExistsError:
            pass
        finally:
            aside.unlink()
    return path.read_text().strip()


def _split(name: str, url: str, shape: str) -> SplitResult:
    try:
        parts = urlsplit(url.strip())
        _ = parts.port
    except ValueError:
        _malformed(name, shape)
    return parts


def _malformed(name: str, shape: str) -> NoReturn:
    # The value itself may hold a password: it is not repeated.
    raise Refused(f"{name} is not an address of the form {shape}.")
