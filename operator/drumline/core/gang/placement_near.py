"""Near others: a gang that would like to share a domain of some level with nodes it does not hold itself.

Of the domains of that level that those nodes are in, and that have room for all of the gang, the one with the least
to spare is taken, and in it the smallest domain that suffices. It is a wish: None when there is no such domain. A
gang of whole node pools has no such wish granted: pools are where they are.
"""

from __future__ import annotations

from drumline.core.gang.capacity_index import ShapeIndex
from drumline.core.gang.placement_domains import smallest_within
from drumline.core.gang.topology import Path
from drumline.core.gang.types import GangRequest


def near_domain(request: GangRequest, index: ShapeIndex, coarsest: int) -> Path | None:
    """The domain to place the gang in; never one coarser than depth `coarsest`, which policy Required sets."""
    depth = index.hierarchy.depth_of(request.near_level) if request.near else None
    if depth is None:
        return None
    paths = {index.chains[node][-1][0][:depth] for node in request.near if node in index.chains}
    known = [path for path in paths if path[-1] and index.sums.get(path, 0) >= request.workers]
    if not known:
        return None
    tightest = min(known, key=lambda path: (index.sums[path], path))
    domain = smallest_within(index, tightest, request.workers)
    return domain if len(domain) >= coarsest else None
