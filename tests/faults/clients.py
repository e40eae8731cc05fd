"""Acts on a console as its people do, again and again, and keeps its own list of what it was told has happened.

    python -m tests.faults.clients LOG '{"starters": 2, "deciders": 1, "controllers": 1, "a_second": 10, "ms": 20}'

One JSON line an act, written after the act has returned or failed. An act that failed is done again with the same
key: nobody can know whether it happened. Ends when its standard input does. Asserts nothing.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import django

django.setup()

from django.contrib.auth.models import User  # noqa: E402
from django.db import connection  # noqa: E402

from escalations import claims, controls, decisions, starts  # noqa: E402
from escalations.expected import Refusal  # noqa: E402
from escalations.models import Escalation, EscalationState  # noqa: E402
from runs import live  # noqa: E402
from runs.models import Run  # noqa: E402

AGAIN_SECONDS = 0.2
PAYS_EVERY = 4  # one start in so many asks a person
TAKES_EVERY = 3  # one approval in so many is taken first
HOLD_EVERY_SECONDS, HELD_SECONDS = 1.0, 0.2
CONTROLS = ("engage", "release", "resume")
_over = threading.Event()
_write_lock = threading.Lock()


class Acts:
    """The log, and what one thread does for as long as it may."""

    def __init__(self, log: str, load: dict[str, Any]) -> None:
        self._log = os.open(log, os.O_WRONLY | os.O_APPEND)
        self._pause = load.get("starters", 2) / load.get("a_second", 10)
        self._piece = {"ms": int(load.get("ms", 20))}
        self._only = load.get("only", "")
        self._numbers = itertools.count(int(load.get("first", 1)))
        self._turns = itertools.count()
        self._refused = False  # the last act of the one thread that controls

    def start(self) -> None:
        number = next(self._numbers)
        workflow = self._only or ("load_pays" if number % PAYS_EVERY == 0 else "load_chain")
        key = f"load-{number}"
        given = {"number": number, **self._piece}

        def act() -> dict[str, Any]:
            started = starts.start_run(actor=_operator(), workflow=workflow, raw_input=given, start_key=key)
            return {"run": started.run.pk, "workflow": workflow}

        begun = time.monotonic()
        while not self._tried("start", key, act) and not _over.wait(AGAIN_SECONDS):
            continue
        _over.wait(max(0.0, self._pause - (time.monotonic() - begun)))

    def decide(self) -> None:
        def look() -> list[int]:
            waiting = Escalation.objects.filter(state=EscalationState.OPEN, run__workflow="load_pays")
            return list(waiting.order_by("pk").values_list("pk", flat=True)[:20])

        for pk in _unless_away(look) or ():
            if pk % TAKES_EVERY == 0:
                self._take(pk)
            self._approve(pk)
        _over.wait(AGAIN_SECONDS)

    def _take(self, pk: int) -> None:
        def act() -> dict[str, Any]:
            taken = claims.take(actor=_operator(), escalation_id=pk)
            return {"escalation": taken.pk, "by": "operator"}

        self._tried("take", str(pk), act)

    def control(self) -> None:
        """Pause or stop something for a moment. Begun, it is brought to its end: nobody else would release it."""
        number = next(self._turns)
        runs = _unless_away(_going)
        if runs:
            last = str(runs[-1])
            kind, scope_kind, scope = (
                ("stop", "run", last),
                ("pause", "workflow", "load_pays"),
                ("stop", "workflow", "load_chain"),
                ("pause", "run", last),
            )[number % 4]
            self._hold(kind, scope_kind, scope)
        _over.wait(HOLD_EVERY_SECONDS)

    def _hold(self, kind: str, scope_kind: str, scope: str) -> None:
        held: dict[str, Any] = {}

        def engage() -> dict[str, Any]:
            control = controls.engage(actor=_operator(), kind=kind, scope_kind=scope_kind, scope=scope)
            held.update(control=control.pk, kind=kind, scope_kind=scope_kind, scope=scope)
            return held

        def release() -> dict[str, Any]:
            controls.release(actor=_operator(), control_id=held["control"], reason="seen")
            return {"control": held["control"]}

        if not self._until_said("engage", f"{kind} {scope_kind} {scope}", engage):
            return
        time.sleep(HELD_SECONDS)
        self._until_said("release", str(held["control"]), release)
        for run_id in _patiently(lambda: _stopped(held["control"])) if kind == "stop" else ():
            self._until_said("resume", str(run_id), lambda run_id=run_id: _resume(run_id))  # type: ignore[misc]

    def _until_said(self, act: str, key: str, do: Callable[[], dict[str, Any]]) -> bool:
        """Whatever is away meanwhile: until it is acknowledged, or refused because it has happened already."""
        while not self._tried(act, key, do):
            if self._refused:
                return False
            time.sleep(AGAIN_SECONDS)
        return True

    def _approve(self, pk: int) -> None:
        def act() -> dict[str, Any]:
            shown = Escalation.objects.get(pk=pk)
            decision = decisions.approve(
                actor=_operator(), escalation_id=pk, version=shown.version, digest=shown.digest, reason="seen"
            )
            return {"decision": decision.pk, "run": shown.run_id, "question": shown.question_id}

        self._tried("approve", str(pk), act)

    def _tried(self, act: str, key: str, do: Callable[[], dict[str, Any]]) -> bool:
        begun = time.time()
        try:
            said = {"ok": True, **do()}
        except Refusal as why:
            said = {"ok": False, "refused": why.sentence}
        except Exception as error:
            said = {"ok": False, "error": type(error).__name__}
            connection.close()
        if act in CONTROLS:
            self._refused = "refused" in said
        line = {"act": act, "key": key, "at": begun, "took": round(time.time() - begun, 4), **said}
        with _write_lock:
            os.write(self._log, json.dumps(line).encode() + b"\n")
        return bool(said["ok"]) or ("refused" in said and act == "approve")


def _operator() -> User:
    return User.objects.get(username="operator")


def _going() -> list[int]:
    active = Run.objects.filter(workflow="load_chain").exclude(state__in=("done", "failed", "ended"))
    return list(active.order_by("pk").values_list("pk", flat=True)[:20])


def _stopped(control_id: int) -> list[int]:
    """What a stop, released now, has left behind."""
    left = Run.objects.filter(held_by=control_id, hold="stop").exclude(state__in=("done", "failed", "ended"))
    return list(left.order_by("pk").values_list("pk", flat=True))


def _resume(run_id: int) -> dict[str, Any]:
    controls.resume(actor=_operator(), run_id=run_id)
    return {"run": run_id}


def _patiently(look: Callable[[], list[int]]) -> list[int]:
    while (found := _unless_away(look)) is None:
        time.sleep(AGAIN_SECONDS)
    return found


def _unless_away(look: Callable[[], list[int]]) -> list[int] | None:
    try:
        return look()
    except Exception:
        connection.close()
        return None


def _go_on(act: Callable[[], None]) -> None:
    while not _over.is_set():
        act()
    connection.close()


def main() -> None:
    load = json.loads(sys.argv[2])
    acts = Acts(sys.argv[1], load)
    doing = [acts.start] * int(load.get("starters", 2)) + [acts.decide] * int(load.get("deciders", 1))
    doing += [acts.control] * int(load.get("controllers", 0))  # one at most: it remembers its last refusal
    threads = [threading.Thread(target=_go_on, args=(act,)) for act in doing]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    _over.set()
    for thread in threads:
        thread.join()
    live.flush()
    connection.close_pool()  # type: ignore[attr-defined]  # of the PostgreSQL backend


if __name__ == "__main__":
    main()
