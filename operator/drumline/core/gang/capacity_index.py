"""For one pod shape: how many copies every node and every topology domain can take, kept up step by step.

Where copies come in groups that must not leave a domain of some level (`Grouping`), a *unit* is such a domain, or a
node that is in none. Inside a unit every free copy counts. A unit as a whole, and whatever is coarser, counts what
makes whole groups.

A change of one node costs O(levels). Domains are kept ranked by free copies, among all of their level and
among their siblings, so that the best fit (the domain with the fewest copies that suffice) and the largest are
found without a search. Equal domains are told apart by their natural order, never by history: the same
capacity always gives the same answer.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from heapq import heapify, heappop, heappush
from typing import Final

from drumline.core.gang.feasibility import examine
from drumline.core.gang.topology import Hierarchy, Order, Path, order_of
from drumline.core.gang.types import EMPTY, Node, PodShape, Resources

Chain = tuple[tuple[Path, Order], ...]

KEPT: Final = "kept for a gang ahead in the queue"
ROOT: Final[Path] = ()


class Ranked:
    """Domains by free copies; those without any are left out.

    A heap for each number of copies holds its domains in natural order. Entries of domains that moved on are
    dropped when they come up, and a heap is rebuilt when most of it is such.
    """

    __slots__ = ("_copies", "_heaps", "_live", "_numbers")

    def __init__(self) -> None:
        self._copies: dict[Path, int] = {}
        self._heaps: dict[int, list[tuple[Order, Path]]] = {}
        self._live: Counter[int] = Counter()
        self._numbers: list[int] = []

    def fill(self, domains: Iterable[tuple[Path, Order, int]]) -> None:
        """Replace everything at once."""
        self._copies = {}
        self._heaps = {}
        for path, order, copies in domains:
            if copies > 0:
                self._copies[path] = copies
                self._heaps.setdefault(copies, []).append((order, path))
        for heap in self._heaps.values():
            heapify(heap)
        self._live = Counter({copies: len(heap) for copies, heap in self._heaps.items()})
        self._numbers = sorted(self._heaps)

    def put(self, path: Path, order: Order, copies: int) -> None:
        """Set a domain's free copies."""
        before = self._copies.pop(path, 0)
        if before:
            self._forget(before)
        if copies > 0:
            self._copies[path] = copies
            self._remember(copies, order, path)

    def best_fit(self, copies: int) -> Path | None:
        """The domain with the fewest free copies that suffice, else None."""
        i = bisect_left(self._numbers, max(1, copies))
        return self._first(self._numbers[i]) if i < len(self._numbers) else None

    def alone(self, path: Path) -> bool:
        """Whether no other domain has as many free copies as this one, which has some."""
        return self._live[self._copies[path]] == 1

    def largest(self) -> Path | None:
        """The domain with the most free copies, None if no domain has any."""
        return self._first(self._numbers[-1]) if self._numbers else None

    def most(self) -> int:
        """Free copies of the largest."""
        return self._numbers[-1] if self._numbers else 0

    def sufficient(self, copies: int) -> Iterator[Path]:
        """Every domain with at least so many free copies, fewest first, then in natural order."""
        for number in self._numbers[bisect_left(self._numbers, max(1, copies)) :]:
            heap = sorted(set(self._heaps[number]))
            yield from (path for _, path in heap if self._copies.get(path) == number)

    def _first(self, copies: int) -> Path:
        heap = self._heaps[copies]
        while self._copies.get(heap[0][1]) != copies:
            heappop(heap)
        return heap[0][1]

    def _forget(self, copies: int) -> None:
        self._live[copies] -= 1
        if not self._live[copies]:
            del self._live[copies], self._heaps[copies]
            del self._numbers[bisect_left(self._numbers, copies)]

    def _remember(self, copies: int, order: Order, path: Path) -> None:
        heap = self._heaps.get(copies)
        if heap is None:
            self._heaps[copies] = [(order, path)]
            insort(self._numbers, copies)
        else:
            heappush(heap, (order, path))
        self._live[copies] += 1
        if heap is not None and len(heap) > 4 * self._live[copies] + 16:
            live = {entry for entry in heap if self._copies.get(entry[1]) == copies}
            self._heaps[copies] = sorted(live)


@dataclass(frozen=True, slots=True)
class Grouping:
    """How many copies belong together, and the length of the paths of the domains that they must not leave."""

    size: int = 1
    depth: int = 0  # counts only where `size` is more than 1


SINGLE: Final = Grouping()


