"""What of the free chips waiting gangs could use (defined in `core.sim.account`)."""

from __future__ import annotations

from collections.abc import Iterable

from drumline.core.gang.capacity import Capacity
from drumline.core.gang.capacity_index import ROOT
from drumline.core.gang.placement import hierarchy_for
from drumline.core.gang.placement_pools import whole_pools
from drumline.core.gang.topology import Hierarchy
from drumline.core.gang.types import GangRequest
from drumline.core.sim.account import Account


def copies_for(request: GangRequest, capacity: Capacity, hierarchy: Hierarchy) -> int:
    """Workers of such a gang that find a place now, each for itself; on TPU only in whole pools."""
    index = capacity.now.index(request.worker, hierarchy)
    if request.atomic_pool:
        return sum(1 for _ in whole_pools(request, index)) * request.workers_per_slice
    return index.sums[ROOT]


def stranded_chips(waiting: Iterable[GangRequest], capacity: Capacity, account: Account) -> dict[str, int]:
    """Free chips that none of these gangs could use, by accelerator type; types that nobody wants are left out."""
    usable: dict[str, int] = {}
    for request in waiting:
        hierarchy = hierarchy_for(request, capacity)
        copies = 0 if hierarchy is None else copies_for(request, capacity, hierarchy)
        chips = copies * request.chips_per_worker
        usable[request.accelerator] = max(usable.get(request.accelerator, 0), chips)
    found = ((name, account.types.get(name)) for name in usable)
    return {name: max(0, t.free - usable[name]) for name, t in found if t is not None}
