"""A cluster from a description: the nodes that it would have, as far as placement looks at them.

Entries of `nodes` are of two kinds. Hosts: `count` of them, on GPUs in blocks of `block` hosts and subblocks of
`subblock`, labelled as GKE labels them. TPU slices: `pools` node pools, each the hosts of one slice of `topology`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Final, Self

from pydantic import Field, ValidationError, model_validator

from drumline.api.base import ApiModel
from drumline.api.catalog import AcceleratorType, Catalog
from drumline.api.errors import FieldError
from drumline.api.wire import field_errors
from drumline.core.gang.capacity_tree import Domain, forest, hierarchy_of
from drumline.core.gang.topology import PRESETS, Hierarchy, Path, Topology
from drumline.core.gang.types import Node

MAX_NODES: Final = 100_000
_PODS: Final = 110  # a kubelet's usual limit
_POOL: Final = PRESETS["gke-tpu"].levels[0].label
_BLOCK, _SUBBLOCK, _ = (level.label for level in PRESETS["gke-gpu"].levels)

Count = Annotated[int, Field(ge=1, le=MAX_NODES)]


class NodeGroup(ApiModel):
    """Equal hosts, or equal TPU slices."""

    accelerator: str = Field(description="Key of the accelerator catalogue.")
    count: Count | None = Field(default=None, description="Hosts.")
    chips: int | None = Field(default=None, ge=1, le=1024, description="Of a host; default: the usual ones.")
    block: Count | None = Field(default=None, description="Hosts of a block.")
    subblock: Count | None = Field(default=None, description="Hosts of a subblock.")
    pools: Count | None = Field(default=None, description="TPU slices, each a node pool.")
    topology: str | None = Field(default=None, description="Of a TPU slice.")

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        slices = self.pools is not None and self.topology is not None
        hosts = self.count is not None and self.pools is None and self.topology is None
        if not hosts and (not slices or self.count is not None):
            raise ValueError("given neither or both; allowed: count, or pools with topology")
        if slices and (self.block or self.subblock or self.chips):
            raise ValueError("given pools with block, subblock or chips; allowed: pools with topology alone")
        if self.subblock and not self.block:
            raise ValueError("given subblock without block; allowed: both, or block alone")
        return self


class ClusterDescription(ApiModel):
    """A cluster."""

    nodes: tuple[NodeGroup, ...] = Field(description="What it consists of.")


def described(raw: Any, catalog: Catalog) -> tuple[list[Node], tuple[FieldError, ...]]:
    """The nodes of a raw description, or what is wrong with it."""
    try:
        cluster = ClusterDescription.model_validate(raw)
    except ValidationError as error:
        return [], field_errors(error, ClusterDescription, prefix="")
    errors = tuple(_errors(cluster, catalog))
    if errors:
        return [], errors
    groups = enumerate(cluster.nodes)
    return [n for i, group in groups for n in _nodes(group, f"g{i}", catalog[group.accelerator])], ()


def chips_of(nodes: list[Node], catalog: Catalog) -> dict[str, tuple[str, int]]:
    """Accelerator type and chips by node; nodes without accelerators are left out."""
    found: dict[str, tuple[str, int]] = {}
    for tree in forest(nodes, (), (), catalog):
        found.update((leaf.name, (tree.name, leaf.chips.total)) for leaf in _leaves(tree))
    return found


def places_of(
    nodes: Iterable[Node], chips: Mapping[str, tuple[str, int]], topology: Topology
) -> dict[str, tuple[Hierarchy, Path]]:
    """Where each node with accelerators is, in the hierarchy of its type; `chips` as of `chips_of`."""
    by_type: dict[str, list[Node]] = {}
    for node in nodes:
        if node.name in chips:
            by_type.setdefault(chips[node.name][0], []).append(node)
    found = ((hierarchy_of(group, topology), group) for group in by_type.values())
    return {node.name: (h, h.path(node)) for h, group in found for node in group}


def _leaves(domain: Domain) -> Iterator[Domain]:
    if not domain.children:
        yield domain
    for child in domain.children:
        yield from _leaves(child)


def _errors(cluster: ClusterDescription, catalog: Catalog) -> Iterator[FieldError]:
    if not cluster.nodes:
        yield FieldError("nodes", "given none; allowed: at least one")
    for i, group in enumerate(cluster.nodes):
        path = f"nodes[{i}]"
        entry = catalog.get(group.accelerator)
        if entry is None or not entry.chips_per_host:
            known = ", ".join(key for key, known in catalog.items() if known.chips_per_host)
            yield FieldError(f"{path}.accelerator", f"given {group.accelerator!r}; allowed: {known}")
        elif entry.is_tpu != (group.pools is not None):
            allowed = "pools with topology" if entry.is_tpu else "count"
            yield FieldError(path, f"given {group.accelerator} otherwise; allowed: {allowed}")
        elif group.topology is not None and not entry.allows(group.topology):
            text = f"given {group.topology!r}; allowed: {entry.allowed_topologies()}"
            yield FieldError(f"{path}.topology", text)


def _nodes(group: NodeGroup, prefix: str, entry: AcceleratorType) -> Iterator[Node]:
    return _slices(group, prefix, entry) if group.pools is not None else _hosts(group, prefix, entry)


def _hosts(group: NodeGroup, prefix: str, entry: AcceleratorType) -> Iterator[Node]:
    for i in range(group.count or 0):
        labels = entry.node_selector()
        if group.block:
            labels[_BLOCK] = f"{prefix}-b{i // group.block}"
        if group.block and group.subblock:
            labels[_SUBBLOCK] = f"{prefix}-s{i % group.block // group.subblock}"
        yield _node(f"{prefix}-{i}", labels, entry, group.chips or entry.chips_per_host)


def _slices(group: NodeGroup, prefix: str, entry: AcceleratorType) -> Iterator[Node]:
    topology = group.topology or ""
    labels = entry.node_selector(topology)
    for pool in range(group.pools or 0):
        for host in range(entry.hosts(topology)):
            name = f"{prefix}-p{pool}-{host}"
            yield _node(name, {**labels, _POOL: f"{prefix}-p{pool}"}, entry, entry.chips_per_worker(topology))


def _node(name: str, labels: dict[str, str], entry: AcceleratorType, chips: int) -> Node:
    return Node(name, labels=labels, allocatable={entry.resource: chips, "pods": _PODS})