class ShapeIndex:
    """Free copies of one shape by node and by domain of one hierarchy."""

    def __init__(self, shape: PodShape, hierarchy: Hierarchy, grouping: Grouping = SINGLE) -> None:
        self.shape = shape
        self.hierarchy = hierarchy
        self.grouping = grouping
        self.seen = -1  # generation of the view that this index shows
        self._reset()

    def _reset(self) -> None:
        self.copies: dict[str, int] = {}  # by node
        self.usable = 0  # nodes with a free copy
        self.kept: dict[str, int] = {}  # copies of withheld nodes, which do not count above
        self.obstacles: Counter[str] = Counter()  # why nodes take none, with how many nodes
        self.sums: dict[Path, int] = {ROOT: 0}  # by domain
        self._loose: dict[Path, int] = {}  # by unit, parts of groups included
        self.nodes_in: Counter[Path] = Counter()  # by domain, whatever is free there
        self.chains: dict[str, Chain] = {}
        self._reasons: dict[str, str] = {}
        self._levels = [Ranked() for _ in range(self.depths)]  # by depth - 1
        self._children: dict[Path, Ranked] = {}

    @property
    def depths(self) -> int:
        """Length of a node's path."""
        return len(self.hierarchy.levels) + 1

    def rebuild(self, nodes: Iterable[Node], used: Mapping[str, Resources], withheld: frozenset[str]) -> None:
        """Examine every node anew."""
        self._reset()
        below: dict[Path, dict[Path, Order]] = {}
        for node in nodes:
            copies = self._enter(node, used.get(node.name, EMPTY), kept=node.name in withheld)
            self.copies[node.name] = copies
            self.usable += copies > 0
            self._spread(self.chains[node.name], copies)
            parent = ROOT
            for path, order in self.chains[node.name]:
                below.setdefault(parent, {})[path] = order
                parent = path
        for parent, domains in below.items():
            self.children(parent).fill((p, o, self.sums[p]) for p, o in domains.items())
        every = [entry for domains in below.values() for entry in domains.items() if entry[0][-1]]
        for depth, level in enumerate(self._levels, start=1):
            level.fill((p, o, self.sums[p]) for p, o in every if len(p) == depth)

    def update(self, name: str, node: Node | None, used: Resources, *, kept: bool) -> None:
        """Examine one node anew; None: it is gone."""
        chain = self.chains.get(name)
        if node is not None and chain == chain_of(self.hierarchy.path(node)):
            self._forget_reason(name)
            self.shift(name, self._examine(node, used, kept=kept) - self.copies[name])
            return
        if chain is not None:
            self._leave(name)
        if node is not None:
            copies = self._enter(node, used, kept=kept)
            self.copies[name] = 0
            self.shift(name, copies)

    def _enter(self, node: Node, used: Resources, *, kept: bool) -> int:
        chain = self.chains[node.name] = chain_of(self.hierarchy.path(node))
        self.nodes_in[ROOT] += 1
        for path, _ in chain:
            self.nodes_in[path] += 1
            self.sums.setdefault(path, 0)
        return self._examine(node, used, kept=kept)

    def _leave(self, name: str) -> None:
        self.shift(name, -self.copies[name])
        del self.copies[name]
        self.nodes_in[ROOT] -= 1
        for path, _ in self.chains.pop(name):
            self.nodes_in[path] -= 1
            if not self.nodes_in[path]:
                del self.nodes_in[path]
                self.sums.pop(path, None)
                self._loose.pop(path, None)
                self._children.pop(path, None)
        self._forget_reason(name)

    def _forget_reason(self, name: str) -> None:
        self.kept.pop(name, None)
        reason = self._reasons.pop(name, None)
        if reason is not None:
            self.obstacles[reason] -= 1

    def shift(self, name: str, delta: int) -> None:
        """Add `delta` free copies to a node and all its domains."""
        if not delta:
            return
        before = self.copies[name]
        self.copies[name] = after = before + delta
        self.usable += (after > 0) - (before > 0)
        chain = self.chains[name]
        first = self._spread(chain, delta)
        parent = chain[first - 1][0] if first else ROOT
        for depth in range(first, len(chain)):
            path, order = chain[depth]
            total = self.sums[path]
            self.children(parent).put(path, order, total)
            if path[-1]:
                self._levels[depth].put(path, order, total)
            parent = path

    def _spread(self, chain: Chain, delta: int) -> int:
        """Add free copies to the sums of a node's domains; the first place in the chain of which the sum changed."""
        unit = self._unit(chain)
        for place in range(len(chain) - 1, -1, -1):
            path = chain[place][0]
            if place == unit:
                loose = self._loose[path] = self._loose.get(path, 0) + delta
                delta = loose - loose % self.grouping.size - self.sums[path]
            if not delta:
                return place + 1
            self.sums[path] += delta
        self.sums[ROOT] += delta
        return 0

    def _unit(self, chain: Chain) -> int:
        """The place of a node's unit in its chain; -1 where copies come one by one."""
        if self.grouping.size == 1:
            return -1
        place = self.grouping.depth - 1
        return place if chain[place][0][-1] else len(chain) - 1

    @property
    def free(self) -> int:
        """Free copies in all, parts of groups included."""
        return self.sums[ROOT] if self.grouping.size == 1 else sum(self._loose.values())

    def unit_of(self, node: str) -> Path:
        """The domain that a group with a copy on this node must not leave."""
        chain = self.chains[node]
        return chain[self._unit(chain)][0]

    def room(self, unit: Path) -> int:
        """Free copies of a unit, parts of groups included."""
        return self._loose.get(unit, 0)

    def level(self, depth: int) -> Ranked:
        """All domains whose path has this length (1 = coarsest), except those without a name."""
        return self._levels[depth - 1]

    def children(self, domain: Path) -> Ranked:
        """The domains right below this one."""
        ranked = self._children.get(domain)
        if ranked is None:
            ranked = self._children[domain] = Ranked()
        return ranked

    def order(self, node: str) -> Order:
        """Sort key of a node along the topology."""
        return self.chains[node][-1][1]

    def _examine(self, node: Node, used: Resources, *, kept: bool) -> int:
        copies, obstacle = examine(node, self.shape, used)
        if kept and copies:
            self.kept[node.name] = copies
            copies, obstacle = 0, KEPT
        if obstacle:
            self._reasons[node.name] = obstacle
            self.obstacles[obstacle] += 1
        return copies


@lru_cache(maxsize=65536)
def chain_of(path: Path) -> Chain:
    """The domains of a path, coarse to fine, each with its sort key."""
    order = order_of(path)
    return tuple((path[:depth], order[:depth]) for depth in range(1, len(path) + 1))
