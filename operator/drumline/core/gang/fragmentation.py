"""Fragmentation: how much of what is free is of no use to a gang that asks for a whole domain.

Of one accelerator type and one level of the topology:

    fragmentation = 1 - W / F

F are the free chips of the type; W are those of them in domains of which every chip is free. A domain of which a chip
is used, reserved or broken has no part in W, nor has a free chip in no domain of the level. 0: every free chip is in a
domain that is free as a whole; 1: no such domain is left. It is undefined while nothing is free.

The measure is that of Weng et al. (Beware of Fragmentation, USENIX ATC 2023): the share of free accelerators that a
given task can't be allocated. Theirs is the mean over the tasks of a workload; here the task is a gang of the size of
a domain, for each level one, so that the figure depends on no workload.

Kept up node by node: a change of one costs O(levels).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from drumline.core.gang.topology import NODE_LEVEL, Hierarchy, Path


@dataclass(frozen=True, slots=True)
class LevelFragments:
    """Free chips of a type, and those of them in domains of a level that are free as a whole."""

    level: str
    free: int
    whole: int

    @property
    def ratio(self) -> float | None:
        """The fragmentation, from 0 to 1; None while nothing is free."""
        return 1 - self.whole / self.free if self.free else None


@dataclass(slots=True)
class _Domain:
    total: int = 0
    free: int = 0
    nodes: int = 0

    @property
    def whole(self) -> int:
        return self.free if self.free == self.total else 0


@dataclass(frozen=True, slots=True)
class _Place:
    path: Path
    total: int
    free: int


@dataclass(slots=True)
class Fragments:
    """The nodes of one accelerator type in one hierarchy."""

    hierarchy: Hierarchy
    free: int = 0
    _places: dict[str, _Place] = field(default_factory=dict)
    _domains: dict[Path, _Domain] = field(default_factory=dict)
    _whole: dict[int, int] = field(default_factory=dict)  # by length of the path
    _shared: dict[int, int] = field(default_factory=dict)  # domains of several nodes, likewise

    def put(self, node: str, path: Path, total: int, free: int) -> None:
        """A node has so many chips, of which so many are free. `path` as of `Hierarchy.path`."""
        place = _Place(path, total, free)
        before = self._places.get(node)
        if before == place:
            return
        if before is not None:
            self._shift(before, -1)
        self._places[node] = place
        self._shift(place, 1)

    def drop(self, node: str) -> None:
        """A node went."""
        place = self._places.pop(node, None)
        if place is not None:
            self._shift(place, -1)

    def levels(self) -> tuple[LevelFragments, ...]:
        """Coarse to fine, the node last. Levels are left out of which no domain has several nodes."""
        depths = range(1, len(self.hierarchy.levels) + 1)
        shown = [depth for depth in depths if self._shared.get(depth)]
        found = [
            LevelFragments(self.hierarchy.level_name(d), self.free, self._whole.get(d, 0)) for d in shown
        ]
        node = LevelFragments(NODE_LEVEL, self.free, self._whole.get(len(self.hierarchy.levels) + 1, 0))
        return (*found, node)

    def _shift(self, place: _Place, sign: int) -> None:
        self.free += sign * place.free
        for depth in range(1, len(place.path) + 1):
            path = place.path[:depth]
            if not path[-1]:
                continue
            domain = self._domains.setdefault(path, _Domain())
            self._whole[depth] = self._whole.get(depth, 0) - domain.whole
            shared = domain.nodes > 1
            domain.total += sign * place.total
            domain.free += sign * place.free
            domain.nodes += sign
            self._whole[depth] += domain.whole
            self._shared[depth] = self._shared.get(depth, 0) + (domain.nodes > 1) - shared
            if not domain.nodes:
                del self._domains[path]
