"""Reads from the environment up to which value one admin may raise a limit alone. Every bad value is one sentence."""

from __future__ import annotations

import os
from collections.abc import Mapping

from opsconsole.environment import Refused
from runs.limits import written
from runs.limits.kinds import LimitKind, Window

Amounts = dict[tuple[LimitKind, Window], int | None]


def above(env: Mapping[str, str] = os.environ) -> Amounts:
    """OPSCONSOLE_SECOND_ADMIN_ABOVE="cost/day=$100, turns/run=50, retries/run=any"; what it does not name keeps the
    amount of the table of kinds, and None is any amount. Raises Refused."""
    try:
        return written.amounts(env.get("OPSCONSOLE_SECOND_ADMIN_ABOVE", ""))
    except written.Wrong as why:
        raise Refused(f"OPSCONSOLE_SECOND_ADMIN_ABOVE: {why.errors[0][1]}") from why
