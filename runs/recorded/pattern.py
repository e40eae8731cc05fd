"""The pattern of a recorded run: data alone. Every step is planned when the run starts, so nothing is decided later."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runs.definitions import Node
    from runs.patterns import Way


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One step a recorded item, in their order, each at a place named after who acted. `item` is what each does."""

    item: Node

    @property
    def nodes(self) -> tuple[Node, ...]:
        return (self.item,)

    @property
    def ways(self) -> tuple[Way, ...]:
        return ()

    def node(self, name: str) -> Node:
        """The place of that name: any name is one, since the recording says who acted, not the definition."""
        return replace(self.item, name=name)
