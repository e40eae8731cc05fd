"""What the commands that read recorded runs have in common: their file, and what the owners of its tools declare. Reads
no run.
"""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

from django.core.management.base import BaseCommand, CommandError

from runs.recorded import toolsets
from runs.recorded.toolsets import Toolsets


def declared(file: Path, given: Path | None = None) -> Toolsets | None:
    """The toolsets of the file that was given, else of toolsets.json beside `file`; None when there is none.

    Raises CommandError when it cannot be used.
    """
    path = given or beside(file)
    if given is None and not path.exists():
        return None
    try:
        return toolsets.load(path)
    except toolsets.WrongToolsets as why:
        raise CommandError(str(why)) from why


def beside(file: Path) -> Path:
    """Where the toolsets of a file stand, if anywhere."""
    return file.with_name("toolsets.json")


class OnRecordings(BaseCommand):
    """A command about one file of recorded runs."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE", help="JSON Lines, plain or gzip")
        parser.add_argument(
            "--toolsets",
            type=Path,
            metavar="PATH",
            help="what the tools' owners declare; default: toolsets.json beside FILE, if there is one",
        )

    def toolsets_of(self, file: Path, given: Path | None, *, without: str) -> Toolsets:
        """What is declared, its complaints said; `without` is what counts when nothing is, as a clause."""
        found = declared(file, given)
        if found is None:
            self.say(f"No {beside(file)}: {without}.")
            return Toolsets()
        for complaint in found.complaints:
            self.say(complaint)
        return found

    def say(self, sentence: str) -> None:
        """To whoever watches, beside what is printed."""
        self.stderr.write(sentence, style_func=lambda text: text)
