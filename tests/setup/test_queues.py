"""The two queues: a message reaches one of them, and one that cannot be sent is given up at once."""

import socket
from collections.abc import Iterator

import pytest
import redis
from django.conf import settings
from kombu.exceptions import OperationalError

from opsconsole.celery import app
from runs import live
from tests import patience

NOBODY_TAKES = "tests.nobody_takes_this"


@pytest.fixture
def valkey() -> Iterator[redis.Redis]:
    assert live.flush(patience.SECONDS)  # what tests before this one hinted at may still be on its way
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.delete("agents", "ordinary")
        yield client
        client.delete("agents", "ordinary")


@pytest.mark.parametrize(("queue", "other"), [("agents", "ordinary"), ("ordinary", "agents")])
def test_a_message_reaches_one_queue_only(valkey: redis.Redis, queue: str, other: str) -> None:
    app.send_task(NOBODY_TAKES, queue=queue)
    assert (valkey.llen(queue), valkey.llen(other)) == (1, 0)


def test_a_task_without_a_queue_is_ordinary(valkey: redis.Redis) -> None:
    app.send_task(NOBODY_TAKES)
    assert (valkey.llen("ordinary"), valkey.llen("agents")) == (1, 0)


def test_a_hint_to_a_server_that_is_gone_fails() -> None:
    _fails("redis://127.0.0.1:1/0")


def test_a_hint_to_a_server_that_hangs_fails_by_its_own_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        _fails(f"redis://127.0.0.1:{silent.getsockname()[1]}/0")


def _fails(url: str) -> None:
    def send() -> None:
        with app.connection_for_write(url) as conn, pytest.raises(OperationalError):
            app.send_task(NOBODY_TAKES, connection=conn, retry=False)

    patience.ends(send)


def test_the_sweep_ticks_on_the_ordinary_queue() -> None:
    tick = app.conf.beat_schedule["sweep"]
    assert (tick["task"], tick["options"]["queue"]) == ("runs.sweep", "ordinary")
    assert tick["schedule"] == settings.RUNS_SWEEP_SECONDS
