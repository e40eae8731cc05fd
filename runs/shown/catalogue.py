"""Which workflows there are, installed or only known from runs, and how their runs ended. Reads only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from runs import registry
from runs.definitions import Workflow
from runs.models import RunState
from runs.models.run import ACTIVE
from runs.shown import tallies
from runs.shown.tallies import Counts

ORDER = tuple(RunState.values)  # under way first, then how they ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version of a workflow. `definition` is None when it is not installed; `runs` counts them by state, each at
    most as far as pages count."""

    name: str
    number: int
    definition: Workflow | None
    runs: Mapping[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return sum(self.runs.values())

    @property
    def going(self) -> int:
        """Runs that still need it."""
        return sum(self.runs.get(state, 0) for state in ACTIVE)

    @property
    def gone(self) -> bool:
        """Runs need it and cannot go on without it (law L10: they ask a person)."""
        return self.definition is None and self.going > 0

    @property
    def by_state(self) -> tuple[tuple[str, int], ...]:
        """Only the states that there are runs in."""
        return tuple((state, self.runs[state]) for state in ORDER if self.runs.get(state))


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A workflow by name, its versions from the newest down. There is always at least one."""

    name: str
    versions: tuple[Version, ...]
    team: str = ""

    @property
    def newest(self) -> Version:
        """The newest installed version; the newest that runs know when none is installed."""
        return next((one for one in self.versions if one.definition), self.versions[0])

    @property
    def older(self) -> tuple[Version, ...]:
        newest = self.newest
        return tuple(one for one in self.versions if one is not newest)

    @property
    def gone(self) -> tuple[Version, ...]:
        return tuple(one for one in self.versions if one.gone)

    def version(self, number: int) -> Version | None:
        return next((one for one in self.versions if one.number == number), None)


def everything() -> tuple[Known, ...]:
    """Every workflow by name, recorded ones last.

    One query, and one more where runs know names that are not installed.
    """
    return _known([workflow for workflow, _ in registry.versions()], tallies.by_kind())


def one(name: str) -> Known | None:
    """The workflow of that name; None when neither a definition nor a run knows it."""
    installed = [workflow for workflow, _ in registry.versions() if workflow.name == name]
    return next(iter(_known(installed, tallies.by_kind(name))), None)


def _known(installed: Iterable[Workflow], counted: Counts) -> tuple[Known, ...]:
    found: dict[tuple[str, int], Workflow | None] = {(one.name, one.version): one for one in installed}
    for name, number in counted:
        if (name, number) not in found:
            found[name, number] = registry.workflow(name, number)
    teams = _teams(found)
    by_name: dict[str, list[Version]] = {}
    for (name, number), definition in sorted(found.items(), key=_place):
        version = Version(
            name=name, number=number, definition=definition, runs=counted.get((name, number), {})
        )
        by_name.setdefault(name, []).append(version)
    return tuple(
        Known(name=name, versions=tuple(versions), team=teams.get(name, ""))
        for name, versions in by_name.items()
    )


def _place(one: tuple[tuple[str, int], Workflow | None]) -> tuple[bool, str, int]:
    """Recorded ones last: there are many of them, and nobody works on them."""
    (name, number), definition = one
    return definition is not None and definition.recorded, name, -number


def _teams(versions: Mapping[tuple[str, int], Workflow | None]) -> dict[str, str]:
    """The owner team by name: as the newest definition says, else as the newest run knows it."""
    found: dict[str, str] = {}
    for key in sorted(versions):
        definition = versions[key]
        if definition is not None:
            found[key[0]] = definition.team
    return found | dict(tallies.teams({name for name, _ in versions} - set(found)))
