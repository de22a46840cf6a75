"""What is charged on each node, and the indexes that are built on it: one view of the cluster (see `capacity`).

A view remembers in which order nodes changed; an index of a shape (see `capacity_index`) catches up with the nodes
that changed since it was last asked for, so a decision costs what changed, not what there is.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from drumline.core.gang.capacity_index import SINGLE, Grouping, ShapeIndex
from drumline.core.gang.equipment import Equipment, in_full
from drumline.core.gang.power_meter import Key, PowerMeter
from drumline.core.gang.topology import Hierarchy
from drumline.core.gang.types import EMPTY, Node, PodShape, Resources

MAX_INDEXES: Final = 32  # shapes remembered by a view; the least recently asked for goes first


class View:
    """Nodes with what is used of each, and the indexes built on it."""

    def __init__(self, nodes: Mapping[str, Node], meter: PowerMeter) -> None:
        self.nodes = nodes
        self.equipment: Mapping[str, Equipment] = EMPTY
        self.meter = meter
        self.generation = 0
        self._used: dict[str, dict[str, int]] = {}
        self._withheld: frozenset[str] = frozenset()
        self._changed: dict[str, int] = {}  # node → generation of its last change, oldest first
        self._indexes: OrderedDict[tuple[PodShape, Hierarchy, Grouping], ShapeIndex] = OrderedDict()

    def used(self, node: str) -> Resources:
        """What is charged on a node; host ports included, see `feasibility.port_key`."""
        return self._used.get(node, EMPTY)

    def changed(self, node: str) -> None:
        """The node itself changed, came or went."""
        self.meter.set_node(node, self.nodes.get(node), self.used(node))
        self.touch(node)

    def metered(self, meter: PowerMeter) -> None:
        """Go on with that meter, which knows of nothing yet."""
        self.meter = meter
        for node in self.nodes:
            self.changed(node)

    def touch(self, node: str) -> None:
        """What a node has free may have changed."""
        self.generation += 1
        if len(self._changed) > 2 * len(self.nodes) + 1000:  # names of nodes long gone
            self._changed.clear()
            self._indexes.clear()
        self._changed.pop(node, None)
        self._changed[node] = self.generation

    def recharge(self, node: str, before: Resources, after: Resources) -> None:
        """Replace one charge on a node by another."""
        if before == after:
            return
        used = self._used.setdefault(node, {})
        for name, amount in before.items():
            used[name] -= amount
        for name, amount in after.items():
            used[name] = used.get(name, 0) + amount
        for name in before:
            if not used.get(name, 1):
                del used[name]
        if not used:
            del self._used[node]
        self.meter.recharge(node, before, after)
        self.touch(node)

    @contextmanager
    def charged(self, charges: Mapping[str, Resources]) -> Iterator[None]:
        """These charges hold inside the block."""
        if self.equipment:
            charges = {n: in_full(self.equipment, n, charge) for n, charge in charges.items()}
        for node, charge in charges.items():
            self.recharge(node, EMPTY, charge)
        try:
            yield
        finally:
            for node, charge in charges.items():
                self.recharge(node, charge, EMPTY)

    def withhold(self, nodes: Iterable[str]) -> None:
        """From now on only these nodes count as having nothing free."""
        withheld = frozenset(nodes)
        for node in withheld ^ self._withheld:
            self.touch(node)
        self._withheld = withheld

    def claim(self, milliwatts: Mapping[Key, int]) -> None:
        """From now on so much less power is left, until `unclaim`."""
        if milliwatts:
            self.meter.claim(milliwatts)
            self.generation += 1

    def unclaim(self) -> None:
        """No power is claimed any more."""
        self.meter.unclaim()
        self.generation += 1

    @property
    def withheld(self) -> frozenset[str]:
        """The nodes that are withheld."""
        return self._withheld

    def index(self, shape: PodShape, hierarchy: Hierarchy, grouping: Grouping = SINGLE) -> ShapeIndex:
        """The index of a shape, up to date."""
        key = (shape, hierarchy, grouping)
        index = self._indexes.get(key)
        if index is None:
            index = self._indexes[key] = ShapeIndex(*key)
            if len(self._indexes) > MAX_INDEXES:
                self._indexes.popitem(last=False)
        else:
            self._indexes.move_to_end(key)
        self._catch_up(index)
        return index

    def _catch_up(self, index: ShapeIndex) -> None:
        if index.seen < 0:
            index.rebuild(self.nodes.values(), self._used, self._withheld)
        else:
            for name in reversed(self._changed):
                if self._changed[name] <= index.seen:
                    break
                index.update(name, self.nodes.get(name), self.used(name), kept=name in self._withheld)
        index.seen = self.generation
