"""Chip-seconds of a simulation: who held what for how long, what was free, and what of that was of no use.

At every instant a chip is held (reserved by a gang, whether it runs or waits for its restart), down (its node failed
and nobody holds it) or free. Of the free ones

- *split* are those on nodes of which another part is held: no gang of whole hosts can use them;
- *stranded* are those that no waiting gang could use: free chips less what the waiting kind of gang that fits
  on most of them could take in workers (on TPU: in whole pools). While nobody waits nothing is stranded.
- *fragmented*, of a level, are those outside domains that are free as a whole (`core.gang.fragmentation`).

A type is *contested* while a gang that wants it waits. Queues are compared over such times only (`core.sim.fairness`):
else each has what it asked for.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from drumline.core.gang.fragmentation import Fragments
from drumline.core.gang.topology import Hierarchy, Path
from drumline.core.sim.fairness import Fairness


@dataclass(slots=True)
class TypeAccount:
    """Of one accelerator type: chips at this moment, and chip-seconds so far."""

    total: int = 0
    held: int = 0
    free: int = 0
    split: int = 0
    stranded: int = 0
    contested: bool = False
    held_seconds: float = 0.0
    free_seconds: float = 0.0
    split_seconds: float = 0.0
    stranded_seconds: float = 0.0
    contested_free_seconds: float = 0.0
    fragments: Fragments | None = None
    whole_seconds: dict[str, float] = field(default_factory=dict)  # by level, coarse to fine

    @property
    def down(self) -> int:
        """On nodes that failed, held by nobody."""
        return self.total - self.held - self.free

    def advance(self, seconds: float) -> None:
        """So much time passes."""
        self.held_seconds += self.held * seconds
        self.free_seconds += self.free * seconds
        self.split_seconds += self.split * seconds
        for level in self.fragments.levels() if self.fragments is not None else ():
            self.whole_seconds[level.level] = self.whole_seconds.get(level.level, 0.0) + level.whole * seconds
        if self.contested:
            self.stranded_seconds += self.stranded * seconds
            self.contested_free_seconds += self.free * seconds


@dataclass(slots=True)
class _Holding:
    queue: str
    chips: Mapping[str, int]  # by node
    amount: int
    since: float


@dataclass(slots=True)
class Account:
    """Of all types, queues and gangs. `chips` = accelerator type and chips by node; `places` = where a node is."""

    chips: Mapping[str, tuple[str, int]]
    places: Mapping[str, tuple[Hierarchy, Path]] = field(default_factory=dict)
    now: float = 0.0
    types: dict[str, TypeAccount] = field(default_factory=lambda: defaultdict(TypeAccount))
    fairness: Fairness = field(default_factory=Fairness)
    held_by_gang: dict[str, float] = field(default_factory=lambda: defaultdict(float))  # chip-seconds
    history: list[tuple[float, int]] = field(default_factory=list)  # held chips of all types from a time on
    _well: set[str] = field(default_factory=set)
    _held: Counter[str] = field(default_factory=Counter)  # by node
    _of_queue: Counter[tuple[str, str]] = field(default_factory=Counter)  # (queue, type) → chips
    _holdings: dict[str, _Holding] = field(default_factory=dict)
    _holders: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def advance(self, now: float, wanted: Iterable[tuple[str, str]] = ()) -> None:
        """Time passes until `now`, while these queues want more: (queue, accelerator type)."""
        seconds = now - self.now
        self.now = now
        if seconds <= 0:
            return
        for of_type in self.types.values():
            of_type.advance(seconds)
        waiting: dict[str, set[str]] = {}
        for queue, name in wanted:
            waiting.setdefault(name, set()).add(queue)
        held: dict[str, dict[str, int]] = {name: {} for name in waiting}
        for (queue, name), amount in self._of_queue.items() if waiting else ():
            if name in held:
                held[name][queue] = amount
        for name, queues in waiting.items():
            self.fairness.advance(seconds, held[name], queues)

    def add_node(self, node: str, *, well: bool) -> None:
        """A node of the cluster, before anything happens."""
        name, total = self.chips[node]
        self.types[name].total += total
        if well:
            self._well.add(node)
        self._count(node, 1)

    def set_node(self, node: str, *, well: bool) -> None:
        """A node failed, or is well again."""
        self._count(node, -1)
        (self._well.add if well else self._well.discard)(node)
        self._count(node, 1)

    def hold(self, gang: str, queue: str, chips: Mapping[str, int]) -> None:
        """A gang holds these chips by node from now on, in place of what it held before."""
        self.release(gang)
        self._holdings[gang] = _Holding(queue, chips, sum(chips.values()), self.now)
        self._shift(gang, chips, queue, 1)

    def release(self, gang: str) -> None:
        """A gang holds nothing from now on."""
        holding = self._holdings.pop(gang, None)
        if holding is not None:
            self.held_by_gang[gang] += holding.amount * (self.now - holding.since)
            self._shift(gang, holding.chips, holding.queue, -1)

    def holders(self, node: str) -> list[str]:
        """The gangs that hold chips of a node, in order of their names."""
        return sorted(self._holders.get(node, ()))

    def holds(self, gang: str) -> bool:
        """Whether a gang holds anything."""
        return gang in self._holdings

    def used(self) -> Mapping[tuple[str, str], int]:
        """Chips that are held, by queue and accelerator type. Not to be changed."""
        return self._of_queue

    def holdings(self) -> Iterator[tuple[str, Mapping[str, int]]]:
        """Every gang that holds chips, with their number by node."""
        return ((gang, holding.chips) for gang, holding in self._holdings.items())

    @property
    def well(self) -> set[str]:
        """Nodes that are well. Not to be changed."""
        return self._well

    def free(self, node: str) -> int:
        """Free chips of a node."""
        return self.chips[node][1] - self._held[node] if node in self._well else 0

    def gang_seconds(self, gang: str) -> float:
        """Chip-seconds that a gang has held so far."""
        holding = self._holdings.get(gang)
        going = holding.amount * (self.now - holding.since) if holding is not None else 0.0
        return self.held_by_gang.get(gang, 0.0) + going

    def note(self) -> None:
        """Remember how much is held from now on."""
        held = sum(of_type.held for of_type in self.types.values())
        if self.history and self.history[-1][0] == self.now:
            self.history[-1] = self.now, held
        elif not self.history or self.history[-1][1] != held:
            self.history.append((self.now, held))

    def _shift(self, gang: str, chips: Mapping[str, int], queue: str, sign: int) -> None:
        for node, amount in chips.items():
            self._count(node, -1)
            self._held[node] += sign * amount
            self._count(node, 1)
            self._of_queue[queue, self.chips[node][0]] += sign * amount
            (self._holders[node].add if sign > 0 else self._holders[node].discard)(gang)

    def _count(self, node: str, sign: int) -> None:
        """Add a node to the sums of its type, or take it out."""
        of_type, held, free = self.types[self.chips[node][0]], self._held[node], self.free(node)
        of_type.held += sign * held
        of_type.free += sign * free
        if held:
            of_type.split += sign * free
        if sign > 0 and node in self.places:
            hierarchy, path = self.places[node]
            of_type.fragments = of_type.fragments or Fragments(hierarchy)
            of_type.fragments.put(node, path, self.chips[node][1], free)
