"""Slices that take a whole node pool each: TPU pods span all hosts of a pool or do not run.

A pool serves a slice if it has exactly as many nodes as the slice has workers and every one of them is free.
The pools of a gang come from one domain of the level asked for, where the hierarchy has levels above pools.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from drumline.core.gang.capacity_index import ROOT, ShapeIndex
from drumline.core.gang.topology import Path, order_of
from drumline.core.gang.types import GangRequest, PlacementPolicy

POOL_LEVEL = "nodepool"


def place_pools(request: GangRequest, index: ShapeIndex) -> list[list[str]] | None:
    """The nodes of each slice, or None while there are too few whole and free pools."""
    pools = dict(whole_pools(request, index))
    kept = _kept(request, pools)
    domain = _domain_of(request, index, list(pools), [pool for pool, _ in kept.values()])
    if domain is None:
        return None
    taken = {pool for pool, _ in kept.values()}
    if any(pool[: len(domain)] != domain for pool in taken):
        kept, taken = {}, set()
    rest = (
        nodes
        for pool, nodes in sorted(pools.items(), key=_along)
        if pool[: len(domain)] == domain and pool not in taken
    )
    return [kept[i][1] if i in kept else next(rest) for i in range(request.slices)]


def whole_pools(request: GangRequest, index: ShapeIndex) -> Iterator[tuple[Path, list[str]]]:
    """Every pool that could take a slice, with its nodes in natural order."""
    depth = index.hierarchy.depth_of(POOL_LEVEL)
    size = request.workers_per_slice
    if depth is None:
        return
    for pool in index.level(depth).sufficient(size):
        nodes = _free_nodes(index, pool)
        if index.nodes_in[pool] == len(nodes) == size and request.avoided.isdisjoint(nodes):
            yield pool, sorted(nodes, key=index.order)


def _free_nodes(index: ShapeIndex, domain: Path) -> list[str]:
    if len(domain) == index.depths:
        return [domain[-1]]
    return [node for child in index.children(domain).sufficient(1) for node in _free_nodes(index, child)]


def _kept(request: GangRequest, pools: dict[Path, list[str]]) -> dict[int, tuple[Path, list[str]]]:
    """Slices whose pool of the last attempt is whole and free again, with their old order of nodes."""
    pool_of = {frozenset(nodes): pool for pool, nodes in pools.items()}
    kept = {}
    for i in range(request.slices):
        first = i * request.workers_per_slice
        nodes = [request.preferred_nodes.get(first + w, "") for w in range(request.workers_per_slice)]
        pool = pool_of.pop(frozenset(nodes), None)
        if pool is not None:
            kept[i] = (pool, nodes)
    return kept


def _domain_of(request: GangRequest, index: ShapeIndex, pools: list[Path], kept: list[Path]) -> Path | None:
    depth = shared_depth(request, index)
    by_domain: dict[Path, list[Path]] = defaultdict(list)
    for pool in pools:
        by_domain[pool[:depth]].append(pool)
    able = [d for d, members in by_domain.items() if len(members) >= request.slices and (depth == 0 or d[-1])]
    if able:
        return min(
            able, key=lambda d: (not any(k[:depth] == d for k in kept), len(by_domain[d]), order_of(d))
        )
    return ROOT if request.policy is not PlacementPolicy.REQUIRED and len(pools) >= request.slices else None


def shared_depth(request: GangRequest, index: ShapeIndex) -> int:
    """Depth of the level that the gang's pools should share; 0 where levels above pools do not exist."""
    level, pool = index.hierarchy.depth_of(request.level), index.hierarchy.depth_of(POOL_LEVEL)
    if request.policy is PlacementPolicy.UNCONSTRAINED or level is None or pool is None or level >= pool:
        return 0
    return level


def _along(entry: tuple[Path, list[str]]) -> tuple[object, ...]:
    return order_of(entry[0])
