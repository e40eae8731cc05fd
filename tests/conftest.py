"""Starts a PostgreSQL and a Valkey of their own for the test session, before Django's settings load.

When several processes share the tests (`-n 2`), each of them starts its own; who hands the tests out starts none.
With DATABASE_URL and REDIS_URL set, those servers are used instead (the tests then make and drop a
database named test_…), by one process. Holds no factories: those live in `factories.py`.
"""

import atexit
import gc
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as rules

from opsconsole import environment
from tests import cluster, shares

os.environ["DJANGO_SETTINGS_MODULE"] = "opsconsole.settings"
os.environ["OPSCONSOLE_PLAIN_STATIC"] = "1"
os.environ.setdefault("SECRET_KEY", "only-for-tests-" + "x" * 50)
os.environ.setdefault("OPSCONSOLE_DATABASE_POOL", "60")  # race tests bring dozens of threads
os.environ.setdefault("OPSCONSOLE_LOG_LEVEL", "WARNING")

_SUMMARIES = environment.data_dir() / "soak"
_CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_servers_given = environment.servers_given()
_own_folder = Path(tempfile.mkdtemp(prefix="opsconsole-tests-"))
_own_folder.chmod(0o711)  # as root, the database runs under another account
(_own_folder / "static").mkdir()  # whitenoise warns of a missing folder
os.environ["DATA_DIR"] = str(_own_folder)
_lease: "lease.Lease | None" = None
_hands_out = "PYTEST_XDIST_WORKER" not in os.environ and shares.told_to_share(sys.argv)

if not _servers_given and not _hands_out:
    from opsconsole.embedded import lease

    # The keeper ends the servers when this process is gone, however it went.
    _lease = lease.hold(_own_folder, fast=True)

# Here and now, with the servers above: the conftests of subfolders import models.
import django  # noqa: E402

django.setup()

from tests.faults import counts, figures  # noqa: E402

# How quickly examples are made and tried says how busy the machine is, and nothing of what is tested.
rules.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
rules.load_profile("patient")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="only the soak: faults in full counts, for an hour")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "soak: takes minutes; left out unless --soak is given")
    if config.getoption("numprocesses", None):
        _hand_out()
    if config.getoption("--soak"):
        os.environ[counts.SOAK] = "1"


def _hand_out() -> None:
    """The processes that share the tests begin where this one began: without Django, without an address."""
    if _servers_given:
        raise pytest.UsageError(
            "Servers of your own are used by one process: say -n 0 (make test WORKERS=0)."
        )
    like = cluster.made()
    atexit.register(shutil.rmtree, like, ignore_errors=True)
    for name in ("DJANGO_SETTINGS_MODULE", "DATABASE_URL", "REDIS_URL", "DATA_DIR"):
        os.environ.pop(name, None)
    os.environ[cluster.LIKE] = str(like)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The soak: what is marked so, and every test of a module that takes its counts from `counts`."""
    soak = config.getoption("--soak")
    left_out = [item for item in items if _belongs_to_soak(item, counted=soak) != soak]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: shares.place_of(item.nodeid))


def _belongs_to_soak(item: pytest.Item, *, counted: bool) -> bool:
    if item.get_closest_marker("soak"):
        return True
    return counted and getattr(getattr(item, "module", None), "counts", None) is counts


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> shares.ByShare:
    return shares.ByShare(config, log)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """What was measured goes to whoever handed the tests out."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["figures"] = figures.rows()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    figures.take(getattr(node, "workeroutput", {}).get("figures", ""))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    lines = figures.lines()
    if not lines or hasattr(config, "workerinput"):  # whoever handed the tests out tells the rows of all
        return
    terminalreporter.section("what the faults cost")
    for line in lines:
        terminalreporter.write_line(line)
    if file := figures.keep(_SUMMARIES):
        terminalreporter.write_line(f"kept in {file}")


def pytest_report_header() -> str:
    if _hands_out:
        return "servers: real PostgreSQL and Valkey, for each process its own"
    where = f"started under {_own_folder}" if _lease else "from DATABASE_URL and REDIS_URL"
    return f"servers: real PostgreSQL and Valkey ({where})"


def pytest_unconfigure() -> None:
    if _lease is not None:
        _lease.close()
    shutil.rmtree(_own_folder, ignore_errors=True)


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None) -> Iterator[None]:
    """A database with somebody connected to it cannot be dropped."""
    from runs.engine import lanes

    yield
    lanes.close()


def pytest_collection_finish(session: pytest.Session) -> None:
    """What is loaded by now stays: the collector need not go through it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


@pytest.fixture(scope="session", autouse=True)
def _quick_passwords() -> None:
    """A quarter of a second of processor time for every password is for those who guess. Not in child processes."""
    from django.conf import settings

    quick = "django.contrib.auth.hashers.MD5PasswordHasher"
    settings.PASSWORD_HASHERS = [quick, *settings.PASSWORD_HASHERS]


@pytest.fixture(scope="session", autouse=True)
def _busy_cores() -> None:
    """What is given up after a moment where nobody else is at work, and then done otherwise, takes longer here: other
    tests share the cores, and coverage follows every line. Tests of these moments say which they mean. Not in child
    processes."""
    from django.conf import settings

    from escalations import controls, rehearsals

    settings.RUNS_GATE_HOLD_MS = 10_000
    controls.AT_ONCE_SECONDS = 60.0
    rehearsals.WAIT_SECONDS = 60.0


@pytest.fixture(scope="session", autouse=True)
def _flush_past_the_journal() -> None:
    """The journal's TRUNCATE trigger stays on in tests; only Django's flush between tests goes past it.

    What Django itself keeps about the models stays, so that nothing has to make it again after every test.
    """
    from django.core.management.commands import flush
    from django.db.backends.postgresql.operations import DatabaseOperations
    from django.test import TransactionTestCase

    from tests import emptied

    DatabaseOperations.sql_flush = emptied.statements  # type: ignore[assignment, method-assign]
    TransactionTestCase._fixture_teardown = emptied.after_test  # type: ignore[attr-defined]
    flush.emit_post_migrate_signal = lambda *_: None  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def _nothing_is_remembered() -> None:
    """Nothing of the database of the test before: what is known there by a number may be something else here."""
    from tests import forgotten

    forgotten.everything()


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """A Chromium from CHROMIUM= or from PATH; without one the test is skipped and says so."""
    named = os.environ.get("CHROMIUM", "")
    found = [path for path in (shutil.which(name) for name in (named, *_CHROMIUM_NAMES) if name) if path]
    if not found:
        pytest.skip("no Chromium: install one (Debian: chromium) or set CHROMIUM to its path")
    return found[0]


@pytest.fixture(scope="session")
def chromium_flags() -> list[str]:
    """No sandbox (tests run as root in CI), nothing that calls home."""
    return [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ]
