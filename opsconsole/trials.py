"""A pytest plugin for tests of workflows that live outside this repository: `pytest -p opsconsole.trials FOLDER`.

Starts a PostgreSQL and a Valkey for the session (or uses DATABASE_URL and REDIS_URL; the tests then make and drop a
database named test_…), and sets Django up with the apps that OPSCONSOLE_APPS names. Holds no tests.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from opsconsole import environment

_own_folder = Path(tempfile.mkdtemp(prefix="opsconsole-trials-"))
_own_folder.chmod(0o711)  # as root, the database runs under another account
(_own_folder / "static").mkdir()  # whitenoise warns of a missing folder
os.environ["DJANGO_SETTINGS_MODULE"] = "opsconsole.settings"
os.environ["DATA_DIR"] = str(_own_folder)
os.environ["OPSCONSOLE_PLAIN_STATIC"] = "1"
os.environ.setdefault("SECRET_KEY", "only-for-trials-" + "x" * 50)
os.environ.setdefault("OPSCONSOLE_LOG_LEVEL", "WARNING")
_lease: lease.Lease | None = None

try:
    if not environment.servers_given():
        from opsconsole.embedded import lease

        # The keeper ends the servers when this process is gone, however it went.
        _lease = lease.hold(_own_folder, fast=True)
except environment.Refused as why:
    pytest.exit(str(why), returncode=2)

# Here and now, with the servers above: test modules import definitions, which import models.
import django  # noqa: E402

django.setup()


@pytest.hookimpl(tryfirst=True)
def pytest_configure() -> None:
    """pytest-asyncio warns of an option that it wants set in a file, and a folder of flows has none."""
    warnings.filterwarnings(
        "ignore", message=r'The configuration option "asyncio_default_fixture_loop_scope"'
    )


def pytest_unconfigure() -> None:
    if _lease is not None:
        _lease.close()
    shutil.rmtree(_own_folder, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def _no_lane_is_left(django_db_setup: None) -> Iterator[None]:
    """A database with somebody connected to it cannot be dropped."""
    from runs.engine import lanes

    yield
    lanes.close()


@pytest.fixture(scope="session", autouse=True)
def _flush_past_the_journal() -> None:
    """The journal refuses to be emptied; only Django's flush between tests goes past that.

    SET LOCAL counts for that one transaction on that one connection.
    """
    from django.db.backends.base.operations import BaseDatabaseOperations
    from django.db.backends.postgresql.operations import DatabaseOperations

    plain = DatabaseOperations.execute_sql_flush

    def execute_sql_flush(self: BaseDatabaseOperations, sql_list: Iterable[str]) -> None:
        plain(self, ["SET LOCAL session_replication_role = replica", *sql_list])

    DatabaseOperations.execute_sql_flush = execute_sql_flush  # type: ignore[method-assign]
