"""A restart keeps its nodes: what is on them (images, caches, local checkpoints) is worth more than packing.

Every pod goes back to its node if there is room. Those whose node is lost are placed as near as possible to
the rest of their slice: in the smallest domain around it that has room, under policy Required never outside the
gang's domain. If that fails nothing is kept and the gang is placed afresh.

Where groups must not leave a scale-up domain, what a group lost is replaced in its domain. If that has no room, the
group moves as a whole, near the rest of its slice; the others stay.
"""

from __future__ import annotations

from drumline.core.gang.capacity_index import ROOT, ShapeIndex
from drumline.core.gang.placement_domains import Draft, climb, common_domain
from drumline.core.gang.topology import Path
from drumline.core.gang.types import GangRequest, PlacementPolicy


def place_again(request: GangRequest, index: ShapeIndex, depth: int) -> list[str] | None:
    """The node of each worker with as many as possible where they were, or None.

    `depth` is that of the level that policy Required asks for.
    """
    with Draft(index) as draft:
        nodes: dict[int, str] = {}
        for i in range(request.workers):
            node = request.preferred_nodes.get(i, "")
            if index.copies.get(node, 0) > 0:
                draft.take(node, 1)
                nodes[i] = node
        if not nodes:
            return None
        coarsest = _coarsest(request, index, nodes, depth)
        if coarsest is None or not _complete(request, draft, nodes, coarsest):
            return None
    return [nodes[i] for i in range(request.workers)]


def _coarsest(request: GangRequest, index: ShapeIndex, nodes: dict[int, str], depth: int) -> int | None:
    """Depth above which replacements must not climb; None if what is left breaks the policy already."""
    if request.policy is not PlacementPolicy.REQUIRED:
        return 0
    domain = common_domain(index, nodes.values())[:depth]
    return depth if len(domain) == depth and domain[-1] else None


def _complete(request: GangRequest, draft: Draft, nodes: dict[int, str], coarsest: int) -> bool:
    index, slice_size = draft.index, request.workers_per_slice
    around_all = common_domain(index, nodes.values())
    size = index.grouping.size if index.grouping.size > 1 else slice_size
    for start in range(0, request.workers, size):
        places = range(start, start + size)
        if index.grouping.size > 1 and not _keep_group(draft, nodes, places, coarsest):
            _give_back(draft, nodes, places)
        missing = [i for i in places if i not in nodes]
        if not missing:
            continue
        first = start - start % slice_size
        mates = [nodes[i] for i in range(first, first + slice_size) if i in nodes]
        around: Path = common_domain(index, mates) if mates else around_all
        domain = climb(index, around or ROOT, len(missing), coarsest)
        if domain is None:
            return False
        nodes.update(zip(missing, sorted(draft.fill(domain, len(missing)), key=index.order), strict=True))
    return True


def _keep_group(draft: Draft, nodes: dict[int, str], places: range, coarsest: int) -> bool:
    """Complete a group inside its scale-up domain; False when that can't be."""
    index = draft.index
    mates = [nodes[i] for i in places if i in nodes]
    units = {index.unit_of(node) for node in mates}
    if len(units) != 1:
        return False
    (unit,) = units
    missing = [i for i in places if i not in nodes]
    around = max(common_domain(index, mates), unit, key=len)
    for depth in range(len(around), max(coarsest, len(unit)) - 1, -1):
        domain = around[:depth]
        if (index.room(unit) if domain == unit else index.sums[domain]) >= len(missing):
            nodes.update(zip(missing, sorted(draft.fill(domain, len(missing)), key=index.order), strict=True))
            return True
    return False


def _give_back(draft: Draft, nodes: dict[int, str], places: range) -> None:
    for i in places:
        if i in nodes:
            draft.take(nodes.pop(i), -1)
