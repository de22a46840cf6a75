"""Which devices each ask matches on each node, and how what two asks match is related.

A device counts for an ask if it is of a node, all selectors of the class and then of the request hold, and the
request tolerates its taints. Selectors are evaluated by what the caller passes as `Matches`.

Counting is whole-number arithmetic only while, on every node, what two asks match is equal or disjoint: of equal sets
each device that one takes is charged to both, disjoint ones don't touch. Sets that overlap in part can't be counted
so: which device the scheduler takes for one decides what is left for the other.

Devices of a claim that must have an attribute in common are counted in sets of the claim's size, value by value:

    sets of a node = sum over values of (devices with it - those of claims that are no such set) // size

A claim that is one such set takes one, wherever it is: of n // size there are then (n - size) // size left. With any
other ask sets only go where they don't touch: which value a single device is taken from decides how many sets remain.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import permutations

from drumline.core.gang.devices import Device, DeviceAsk, DeviceClass, DeviceId
from drumline.core.gang.feasibility import tolerates
from drumline.core.gang.types import EMPTY

# whether a CEL expression holds for a device, asked for in these namespaces; SelectorError, NotYetError
Matches = Callable[[str, Device, Collection[str]], bool]
# on a node: for each ask which devices it matches, as bits, and whether it is counted in sets
_Shape = tuple[tuple[str, int, bool], ...]


class SelectorError(ValueError):
    """A selector can't be evaluated on a device."""


class NotYetError(Exception):
    """Whether a selector holds for a device is being found out; `Devices.answered` is called once it is known."""


