"""The cluster's accelerators as a tree: types, domains of the topology, nodes; each with what its chips do.

Every chip that a node can allocate is in exactly one state, so that states sum to the whole on every level:

1. used: requested by a pod that is on the node, or on its way there, and has not ended;
2. reserved: held by a gang beyond its own pods there, as while it restarts;
3. broken: of the rest, that of a node which is not ready, cordoned or tainted as bad;
4. free: what is left.

A node belongs to the type of the catalogue of which it has the resource and all labels, the one with the most labels
where several fit; without any such type to one named after the resource. The tree of a type has the levels of the
first hierarchy whose labels one of its nodes carries. A domain without a name, and a host of one node, are left out:
what is below them stands in their place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Final

from drumline.api.catalog import Catalog
from drumline.api.meta import TAINT_BAD_NODE
from drumline.core.gang.fragmentation import Fragments, LevelFragments
from drumline.core.gang.topology import HOST_LEVEL, Hierarchy, Path, Topology, order_of
from drumline.core.gang.types import Node, Pod

_FLAT: Final = Hierarchy("flat")


@dataclass(frozen=True, slots=True)
class Chips:
    """How many accelerators are in which state."""

    used: int = 0
    reserved: int = 0
    broken: int = 0
    free: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.used + self.reserved + self.broken + self.free

    def __add__(self, other: Chips) -> Chips:
        return Chips(
            self.used + other.used,
            self.reserved + other.reserved,
            self.broken + other.broken,
            self.free + other.free,
        )


@dataclass(frozen=True, slots=True)
class Domain:
    """A domain of the topology. `level` "" for a whole type; `node` for one node, which has no children."""

    level: str
    name: str
    chips: Chips
    nodes: int = 0  # in all
    free_nodes: int = 0  # of which all chips are free
    holders: tuple[str, ...] = ()  # of a node: namespace/name of who has pods there or holds it
    note: str = ""  # of a node: why its free chips are broken
    children: tuple[Domain, ...] = field(default_factory=tuple)
    fragments: tuple[LevelFragments, ...] = ()  # of a whole type: how its free chips are spread


@dataclass(frozen=True, slots=True)
class Hold:
    """What a gang has reserved. `gang` as in `Member.gang`, `chips` by node."""

    gang: str
    owner: str  # namespace/name
    chips: Mapping[str, int]


def forest(
    nodes: Iterable[Node],
    pods: Iterable[Pod],
    holds: Iterable[Hold],
    catalog: Catalog,
    topology: Topology | None = None,
) -> tuple[Domain, ...]:
    """A tree for each type of which there are nodes, by name."""
    topology = topology or Topology()
    by_node: dict[str, list[Pod]] = {}
    for pod in pods:
        if pod.node and not pod.terminal:
            by_node.setdefault(pod.node, []).append(pod)
    held: dict[str, list[Hold]] = {}
    for hold in holds:
        for name in hold.chips:
            held.setdefault(name, []).append(hold)
    leaves: dict[str, list[tuple[Node, Domain]]] = {}
    for node in nodes:
        for kind, resource in types_of(node, catalog):
            leaf = _leaf(node, resource, by_node.get(node.name, ()), held.get(node.name, ()))
            leaves.setdefault(kind, []).append((node, leaf))
    return tuple(_tree(kind, leaves[kind], topology) for kind in sorted(leaves))


def types_of(node: Node, catalog: Catalog) -> list[tuple[str, str]]:
    """(type, resource) for each accelerator resource of a node; of several types the one with the most labels."""
    found: list[tuple[str, str]] = []
    resources = {entry.resource for entry in catalog.values() if entry.resource}
    for resource in sorted(resources & node.allocatable.keys()):
        if not node.allocatable[resource]:
            continue
        fitting = [
            entry
            for entry in catalog.values()
            if entry.resource == resource and entry.node_labels.items() <= node.labels.items()
        ]
        named = max(fitting, key=lambda entry: (len(entry.node_labels), entry.key), default=None)
        labelled = named is not None and named.node_labels
        found.append((named.key if named is not None and labelled else resource, resource))
    return found


def _leaf(node: Node, resource: str, pods: Iterable[Pod], holds: Iterable[Hold]) -> Domain:
    total = node.allocatable[resource]
    own: dict[str, int] = {}
    holders: dict[str, None] = {}
    used = 0
    for pod in pods:
        chips = dict(pod.requests).get(resource, 0)
        if not chips:
            continue
        used += chips
        gang = pod.member.gang if pod.member is not None else ""
        own[gang] = own.get(gang, 0) + chips
        holders[f"{pod.namespace}/{pod.member.job if pod.member is not None else pod.name}"] = None
    reserved = 0
    for hold in holds:
        more = max(0, hold.chips[node.name] - own.get(hold.gang, 0))
        reserved += more
        holders.update({hold.owner: None} if more else {})
    used = min(used, total)
    reserved = min(reserved, total - used)
    rest, note = total - used - reserved, fault_of(node)
    chips_of = Chips(used, reserved, rest if note else 0, 0 if note else rest)
    whole = int(chips_of.free == total)
    return Domain("node", node.name, chips_of, 1, whole, tuple(holders), note)


def fault_of(node: Node) -> str:
    """Why nothing new comes to the node; "" when it may."""
    if not node.ready:
        return "not ready"
    bad = next((t for t in node.taints if t.key == TAINT_BAD_NODE), None)
    if bad is not None:
        return f"bad: {bad.value}" if bad.value else "bad"
    return "cordoned" if node.unschedulable else ""


def _tree(kind: str, leaves: list[tuple[Node, Domain]], topology: Topology) -> Domain:
    hierarchy = hierarchy_of((node for node, _ in leaves), topology)
    fragments = Fragments(hierarchy)
    placed = [(hierarchy.path(node), leaf) for node, leaf in leaves]
    for path, leaf in placed:
        fragments.put(leaf.name, path, leaf.chips.total, leaf.chips.free)
    tree = _domain(hierarchy, kind, 0, sorted(placed, key=lambda p: order_of(p[0])))
    return replace(tree, fragments=fragments.levels())


def hierarchy_of(nodes: Iterable[Node], topology: Topology) -> Hierarchy:
    """The first hierarchy whose labels one of these nodes carries; a flat one if there is none."""
    labels = {label for node in nodes for label in node.labels}
    able = (
        h
        for h in topology.hierarchies
        if any(label in labels for level in h.levels for label in level.labels)
    )
    return next(able, _FLAT)


def _domain(hierarchy: Hierarchy, name: str, depth: int, leaves: list[tuple[Path, Domain]]) -> Domain:
    """The domain with these leaves, in order, whose paths agree up to `depth`."""
    level = hierarchy.level_name(depth) if depth else ""
    if depth + 1 > len(hierarchy.levels):
        children = tuple(leaf for _, leaf in leaves)
    else:
        groups: dict[str, list[tuple[Path, Domain]]] = {}
        for path, leaf in leaves:
            groups.setdefault(path[depth], []).append((path, leaf))
        made = (_domain(hierarchy, key, depth + 1, group) for key, group in groups.items())
        children = tuple(shown for child in made for shown in _worth_showing(child))
    return Domain(
        level,
        name,
        reduce(Chips.__add__, (child.chips for child in children), Chips()),
        sum(child.nodes for child in children),
        sum(child.free_nodes for child in children),
        children=children,
    )


def _worth_showing(child: Domain) -> tuple[Domain, ...]:
    alone = child.level == HOST_LEVEL and child.nodes == 1
    return child.children if alone or not child.name else (child,)
