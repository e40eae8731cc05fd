"""Workflows that start by themselves, registered for one test each, and what a test needs to look at them."""

from __future__ import annotations

import base64
import contextlib
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from pytest_django import Settings

from runs import registry
from runs.definitions import Node, Pipeline, Workflow
from runs.models import Event, Run, Trigger
from runs.starts_by import Start
from tests.runs.flows import Draft, Order

NAME = "starting"
SECRET = "whsec_" + base64.b64encode(b"a secret of thirty-two bytes!!!!").decode()
OTHER_SECRET = "whsec_" + base64.b64encode(b"another of just as many bytes!!!").decode()
Register = Callable[..., Workflow]


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc, arg-type]


def workflow(*starts: Start, version: int = 1, **more: Any) -> Workflow:
    node = Node(
        name="only",
        work=lambda order: Draft(text=order.text, plan=order.plan, amount=order.amount),
        takes=Order,
        gives=Draft,
    )
    given: dict[str, Any] = {"goal": lambda order: order.text, "pattern": Pipeline(nodes=(node,))} | more
    return Workflow(name=NAME, version=version, team="Testers", starts=starts, **given)


@pytest.fixture
def registered() -> Iterator[Register]:
    """Registers a workflow with these starts; only the last one of a test is known."""
    known: list[Workflow] = []

    def register(*starts: Start, **more: Any) -> Workflow:
        while known:
            registry.forget(known.pop())
        known.append(registry.register(workflow(*starts, **more)))
        return known[0]

    yield register
    for one in known:
        registry.forget(one)


@pytest.fixture
def folder(tmp_path: Path, settings: Settings) -> Path:
    """A watched folder of the start `dropped`."""
    place = tmp_path / "watched"
    place.mkdir()
    settings.WATCHED_FOLDERS = {f"{NAME}/dropped": place}
    return place


@contextlib.contextmanager
def database_away() -> Iterator[None]:
    """Nobody answers where this thread looks for the database."""
    connection.close()
    kept = dict(connection.settings_dict)
    connection.settings_dict.update(HOST="127.0.0.1", PORT="9", OPTIONS={"connect_timeout": 1})
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict.clear()
        connection.settings_dict.update(kept)


def trigger() -> Trigger:
    return Trigger.objects.get(workflow=NAME)


def runs() -> list[Run]:
    return list(Run.objects.filter(workflow=NAME).order_by("pk"))


def first_event(run: Run) -> dict[str, Any]:
    data: dict[str, Any] = Event.objects.get(run=run, kind="started").data
    return data


def names(folder: Path) -> list[str]:
    """The files in a folder, without its folders."""
    return sorted(os.fsdecode(one.name) for one in folder.iterdir() if not one.is_dir() or one.is_symlink())