class KnownAsk:
    """What one ask matches, node by node."""

    def __init__(self, ask: DeviceAsk) -> None:
        self.ask = ask
        self.namespaces: set[str] = set()  # of all that asked
        self.pending: set[str] = set()  # nodes of which it is being found out what matches there
        self.users: dict[str, str] = {}  # gang → namespace/name
        self.used: Counter[str] = Counter()  # namespace → its gangs among them
        self.matched: dict[str, frozenset[DeviceId]] = {}  # by node
        self._values: dict[
            str, tuple[frozenset[DeviceId], ...]
        ] = {}  # by node: those that have all in common
        self.accelerator = ""  # the type that a gang has by this ask; "" = no gang has its accelerators by it
        self.drivers: set[str] = set()  # of all that it ever matched
        self._troubles: dict[str, str] = {}  # by node: why a device there is beyond counting

    @property
    def trouble(self) -> str:
        """Why the ask can't be counted at all; "" if it can."""
        return next(iter(self._troubles.values()), "")

    @property
    def unsure(self) -> set[str]:
        """Nodes where it is not known what matches, or can't be told."""
        return {*self.pending, *self._troubles}

    def use(self, gang: str, namespace: str, name: str) -> None:
        """A gang asks so."""
        self.forget(gang)
        self.users[gang] = f"{namespace}/{name}"
        self.used[namespace] += 1

    def forget(self, gang: str) -> None:
        """The gang neither waits nor holds anything."""
        if (job := self.users.pop(gang, None)) is not None:
            self.used -= Counter((job.partition("/")[0],))

    def look(self, node: str, devices: Iterable[Device], known: DeviceClass | None, matches: Matches) -> None:
        """Take up what a node has now; "" stands for all devices that are not of one node.

        As long as that is being found out, what was known before stands.
        """
        found: list[Device] | None = []
        trouble = ""
        try:
            found = self._selected(devices, known, matches) if known is not None else []
        except SelectorError as error:
            trouble = str(error)
        if found is None:
            self.pending.add(node)
            return
        self.pending.discard(node)
        for index in (self.matched, self._values, self._troubles):
            index.pop(node, None)
        if trouble:
            self._troubles[node] = trouble
            return
        self.drivers.update(d.id[0] for d in found)
        if odd := next((d for d in found if d.odd), None):
            self._troubles[node] = f"device {'/'.join(odd.id)} matches, {odd.odd}"
        usable = [d for d in found if not d.odd and self._tolerated(d)]
        if self.ask.same:
            self._values[node] = values = _by_value(usable, self.ask.same)
            usable = [d for d in usable if any(d.id in alike for alike in values)]
        if usable:
            self.matched[node] = frozenset(d.id for d in usable)

    def count(self, node: str, claims: Iterable[frozenset[DeviceId]]) -> int:
        """What the node has of it, if these are its allocated claims; what `charge` says is not deducted."""
        matched = self.matched.get(node, frozenset())
        if not self.ask.same:
            return len(matched)
        others = (devices for devices in claims if not self.charge(node, devices))
        taken = frozenset[DeviceId]().union(*others)
        return sum(len(alike - taken) // self.ask.size for alike in self._values.get(node, ()))

    def charge(self, node: str, devices: frozenset[DeviceId]) -> int:
        """What an allocated claim takes of it."""
        own = devices & self.matched.get(node, frozenset())
        if not self.ask.same:
            return len(own)
        return int(len(own) == self.ask.size and any(own <= alike for alike in self._values.get(node, ())))

    def _selected(
        self, devices: Iterable[Device], known: DeviceClass, matches: Matches
    ) -> list[Device] | None:
        """The devices for which all selectors hold; None while that is being found out. SelectorError."""
        found: list[Device] = []
        pending, selectors = False, (*known.selectors, *self.ask.selectors)
        for device in devices:
            try:
                if all(matches(selector, device, self.namespaces) for selector in selectors):
                    found.append(device)
            except NotYetError:  # the others are asked about all the same: all of it in one go
                pending = True
        return None if pending else found

    def uses(self, expression: str, known: DeviceClass | None) -> bool:
        """Whether the expression is one of its selectors, or its class's."""
        return expression in self.ask.selectors or (known is not None and expression in known.selectors)

    def _tolerated(self, device: Device) -> bool:
        return all(any(tolerates(t, taint) for t in self.ask.tolerations) for taint in device.taints)


def _by_value(devices: Iterable[Device], attributes: Collection[str]) -> tuple[frozenset[DeviceId], ...]:
    """The devices by what they have of these attributes; those that lack one can't be taken."""
    found: dict[tuple[object, ...], set[DeviceId]] = {}
    for device in devices:
        if all(name in device.attributes for name in attributes):
            values = [device.attributes[name] for name in attributes]
            found.setdefault((*values, *map(type, values)), set()).add(device.id)  # True is not 1
    return tuple(map(frozenset, found.values()))


@dataclass(frozen=True, slots=True)
class _Relation:
    """How asks are related on nodes where they are related alike."""

    equals: dict[str, tuple[str, ...]]  # ask → others that match the same there
    partly: dict[str, tuple[str, ...]]  # ask → others that match some of the same
    nodes: dict[str, None] = field(default_factory=dict)


class Relations:
    """On which nodes asks match the same devices, or some of the same; kept once for all nodes that are alike."""

    def __init__(self) -> None:
        self._known: dict[_Shape, _Relation] = {}
        self._shapes: dict[str, _Shape] = {}  # by node

    def renew(
        self, node: str, matched: Mapping[str, frozenset[DeviceId]], sets: Collection[str]
    ) -> Mapping[str, tuple[str, ...]]:
        """Take up what asks match on a node; for each that has equals there, those. `sets` are counted in sets."""
        self._drop(node)
        if len(matched) < 2:
            return EMPTY
        shape = _shape(matched, sets)
        relation = self._known.get(shape)
        if relation is None:
            relation = self._known[shape] = _related(shape)
        relation.nodes[node] = None
        self._shapes[node] = shape
        return relation.equals

    def meeting(self, a: str, b: str) -> str:
        """A node on which both match the same device; "" if there is none."""
        alike = (r for r in self._known.values() if b in r.equals.get(a, ()) or b in r.partly.get(a, ()))
        return next((node for relation in alike for node in relation.nodes), "")

    def overlapping(self, name: str) -> Iterator[tuple[str, str]]:
        """Asks that match some of what this one does, but not the same, each with a node where that is so."""
        found: dict[str, str] = {}
        for relation in self._known.values():
            for other in relation.partly.get(name, ()):
                found.setdefault(other, next(iter(relation.nodes)))
        yield from found.items()

    def _drop(self, node: str) -> None:
        shape = self._shapes.pop(node, None)
        if shape is not None:
            nodes = self._known[shape].nodes
            del nodes[node]
            if not nodes:
                del self._known[shape]


def _shape(matched: Mapping[str, frozenset[DeviceId]], sets: Collection[str]) -> _Shape:
    """What asks match on a node, with its devices numbered: nodes that are alike have the same shape."""
    bits = {device: 1 << i for i, device in enumerate(sorted(frozenset().union(*matched.values())))}
    return tuple((n, sum(map(bits.__getitem__, devices)), n in sets) for n, devices in matched.items())


def _related(shape: _Shape) -> _Relation:
    groups: dict[tuple[int, str], list[str]] = {}
    for name, devices, in_sets in shape:
        groups.setdefault((devices, name if in_sets else ""), []).append(name)
    equals = {
        n: tuple(o for o in group if o != n) for group in groups.values() if len(group) > 1 for n in group
    }
    partly: dict[str, list[str]] = {}
    for (a, names), (b, others) in permutations(((devices, g) for (devices, _), g in groups.items()), 2):
        if a & b:
            for name in names:
                partly.setdefault(name, []).extend(others)
    return _Relation(equals, {name: tuple(others) for name, others in partly.items()})
