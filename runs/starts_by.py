"""What starts a workflow without a person: a schedule, a signed webhook, a watched folder. Frozen data, no effects.

Where a folder lies and what a webhook is signed with is no part of a definition: settings say it.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

Input = Mapping[str, Any]


class Kind(enum.StrEnum):
    SCHEDULE = "schedule"
    WEBHOOK = "webhook"
    FOLDER = "folder"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Starts a run at every moment of a cron expression: minute, hour, day of the month, month, day of the week.

    `input` is the run's input, or a function from the due moment (aware, in `timezone`) to it. Where days of the
    month and of the week are both given, either will do, as in every cron. How the change to and from summer time
    is taken stands in `runs.cron`.
    """

    kind: ClassVar[Kind] = Kind.SCHEDULE
    name: str
    cron: str
    input: Input | Callable[[datetime], Input]
    timezone: str = "UTC"

    @property
    def says(self) -> str:
        return f"{self.cron} ({self.timezone})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """Starts a run for every delivery to /hooks/WORKFLOW/NAME that is signed as Standard Webhooks says.

    `input` is a function from the payload (a JSON object) to the run's input; without it the payload is the input.
    It may be called again for the same delivery, so it only computes.
    """

    kind: ClassVar[Kind] = Kind.WEBHOOK
    name: str
    input: Callable[[dict[str, Any]], Input] | None = None

    @property
    def says(self) -> str:
        return "a signed delivery to its address"


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """Starts a run for every file that is put into a folder and has a name like `pattern`.

    The pattern is one as shells have them, or several with a space between; capitals make no difference.
    `input` is a function from the file's path to the run's input; without it the file is a JSON object that is the
    input. It may be called again for the same file, and the file moves to done/ after the start: what the run needs
    of it must be in the input, or put where the run finds it. Larger files than `most_bytes` are refused.
    """

    kind: ClassVar[Kind] = Kind.FOLDER
    name: str
    pattern: str = "*.json"
    input: Callable[[Path], Input] | None = None
    most_bytes: int = 1_000_000

    @property
    def says(self) -> str:
        return f"a file {self.pattern} in its folder"


Start = Schedule | Webhook | Folder
