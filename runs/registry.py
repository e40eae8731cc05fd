"""Which workflows exist: found in `workflows.py` of any installed app, as Django does with `admin.py`. No database.

Several versions of one name may be registered; runs keep theirs, new runs take the highest.
"""

from __future__ import annotations

import itertools
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from django.utils.module_loading import autodiscover_modules

from runs import definition_digest
from runs.code_digest import SourceChanged
from runs.definitions import Workflow


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What decides in a definition, as this process loaded it: its digest, and the digest's parts by name."""

    digest: str
    parts: Mapping[str, str]
    simulated: bool  # worked out once: it goes through every agent, and each start asks

    def of(self, workflow: Workflow, digest: str) -> bool:
        """Whether a run that began with that digest may go on here: the same content, or one that this one mends."""
        return digest == self.digest or any(digest.startswith(one) for one in workflow.replaces if one)


_found: dict[tuple[str, int], tuple[Workflow, str]] = {}
_families: dict[str, Callable[[str, int], Workflow | None]] = {}
_twice: list[tuple[Workflow, str, str]] = []
_odd: list[tuple[object, str]] = []
_loaded: dict[int, float] = {}  # by the definition's id: when it was registered
_contents: dict[int, tuple[Workflow, Content]] = {}  # the definition is held, so that its id stays its own
_reading = threading.Lock()
_changes = itertools.count(1)
_edition = 0


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
    _set(key, (workflow, place))
    _loaded[id(workflow)] = time.time()
    return workflow


def _set(key: tuple[str, int], entry: tuple[Workflow, str] | None) -> None:
    global _edition
    if entry is None:
        del _found[key]
    else:
        _found[key] = entry
    _edition = next(_changes)


def edition() -> int:
    """Another number once a version has been registered or taken away."""
    return _edition


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
    """Where `register` was called. `inspect.stack` reads the sources of all frames: a tenth of a second."""
    frame = sys._getframe(2)
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def discover() -> None:
    autodiscover_modules("workflows")


def workflow(name: str, version: int, content: str = "") -> Workflow | None:
    """That version, or None when it is gone (then a person is asked, law L10).

    `content`: the digest that a run began with; the version is gone as well when it is another one now.
    """
    found = _found.get((name, version))
    if found is None:
        return _of_a_family(name, version)
    return found[0] if not content or _is(found[0], content) else None


def _is(workflow: Workflow, digest: str) -> bool:
    try:
        return content(workflow).of(workflow, digest)
    except SourceChanged:
        return False


def content(workflow: Workflow) -> Content:
    """What decides in a definition. Worked out once a process, some milliseconds each.

    Raises SourceChanged when its files have been changed since this process loaded them.
    """
    known = _contents.get(id(workflow))
    if known is None:
        with _reading:
            known = _contents.setdefault(id(workflow), (workflow, _read(workflow)))
    return known[1]


def _read(workflow: Workflow) -> Content:
    parts = definition_digest.parts(workflow, since=_loaded.get(id(workflow), time.time()))
    digest = definition_digest.of_parts(workflow, parts)
    return Content(digest=digest, parts=parts, simulated=workflow.simulated)


def contents() -> list[str]:
    """The digests of every version that is registered here, with those that they mend. Readies them for later."""
    found: set[str] = set()
    for one, _ in versions():
        try:
            found |= {content(one).digest, *one.replaces}
        except SourceChanged:
            continue
    return sorted(found)


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
    key = (workflow.name, workflow.version)
    entry = _found[key]
    _set(key, None)
    return lambda: _set(key, entry)
