"""The metric of fragmentation (defined in `core.gang.fragmentation`): of each accelerator type, level by level.

A scrape looks at every node once, and counts anew only those of which something changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from drumline.api.catalog import Catalog
from drumline.core.gang.capacity import Capacity
from drumline.core.gang.capacity_tree import fault_of, types_of
from drumline.core.gang.fragmentation import Fragments, LevelFragments
from drumline.core.gang.topology import NODE_LEVEL
from drumline.core.gang.types import Node
from drumline.runtime.metrics_text import Family

FRAGMENTATION: Final = Family(
    "drumline_accelerator_fragmentation_ratio",
    "gauge",
    "Share of the free chips outside domains of the level that are free as a whole.",
    ("accelerator", "level"),
)


class FragmentationMetrics:
    """Follows a capacity; `catalog` gives the catalogue in force."""

    def __init__(self, capacity: Capacity, catalog: Callable[[], Catalog]) -> None:
        self._capacity = capacity
        self._catalog = catalog
        self._forget(catalog())

    def lines(self) -> Iterator[str]:
        """The family with a sample for each type and level of which chips are free."""
        self._catch_up()
        yield FRAGMENTATION.head
        for kind in sorted(self._kinds):
            for level in self._levels(kind):
                if level.ratio is not None:
                    yield FRAGMENTATION.line((kind, level.level), f"{level.ratio:g}")

    def _forget(self, catalog: Catalog) -> None:
        self._known = catalog
        self._generation = -1
        self._nodes: dict[str, tuple[Node, list[tuple[str, str]]]] = {}  # with types and their resources
        self._kinds: dict[str, list[Fragments]] = {}  # one in each hierarchy
        self._free: dict[tuple[str, str], int] = {}  # by node and type

    def _levels(self, kind: str) -> tuple[LevelFragments, ...]:
        """Those of the first hierarchy that tells nodes of the type apart."""
        found = [fragments.levels() for fragments in self._kinds[kind]]
        return next((levels for levels in found if levels[0].level != NODE_LEVEL), found[-1])

    def _catch_up(self) -> None:
        if self._catalog() is not self._known:
            self._forget(self._catalog())
        if self._generation == self._capacity.now.generation:
            return
        self._generation = self._capacity.now.generation
        for name in self._nodes.keys() - self._capacity.nodes.keys():
            self._drop(name)
        for node in self._capacity.nodes.values():
            self._look_at(node)

    def _look_at(self, node: Node) -> None:
        known = self._nodes.get(node.name)
        if known is None or known[0] is not node:
            self._drop(node.name)
            known = self._nodes[node.name] = node, types_of(node, self._known)
        used = self._capacity.now.used(node.name)
        for kind, resource in known[1]:
            total = node.allocatable[resource]
            free = 0 if fault_of(node) else max(0, total - used.get(resource, 0))
            if self._free.get((node.name, kind)) == free:
                continue
            self._free[node.name, kind] = free
            for fragments in self._of(kind):
                fragments.put(node.name, fragments.hierarchy.path(node), total, free)

    def _of(self, kind: str) -> list[Fragments]:
        if kind not in self._kinds:
            self._kinds[kind] = [Fragments(hierarchy) for hierarchy in self._capacity.topology.hierarchies]
        return self._kinds[kind]

    def _drop(self, name: str) -> None:
        for kind, _ in self._nodes.pop(name, (None, []))[1]:
            del self._free[name, kind]
            for fragments in self._kinds[kind]:
                fragments.drop(name)
