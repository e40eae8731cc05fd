"""What an attempt has to know at its beginning, asked once: which calls of its step were sent before, by key, and which
limits hold now. Says nothing of how calls ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from runs.models import Call, CallState

_BEGUN = """
    SELECT NULL, NULL, coalesce((SELECT number FROM runs_limitedition WHERE id = 1), 0), clock_timestamp()
    UNION ALL SELECT key, replayable, NULL, NULL FROM runs_call WHERE step_id = %s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A tool call with its outcome: what was asked and answered, as JSON; no answer: empty."""

    name: str
    request: str
    answer: str


@dataclass(slots=True, kw_only=True)
class _Begun:
    edition: int
    moment: datetime
    keys: set[str]
    replayable: set[str]


class Sent:
    """Only the attempt that holds the lease may send for its step, so a key that was not there at its beginning and
    that it has not used is not there: of such a call nobody need ask the database."""

    __slots__ = ("_begun", "_tools", "_whole")

    def __init__(self) -> None:
        self._begun: _Begun | None = None
        self._whole = True
        self._tools: dict[int, Answered] = {}

    def may_have(self, step_id: int, key: str) -> bool:
        """Whether there may be a record that can be replayed."""
        return key in self._known(step_id).replayable

    def was_sent(self, step_id: int, key: str) -> bool:
        """Whether such a call was permitted before, whatever came of it."""
        return key in self._known(step_id).keys

    def edition(self, step_id: int) -> int:
        """The number of the last change of any limit, when the attempt began."""
        return self._known(step_id).edition

    def moment(self, step_id: int) -> datetime:
        """When the attempt began to ask, by PostgreSQL's clock."""
        return self._known(step_id).moment

    @property
    def tools(self) -> list[Answered] | None:
        """The step's tool calls that have an outcome, as they were permitted; None when there may be others."""
        if not self._whole:
            return None
        return [self._tools[number] for number in sorted(self._tools)]

    def ended(self, call: Call, request: str) -> None:
        """A tool call was recorded, as this attempt knows it."""
        if call.state in (CallState.DONE, CallState.FAILED):
            answer = call.response.content if call.response is not None else ""
            self._tools[call.pk] = Answered(name=call.name, request=request, answer=answer)

    def unsure(self) -> None:
        """Somebody else may have said how a call ended."""
        self._whole = False

    def uses(self, key: str) -> None:
        if self._begun is not None:
            self._begun.keys.add(key)
            self._begun.replayable.add(key)

    def _known(self, step_id: int) -> _Begun:
        if self._begun is None:
            with connection.cursor() as cursor:
                cursor.execute(_BEGUN, [step_id])
                found = cursor.fetchall()
            sent = [row for row in found if row[0] is not None]
            self._whole = self._whole and not sent
            edition, moment = next(row[2:] for row in found if row[0] is None)
            self._begun = _Begun(
                edition=edition,
                moment=moment,
                keys={row[0] for row in sent},
                replayable={row[0] for row in sent if row[1]},
            )
        return self._begun
