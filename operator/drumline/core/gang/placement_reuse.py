"""A restart keeps its nodes: what is on them (images, caches, local checkpoints) is worth more than packing.

Every pod goes back to its node if there is room. Those whose node is lost are placed as near as possible to
the rest of their slice: in the smallest domain around it that has room, under policy Required never outside the
gang's domain. If that fails nothing is kept and the gang is placed afresh.
"""

from __future__ import annotations

from collections import defaultdict

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
    return depth if len(common_domain(index, nodes.values())) >= depth else None


def _complete(request: GangRequest, draft: Draft, nodes: dict[int, str], coarsest: int) -> bool:
    missing: dict[int, list[int]] = defaultdict(list)
    for i in range(request.workers):
        if i not in nodes:
            missing[i // request.workers_per_slice].append(i)
    around_all = common_domain(draft.index, nodes.values())
    for slice_index, places in missing.items():
        first = slice_index * request.workers_per_slice
        mates = [nodes[i] for i in range(first, first + request.workers_per_slice) if i in nodes]
        around: Path = common_domain(draft.index, mates) if mates else around_all
        domain = climb(draft.index, around or ROOT, len(places), coarsest)
        if domain is None:
            return False
        found = sorted(draft.fill(domain, len(places)), key=draft.index.order)
        nodes.update(zip(places, found, strict=True))
    return True
