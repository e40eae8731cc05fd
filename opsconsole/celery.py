"""Celery's app: two queues and one tick. Holds no task; a message is only a hint to look at the database."""

import contextlib
import os
from typing import Any

from celery import Celery
from celery.signals import beat_init
from kombu import Exchange, Queue
from kombu.exceptions import OperationalError
from kombu.transport.redis import Channel

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "opsconsole.settings")

from django.conf import settings

from opsconsole.environment import celery_address

# Hints are taken off the queue once and for all. Keeping count of unfinished ones inside Valkey, and giving them
# back, would end a worker ("Unrecoverable error") that loses Valkey in the middle of a step.
Channel.do_restore = False

_made = Channel._create_client  # type: ignore[attr-defined]  # its stub does not know it


def _kept(channel: Any, asynchronous: bool = False) -> Any:
    """A client holds nothing but its pool, and to make one for each hint is a quarter of what a hint costs."""
    if asynchronous:
        return _made(channel, asynchronous)
    kept = getattr(channel, "kept_client", None)
    if kept is None or kept.connection_pool is not channel.pool:  # a lost connection ends the pool
        kept = channel.kept_client = _made(channel)
    return kept


Channel._create_client = _kept  # type: ignore[attr-defined]

app = Celery("opsconsole")
app.conf.update(
    broker_url=celery_address(settings.REDIS_URL),
    # Each with an exchange and a key of its own: with the defaults both queues would get every message.
    task_queues=[Queue(name, Exchange(name), routing_key=name) for name in ("agents", "ordinary")],
    task_default_queue="ordinary",
    task_ignore_result=True,
    # Late, so that a worker takes no more hints than it has threads. What is lost with it, the sweep finds.
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    worker_send_task_events=False,
    worker_enable_remote_control=False,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    # A hint that cannot be sent at once is not sent: the sweep finds the run.
    task_publish_retry=False,
    broker_transport_options={
        "priority_steps": [0],  # no hint is more urgent than another: one list to wait at, not four
        "ack_emulation": False,
        "socket_connect_timeout": 1,
        "socket_timeout": 2,  # above the 1 s for which a worker waits in one read
        "retry_on_timeout": False,
        "max_retries": 0,
    },
    enable_utc=True,
    timezone="UTC",
    beat_schedule={
        "sweep": {
            "task": "runs.sweep",
            "schedule": float(settings.RUNS_SWEEP_SECONDS),
            # Ticks that piled up while no worker listened are worth nothing.
            "options": {"queue": "ordinary", "expires": float(settings.RUNS_SWEEP_SECONDS * 2)},
        },
        "look at triggers": {
            "task": "runs.look_at_triggers",
            "schedule": 10.0,
            "options": {"queue": "ordinary", "expires": 20.0},
        },
        "settle refused": {
            "task": "escalations.settle_refused",
            "schedule": 10.0,
            "options": {"queue": "ordinary", "expires": 20.0},
        },
    },
)
app.autodiscover_tasks()


@beat_init.connect
def _tick_at_once(**_: Any) -> None:
    """The first tick comes with the start, not one period later: the console is ready the sooner."""
    with contextlib.suppress(OperationalError):  # beat itself goes on trying
        app.send_task("runs.sweep", queue="ordinary", expires=settings.RUNS_SWEEP_SECONDS * 2)
