"""The list of workflows and the page of one version, with the parts that count runs. Reads only.

A definition is shown as it is installed in this process; what only runs know of is said to be gone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from runs.definitions import Workflow
from runs.models import Run
from runs.shown import catalogue, described, differences, listing, rehearsed, triggers
from runs.shown.catalogue import Known, Version
from runs.shown.described import Works
from runs.shown.drawing import Place, Sketch, from_top, sketch, work_of
from runs.shown.listing import Wanted
from runs.shown.passages import passages

OLDER = 4  # older versions named in the list
AGENTS = 6  # agents named in the list
NEWEST = 20  # runs named on the page of a recorded workflow
OPEN = 8  # so many nodes or contracts are unfolded from the start


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A row of the list, and the rows of its older versions that are worth one."""

    known: Known
    pattern: str
    sentence: str
    agents: tuple[Works, ...]
    more_agents: int
    starts: tuple[str, ...]
    older: tuple[Version, ...]
    left_out: int


@require_safe
def workflows(request: HttpRequest) -> HttpResponse:
    """Every workflow by name, its newest version first."""
    return render(request, "runs/workflows.html", _list_context() | {"place": "workflows"})


@require_safe
def listed(request: HttpRequest) -> HttpResponse:
    """The list alone."""
    return render(request, "runs/_workflows.html", _list_context())


@require_safe
def workflow(request: HttpRequest, name: str, version: int | None = None) -> HttpResponse:
    """One version; without a number the newest."""
    known, shown = _found(name, version)
    context = _versions_context(known, shown) | {"place": "workflows"}
    if shown.definition is None:
        return render(request, "runs/workflow.html", context)
    return render(request, "runs/workflow.html", context | _definition_context(known, shown.definition))


@require_safe
def versions(request: HttpRequest, name: str, version: int) -> HttpResponse:
    """The versions of a workflow with their runs, alone."""
    known, shown = _found(name, version)
    return render(request, "runs/_workflow_versions.html", _versions_context(known, shown))


def _found(name: str, number: int | None) -> tuple[Known, Version]:
    """Raises Http404."""
    known = catalogue.one(name)
    if known is None:
        raise Http404(f"There is no workflow {name!r}.")
    shown = known.newest if number is None else known.version(number)
    if shown is None:
        raise Http404(f"There is no version {number} of {name}, and no run knows one.")
    return known, shown


def _list_context() -> dict[str, Any]:
    return {"rows": [_listed(known) for known in catalogue.everything()]}


def _listed(known: Known) -> Listed:
    definition = known.newest.definition
    agents = described.agents(definition) if definition else ()
    worth = [one for one in known.older if one.definition or one.runs]
    worth.sort(key=lambda one: (not one.gone, not one.going, -one.number))
    return Listed(
        known=known,
        pattern=described.pattern_name(definition) if definition else "",
        sentence=described.pattern(definition) if definition else "",
        agents=agents[:AGENTS],
        more_agents=max(0, len(agents) - AGENTS),
        starts=tuple(f"{one.kind} {one.name}" for one in definition.starts) if definition else (),
        older=tuple(worth[:OLDER]),
        left_out=max(0, len(worth) - OLDER),
    )


def _versions_context(known: Known, shown: Version) -> dict[str, Any]:
    return {"known": known, "shown": shown, "is_newest": shown is known.newest}


def _definition_context(known: Known, definition: Workflow) -> dict[str, Any]:
    drawn, column = sketch(definition), from_top(definition)
    stations = described.stations(definition)
    lines = passages(definition)
    changed = _differences(known, definition)
    return {
        "workflow": definition,
        "pattern": described.pattern_name(definition),
        "sentence": described.pattern(definition),
        "drawn": drawn,
        "places": _places(definition, drawn) if drawn else (),
        "column": column,
        "column_places": _places(definition, column) if column else (),
        "said": f"{definition.name} v{definition.version}: {described.pattern(definition)}",
        "recorded_runs": _newest_runs(definition) if definition.recorded else (),
        "stations": stations,
        "nodes_open": len(stations) <= OPEN,
        "passages": lines,
        "passages_open": len(lines) <= OPEN,
        "limits": described.limits(definition),
        "triggers": triggers.triggers_of(definition.name) if known.newest.definition is definition else [],
        "differences": changed,
        "policies": rehearsed.tried(changed.policies) if changed else (),
    }


def _newest_runs(definition: Workflow) -> tuple[Run, ...]:
    wanted = Wanted(workflow=definition.name, version=definition.version)
    return listing.page(wanted, NEWEST).runs


def _places(definition: Workflow, drawn: Sketch) -> tuple[Place, ...]:
    numbers = {node.name: number for number, node in enumerate(definition.nodes, 1)}
    return tuple(
        Place(
            box=box,
            name=box.name,
            under=work_of(definition.node(box.name)),
            href=f"#node-{numbers[box.name]}",
        )
        for box in drawn.boxes
    )


def _differences(known: Known, definition: Workflow) -> differences.Differences | None:
    """Against the next older version that is installed."""
    older = (one.definition for one in known.versions if one.number < definition.version)
    before = next((one for one in older if one is not None), None)
    return differences.between(before, definition) if before else None
