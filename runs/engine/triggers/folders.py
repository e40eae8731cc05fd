"""Starts a run for every file that is dropped into a watched folder. Where the folders lie, the settings say.

The start comes first, the move to done/ after it; the start key is made of the trigger, the content and the file's
name, so that neither a crash between the two nor a second process starts anything twice.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from django.conf import settings

from runs import dropped
from runs.canonical import told
from runs.dropped import Found, Place
from runs.engine import failpoints, starts, triggers
from runs.engine.triggers import AWAY
from runs.models import Trigger
from runs.starts_by import Folder

_log = logging.getLogger("opsconsole.folders")
A_WHILE = 5.0  # seconds that all folders together may take of one look
LONGEST_KEY = 200


def directory(workflow: str, start: Folder) -> Path | None:
    """Where this start's folder lies; None when the settings do not say."""
    return settings.WATCHED_FOLDERS.get(f"{workflow}/{start.name}")


def look(now: float | None = None, *, seconds: float = A_WHILE) -> int:
    """Take what is complete at `now` (seconds since the epoch), for a while; returns how many runs were started."""
    until = time.monotonic() + seconds
    return sum(_look_at(workflow, start, now, until) for workflow, start in triggers.of_kind(Folder))


def _look_at(workflow: str, start: Folder, now: float | None, until: float) -> int:
    path = directory(workflow, start)
    if path is None:
        return 0
    try:
        return _Watch(workflow, start, now or time.time(), until).look(path)
    except AWAY:
        raise
    except Exception:  # one folder that makes trouble must not keep the others waiting
        _log.exception("folder %s of %s", start.name, workflow)
        return 0


class _Watch:
    """One look at one folder."""

    def __init__(self, workflow: str, start: Folder, now: float, until: float) -> None:
        self._workflow = workflow
        self._start = start
        self._now = now
        self._until = until
        self._trigger: Trigger = triggers.row(workflow, start)

    def look(self, path: Path) -> int:
        started, trouble = 0, ""
        try:
            with Place(path) as place:
                for found in place.waiting(self._start.pattern):
                    try:
                        started += self._take(place, found)
                    except dropped.Gone:
                        continue
                    except dropped.Later as why:
                        trouble = why.sentence if self._worth_saying(found) else trouble
                    if time.monotonic() > self._until:
                        break
        except dropped.Unusable as why:
            trouble = why.sentence
        except (starts.Held, starts.IntakeFull) as why:  # nor would any other file start now
            trouble = why.sentence
        self._say(trouble)
        return started

    def _worth_saying(self, found: Found) -> bool:
        """That a file is still being written is no trouble; that its time lies far ahead is."""
        return found.complete(self._now) or found.changed_ns / 1e9 > self._now + 60

    def _say(self, trouble: str) -> None:
        if trouble:
            triggers.failed(self._trigger, trouble)
        else:
            triggers.well(self._trigger)

    def _take(self, place: Place, found: Found) -> int:
        """Start one file's run and move the file; 1 when the run is new."""
        try:
            content = place.read(found, most=self._start.most_bytes, now=self._now)
            started = self._started(place, found, content)
        except dropped.Wrong as why:
            self._refuse(place, found, why.sentence)
            return 0
        failpoints.hit("after_start_before_move")
        place.done(found)
        return started

    def _started(self, place: Place, found: Found, content: bytes) -> int:
        """Raises Wrong, Later, Held, IntakeFull."""
        key = _key(self._start, found.file, content)
        if triggers.known(self._workflow, key):
            return 0
        given = self._input(place, found, content)
        if not place.unchanged(found):
            raise dropped.Later(f"{found.file} is being changed.")
        try:
            begun = triggers.fire(self._workflow, self._start, given, key, file=found.file)
        except starts.BadInput as why:
            raise dropped.Wrong(_lines(why)) from why
        except (starts.NotStarted, *AWAY):
            raise
        except Exception as error:
            _log.exception("folder %s of %s: a file could not be started", self._start.name, self._workflow)
            raise dropped.Later(f"{found.file}: {triggers.words(error)}") from error
        return int(begun.created)

    def _input(self, place: Place, found: Found, content: bytes) -> Mapping[str, Any]:
        if self._start.input is None:
            return _json(content)
        try:
            return self._start.input(place.path / found.file)
        except AWAY:
            raise
        except OSError as error:
            raise dropped.Later(f"{found.file}: {told(error)}") from error
        except Exception as error:
            raise dropped.Wrong(f"No input can be made of this file: {triggers.words(error)}") from error

    def _refuse(self, place: Place, found: Found, why: str) -> None:
        place.refuse(found, why)
        first = why.splitlines()[0]
        triggers.refused(self._trigger, first)
        _log.warning("folder %s of %s refused a file: %s", self._start.name, self._workflow, first)


def _json(content: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as why:
        raise dropped.Wrong("This is not UTF-8 text.") from why
    except (ValueError, RecursionError) as why:
        raise dropped.Wrong(f"This is not JSON: {why}.") from why
    if not isinstance(value, dict):
        raise dropped.Wrong("This is not a JSON object.")
    return value


def _lines(why: starts.BadInput) -> str:
    return "\n".join(f"{path or 'input'}: {message}" for path, message in why.errors)


def _key(start: Folder, file: str, content: bytes) -> str:
    """Trigger, content, name. A name for which the key has no room is in it by its digest."""
    begins = f"folder:{start.name}:{sha256(content).hexdigest()}:"
    if len(begins) + len(file) <= LONGEST_KEY:
        return begins + file
    return f"{begins}{sha256(os.fsencode(file)).hexdigest()}"
