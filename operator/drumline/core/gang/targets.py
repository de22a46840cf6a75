"""Which nodes to keep for a gang at the head: a set that holds it once it is empty, with the most free already."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from drumline.core.gang.capacity import Capacity
from drumline.core.gang.capacity_index import ROOT, ShapeIndex
from drumline.core.gang.placement import hierarchy_for
from drumline.core.gang.placement_pools import shared_depth, whole_pools
from drumline.core.gang.topology import Path
from drumline.core.gang.types import GangRequest, Placement, PlacementPolicy


def target_of(
    request: GangRequest, capacity: Capacity, hope: Placement, kept: frozenset[str] = frozenset()
) -> frozenset[str]:
    """The nodes to keep for a head; `hope` is where it would go if every other gang were gone.

    What was kept for it so far, `kept`, goes on unless something else has more free or it would not do any more.
    """
    hierarchy = hierarchy_for(request, capacity)
    # of other nodes it is not known whether there is power, or whether they hold whole groups
    if hierarchy is None or not capacity.now.meter.idle or request.group_workers > 1:
        return frozenset(hope.nodes)
    now = capacity.now.index(request.worker, hierarchy)
    later = capacity.later.index(request.worker, hierarchy)
    sets = _pool_sets(request, now, later) if request.atomic_pool else _node_sets(request, now, later)
    best = max(sets, key=lambda nodes: _free(now, nodes), default=frozenset(hope.nodes))
    best |= frozenset(hope.nodes[request.workers :])
    holds = _would_do(request, later, kept) and _free(now, kept) >= _free(now, best)
    return kept if holds else best


def _would_do(request: GangRequest, later: ShapeIndex, nodes: frozenset[str]) -> bool:
    """Whether nodes that were once chosen could still hold the gang."""
    if not nodes or not nodes.isdisjoint(request.avoided):
        return False
    return sum(later.copies.get(node, 0) for node in nodes) >= request.workers


def _node_sets(request: GangRequest, now: ShapeIndex, later: ShapeIndex) -> Iterator[frozenset[str]]:
    """For each domain that could hold the gang, its freest nodes that together could."""
    for domain in _domains(request, later):
        inside = (
            n for n in later.copies if later.copies[n] and later.chains[n][-1][0][: len(domain)] == domain
        )
        usable = sorted(
            (n for n in inside if n not in request.avoided), key=lambda n: (-_room(now, n), later.order(n))
        )
        left, nodes = request.workers, []
        for node in usable:
            if left <= 0:
                break
            nodes.append(node)
            left -= later.copies[node]
        if left <= 0:
            yield frozenset(nodes)


def _domains(request: GangRequest, later: ShapeIndex) -> list[Path]:
    depth = later.hierarchy.depth_of(request.level) or later.depths
    if request.policy is not PlacementPolicy.REQUIRED:
        return [ROOT]
    return list(later.level(depth).sufficient(request.workers))


def _pool_sets(request: GangRequest, now: ShapeIndex, later: ShapeIndex) -> Iterator[frozenset[str]]:
    """The freest pools. Pools that must share a domain are left to the placement itself."""
    if request.policy is PlacementPolicy.REQUIRED and shared_depth(request, later):
        return
    pools = [nodes for _, nodes in whole_pools(request, later)]
    freest = sorted(pools, key=lambda nodes: (-_free(now, nodes), later.order(nodes[0])))
    if len(freest) >= request.slices:
        yield frozenset(node for nodes in freest[: request.slices] for node in nodes)


def _free(now: ShapeIndex, nodes: Iterable[str]) -> int:
    return sum(_room(now, node) for node in nodes)


def _room(now: ShapeIndex, node: str) -> int:
    """Free copies of a node, kept ones included: a target may not drive another one away by hiding it."""
    return now.copies.get(node, 0) + now.kept.get(node, 0)
