"""Performing one attempt: the node's function, or the agent's loop of calls. Holds no transaction, routes nothing."""

from __future__ import annotations

import logging
from typing import Any

from django.db import connection
from pydantic import BaseModel, ValidationError

from runs import bodies
from runs.canonical import tame, told
from runs.definitions import Agent, RefusedOutput
from runs.engine import agent_turns, contracts, isolated, noted, played, verifying
from runs.engine.away import away
from runs.engine.claimed import Claimed
from runs.engine.outcomes import (
    Asked,
    Blocked,
    Cut,
    CutInFlight,
    Later,
    Lost,
    Outcome,
    Park,
    Refused,
    failed,
)
from runs.engine.worker.flights import Flight
from runs.errors import StepError, broken
from runs.recorded.items import Item

_log = logging.getLogger("opsconsole.perform")


def perform(claimed: Claimed, flight: Flight) -> Outcome:
    """Perform a claimed attempt and say how it ended. Never raises."""
    outcome = _outcome(claimed, flight)
    if not isinstance(outcome, Lost):
        _note_slow(claimed)
    return outcome


def _note_slow(claimed: Claimed) -> None:
    try:
        noted.slow(claimed)
    except Exception:  # what people are only told of must not cost the attempt its outcome
        _log.exception("how long step %s took is not told", claimed.step.pk)
        connection.close()


def _outcome(claimed: Claimed, flight: Flight) -> Outcome:
    try:
        flight.check()
        return _performed(claimed, flight, _given(claimed))
    except Park as park:
        return Asked(asking=park.asking)
    except Blocked as blocked:
        return Later(refusal=blocked.refusal)
    except (CutInFlight, Refused) as cut:
        return Lost(why=cut.why) if cut.lost else Cut(why=cut.why)
    except BaseException as error:  # SystemExit too: one step must not end a worker
        return _nobody_knows(error) if away(error) else failed(error)


def _nobody_knows(error: BaseException) -> Lost:
    """Not the attempt's fault, and how much of it is on record is unknown: left to whoever claims it next."""
    connection.close()
    return Lost(why=f"the database could not be reached: {told(error)}")


def _given(claimed: Claimed) -> BaseModel:
    """What the work is given: the step's input, or for a repair or a verifier what was refused."""
    if not claimed.stand_in.refused:
        return _input(claimed)
    before = claimed.step.attempts.select_related("rejected_output").filter(number__lt=claimed.attempt.number)
    if claimed.node.verifies:  # the claims that a person sent back, also those of its own earlier attempt
        failed = before.filter(rejected_output__isnull=False).order_by("-number").first()
    else:  # not its own earlier attempts: one that could not be made now is made again from the same
        failed = before.exclude(by=claimed.attempt.by).order_by("-number").first()
    return RefusedOutput(
        input=bodies.load(claimed.step.input),
        output=bodies.load(failed.rejected_output) if failed and failed.rejected_output else None,
        error=failed.error if failed else "",
        where=failed.error_where if failed else "",
    )


def _input(claimed: Claimed) -> BaseModel:
    try:
        return claimed.node.takes.model_validate_json(claimed.step.input.content)
    except ValidationError as error:
        raise broken(error, "input") from error


def _performed(claimed: Claimed, flight: Flight, given: BaseModel) -> Outcome:
    connection.close()  # nothing of the database is held while work goes on
    if claimed.node.verifies:
        return verifying.perform(claimed, flight, given)
    work = claimed.work
    if isinstance(work, Agent):
        return agent_turns.perform(claimed, flight, work, given)
    if isinstance(given, Item):
        return _checked(claimed, played.play(claimed, flight, given))
    if claimed.node.isolated and not claimed.stand_in.refused:
        return _checked(claimed, isolated.perform(claimed, flight, work, given))
    return _checked(claimed, work(given))


def _checked(claimed: Claimed, value: Any) -> Outcome:
    """A function's output, checked. What breaks a contract is shown to whoever mends it."""
    try:
        return contracts.output_of(claimed, value)
    except StepError as error:
        return failed(error, rejected=tame(value))
