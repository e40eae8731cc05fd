"""Which workflows exist: found in `workflows.py` of any installed app, as Django does with `admin.py`. No database.

Several versions of one name may be registered; runs keep theirs, new runs take the highest.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable

from django.utils.module_loading import autodiscover_modules

from runs.definitions import Workflow

_found: dict[tuple[str, int], tuple[Workflow, str]] = {}
_families: dict[str, Callable[[str, int], Workflow | None]] = {}
_twice: list[tuple[Workflow, str, str]] = []
_odd: list[tuple[object, str]] = []


def register(workflow: Workflow) -> Workflow:
    """Make a definition known. Registering other data under a known (name, version) is refused by a check, as is
    what is no workflow or has no name and version to find it by."""
    place = _caller()
    if not _can_be_found(workflow):
        _odd.append((workflow, place))
        return workflow
    key = (workflow.name, workflow.version)
    known = _found.get(key)
    if known and known[0] != workflow:
        _twice.append((workflow, known[1], place))
        return workflow
    _found[key] = (workflow, place)
    return workflow


def _can_be_found(given: object) -> bool:
    """Authors may not type-check."""
    return (
        isinstance(given, Workflow)
        and isinstance(given.name, str)
        and isinstance(given.version, int)
        and not isinstance(given.version, bool)
    )


def family(prefix: str, make: Callable[[str, int], Workflow | None]) -> None:
    """Workflows that nobody registers one by one: `make(name, version)` answers for every name with this prefix.

    They are found by `workflow` alone: lists and start forms do not know them.
    """
    _families[prefix] = make


def _caller() -> str:
    frame = inspect.stack()[2]
    return f"{frame.filename}:{frame.lineno}"


def discover() -> None:
    autodiscover_modules("workflows")


def workflow(name: str, version: int) -> Workflow | None:
    """That version, or None when it is gone (then a person is asked, law L10)."""
    found = _found.get((name, version))
    return found[0] if found else _of_a_family(name, version)


def _of_a_family(name: str, version: int) -> Workflow | None:
    made = (make(name, version) for prefix, make in _families.items() if name.startswith(prefix))
    return next(made, None)


def newest(name: str) -> Workflow | None:
    versions = [version for known, version in _found if known == name]
    return workflow(name, max(versions)) if versions else None


def all_newest() -> list[Workflow]:
    """The newest version of every workflow, by name."""
    found = (newest(name) for name in sorted({name for name, _ in _found}))
    return [workflow for workflow in found if workflow]


def versions() -> list[tuple[Workflow, str]]:
    """Every registered version with the place (file:line) that registered it."""
    return [_found[key] for key in sorted(_found)]


def registered_twice() -> list[tuple[Workflow, str, str]]:
    return list(_twice)


def unfindable() -> list[tuple[object, str]]:
    """What was registered and is no workflow, or has no name or version, with the place that registered it."""
    return list(_odd)


def forget(workflow: Workflow) -> Callable[[], None]:
    """Take a version away, as a deploy does; returns a function that puts it back. For tests."""
    entry = _found.pop((workflow.name, workflow.version))
    return lambda: _found.__setitem__((workflow.name, workflow.version), entry)
