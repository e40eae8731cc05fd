"""Which layer and row every place of a drawing has. Pure graph theory: knows no coordinates.

Layers by the longest way from a beginning, ways back left out; order within a layer by the mean place of the
neighbours (Sugiyama's method in short). A line over several layers passes through a waypoint in each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

_SWEEPS = 4

Way = tuple[str, str]
Slot = str | tuple[str, str, int]  # a place, or the waypoint of a way in a layer


def without_cycles(names: Sequence[str], ways: Sequence[Way]) -> tuple[list[Way], list[Way]]:
    """The ways that lead on, and those that lead back to a place still being walked through."""
    onward: dict[str, list[str]] = {name: [] for name in names}
    for source, target in ways:
        onward[source].append(target)
    done: set[str] = set()
    back: set[Way] = set()
    for start in names:
        _walk(start, onward, done, back)
    return [way for way in ways if way not in back], [way for way in ways if way in back]


def _walk(start: str, onward: Mapping[str, list[str]], done: set[str], back: set[Way]) -> None:
    """Depth first without recursion: a workflow may be longer than Python's stack is deep."""
    if start in done:
        return
    path, walking = [(start, iter(onward[start]))], {start}
    while path:
        name, targets = path[-1]
        target = next(targets, None)
        if target is None:
            path.pop()
            walking.discard(name)
            done.add(name)
        elif target in walking:
            back.add((name, target))
        elif target not in done:
            walking.add(target)
            path.append((target, iter(onward[target])))


def layers(names: Sequence[str], forward: Sequence[Way]) -> dict[str, int]:
    """The longest way from a beginning to each name, counted in steps."""
    layer = dict.fromkeys(names, 0)
    for _ in names:
        moved = False
        for source, target in forward:
            if layer[target] <= layer[source]:
                layer[target] = layer[source] + 1
                moved = True
        if not moved:
            break
    return layer


def rows(names: Sequence[str], forward: Sequence[Way], layer: Mapping[str, int]) -> dict[Slot, int]:
    """A row for every place and waypoint, so that few lines cross."""
    columns: list[list[Slot]] = [[] for _ in range(max(layer.values(), default=0) + 1)]
    for name in names:
        columns[layer[name]].append(name)
    near: dict[Slot, list[Slot]] = {}
    for way in forward:
        passed = chain(way, layer)
        for slot in passed[1:-1]:
            columns[layer_of(slot, layer)].append(slot)
        for left, right in pairwise(passed):
            near.setdefault(right, []).append(left)
            near.setdefault(left, []).append(right)
    for _ in range(_SWEEPS):
        places = {slot: float(row) for column in columns for row, slot in enumerate(column)}
        for column in columns:
            column.sort(key=lambda slot, places=places: _mean(slot, near, places))  # type: ignore[misc]
    return {slot: row for column in columns for row, slot in enumerate(column)}


def chain(way: Way, layer: Mapping[str, int]) -> list[Slot]:
    """The slots a line passes through, one a layer, with its two places."""
    source, target = way
    waypoints = [(source, target, place) for place in range(layer[source] + 1, layer[target])]
    return [source, *waypoints, target]


def layer_of(slot: Slot, layer: Mapping[str, int]) -> int:
    return layer[slot] if isinstance(slot, str) else slot[2]


def _mean(slot: Slot, near: Mapping[Slot, list[Slot]], places: Mapping[Slot, float]) -> float:
    neighbours = near.get(slot, [])
    if not neighbours:
        return places[slot]
    return sum(places[one] for one in neighbours) / len(neighbours)
