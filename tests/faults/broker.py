"""A Valkey that belongs to one fault test: to be wiped, killed and started again. Sends hints on demand."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from pathlib import Path

import redis
from kombu import Connection

from opsconsole.embedded import places, valkey
from opsconsole.environment import celery_address
from runs.tasks import advance_run
from tests.faults.fleet import until


class Broker:
    """Its address stays the same over restarts and over tests: the workers' settings hold it."""

    def __init__(self, folder: Path) -> None:
        self._places = places.places_for(folder)
        places.prepare(self._places)
        self._server = valkey.prepare(self._places)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return self._server.url()

    def start(self) -> None:
        self._process = self._server.start()
        until(self._server.ready, "Valkey is up")

    def kill(self) -> None:
        """kill -9: what it had not written is lost."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(10)
            self._process = None
        self._places.valkey_socket.unlink(missing_ok=True)

    def wipe(self) -> None:
        """Everything in it is gone: queues, hints, subscriptions' keys."""
        with contextlib.closing(redis.Redis.from_url(self.url)) as client:
            client.flushall()

    def hint(self, *run_ids: int, times: int = 1, queue: str = "agents") -> None:
        """Say "look at run X", so many times."""
        with Connection(celery_address(self.url)) as conn:
            producer = conn.Producer()
            for run_id in run_ids * times:
                advance_run.apply_async(args=(run_id,), queue=queue, producer=producer, retry=False)

    def stand(self) -> None:
        """Back up, if it is not."""
        if self._process is None or self._process.poll() is not None:
            self.start()

    def forget(self) -> None:
        """Back to an empty server that runs."""
        self.stand()
        self.wipe()
