"""Spare places of a gang: where they go, and which of them takes the place of a lost node.

Placing. Spares follow when the gang itself has been placed, with all that it takes gone: as many as fit, never
a reason to wait. A spare is a worker's place; of a gang of whole node pools it is a pool. Each goes back to where
it was; else near the gang, first to nodes that none of its workers is on (a spare is lost together with its
neighbours), under policy Required never outside the gang's domain.

Promoting. A place of the gang whose node must not be used again gets the first spare that is whole and well. A
whole pool is replaced by a whole pool. All of the gang has to come out whole, or nothing is promoted. Everybody else
stays where they are: places keep their index, and so their rank.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from drumline.core.gang.capacity import gang_charges
from drumline.core.gang.capacity_index import ShapeIndex
from drumline.core.gang.capacity_view import View
from drumline.core.gang.placement_domains import Draft, climb, common_domain
from drumline.core.gang.placement_pools import shared_depth, whole_pools
from drumline.core.gang.placement_power import limit
from drumline.core.gang.topology import Hierarchy, Path, order_of
from drumline.core.gang.types import GangRequest, Placement, PlacementPolicy


@dataclass(frozen=True, slots=True)
class Group:
    """How many workers a gang has, and how many places of theirs are lost and replaced together."""

    workers: int
    together: int = 1  # a TPU slice's workers; else one


@dataclass(frozen=True, slots=True)
class Promotion:
    """A placement in which spares took the place of nodes that must not be used, and what moved."""

    placement: Placement
    moved: tuple[tuple[int, str, str], ...] = ()  # index of the pod, its node before, its node now


def with_spares(request: GangRequest, placed: Placement, view: View, hierarchy: Hierarchy) -> Placement:
    """The placement with as many of the spares that the gang asks for as there is room for."""
    if not request.spares:
        return placed
    with view.charged(gang_charges(request, placed.nodes)):
        index = view.index(request.worker, hierarchy)
        with Draft(index) as draft:
            draft.exclude(sorted(request.avoided))
            limit(draft, view.meter, request.worker, request.preferred_nodes.values())
            find = _pools if request.atomic_pool else _places
            found = find(request, draft, placed.nodes[: request.workers])
    return Placement((*placed.nodes, *found))


def promote(
    nodes: tuple[str, ...], size: int, group: Group, unusable: frozenset[str], lost: Iterable[int] = ()
) -> Promotion | None:
    """The placement without the nodes that must not be used; None when its spares do not make up for them.

    The first `size` of `nodes` are the gang's, the rest its spares. `lost` are numbers of spares that are of no use
    any more. A helper's place is no worker's: no spare makes up for one.
    """
    if not unusable.isdisjoint(nodes[group.workers : size]):
        return None
    gone = frozenset(lost)
    good = [
        spare
        for number, spare in enumerate(_chunks(nodes[size:], group.together))
        if number not in gone and unusable.isdisjoint(spare)
    ]
    kept, moved = list(nodes[:size]), []
    for first in range(0, group.workers, group.together):
        here = range(first, first + group.together)
        if unusable.isdisjoint(kept[i] for i in here):
            continue
        if not good:
            return None
        for i, node in zip(here, good.pop(0), strict=True):
            moved.append((i, kept[i], node))
            kept[i] = node
    return Promotion(Placement((*kept, *chain.from_iterable(good))), tuple(moved))


def _chunks(nodes: tuple[str, ...], size: int) -> list[tuple[str, ...]]:
    return [nodes[i : i + size] for i in range(0, len(nodes), size)]


def _places(request: GangRequest, draft: Draft, workers: tuple[str, ...]) -> list[str]:
    """A node for each spare of one worker's place."""
    index = draft.index
    around = common_domain(index, dict.fromkeys(workers))
    coarsest = 0
    if request.policy is PlacementPolicy.REQUIRED:
        coarsest = index.hierarchy.depth_of(request.level) or 0
    within = around[:coarsest]
    found = []
    for number in range(request.spares):
        before = request.preferred_nodes.get(request.pods + number, "")
        if index.copies.get(before, 0) > 0 and _in(index, before, within):
            draft.take(before, 1)
            found.append(before)
    with Draft(index) as apart:
        apart.exclude(sorted(set(workers)))
        elsewhere = list(_near(draft, around, coarsest, request.spares - len(found)))
    found += elsewhere
    return [*found, *_near(draft, around, coarsest, request.spares - len(found))]


def _near(draft: Draft, around: Path, coarsest: int, count: int) -> Iterator[str]:
    for _ in range(count):
        domain = climb(draft.index, around, 1, coarsest)
        if domain is None:
            return
        yield from draft.fill(domain, 1)


def _in(index: ShapeIndex, node: str, domain: Path) -> bool:
    return index.chains[node][-1][0][: len(domain)] == domain


def _pools(request: GangRequest, draft: Draft, workers: tuple[str, ...]) -> list[str]:
    """The nodes of each spare of a whole pool."""
    index = draft.index
    depth = shared_depth(request, index)
    domain = index.chains[workers[0]][-1][0][:depth]
    strict = request.policy is PlacementPolicy.REQUIRED
    free = {p: nodes for p, nodes in whole_pools(request, index) if not strict or p[:depth] == domain}
    before = _pools_before(request)
    # first where they were, then those of the gang's domain, then along the topology
    order = sorted(free, key=lambda p: (frozenset(free[p]) not in before, p[:depth] != domain, order_of(p)))
    return [node for pool in order[: request.spares] for node in free[pool]]


def _pools_before(request: GangRequest) -> set[frozenset[str]]:
    old = request.preferred_nodes
    size = request.workers_per_slice
    firsts = (request.pods + number * size for number in range(request.spares))
    return {frozenset(old.get(first + i, "") for i in range(size)) for first in firsts}
