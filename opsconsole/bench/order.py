"""What one benchmark is asked to do, as it travels from the command to its processes. Starts nothing."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from opsconsole.bench.figures import Figures


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """`n` replaces the benchmark's own count (runs, decisions, stops, sizes); 0 leaves it."""

    bench: str
    folder: Path
    rounds: int = 3
    n: int = 0
    load1: float = 0.0
    port: int = 0

    def text(self) -> str:
        """For a command line; see `parse`."""
        return json.dumps({**asdict(self), "folder": str(self.folder)})

    def tell(self, figures: Figures) -> None:
        """Keep one object; the command prints it."""
        with self._results.open("a") as file:
            file.write(replace(figures, load1=round(self.load1, 2)).line() + "\n")

    def told(self) -> list[Figures]:
        """Everything kept so far."""
        if not self._results.exists():
            return []
        return [Figures(**json.loads(line)) for line in self._results.read_text().splitlines()]

    @property
    def _results(self) -> Path:
        return self.folder / "figures.jsonl"

    @property
    def stamps(self) -> Path:
        """The socket to which workflows say when their code starts."""
        return self.folder / "stamps.sock"


def parse(text: str) -> Order:
    given = json.loads(text)
    return Order(**{**given, "folder": Path(given["folder"])})
