"""Where a whole gang goes: all of it, or nothing and the reason.

1. Nodes to avoid are taken out, and places for which there is no power (`placement_power`). A gang that ran before
   goes back to its nodes as far as it can (`placement_reuse`).
2. The gang's domain. Required: the best fit at the level asked for. Preferred: the same, then level by level
   up to the whole cluster. Unconstrained: from the single node up, so it is packed too.
   A gang that wants to be near others (`near`) is tried in their domains first, under the same policy.
3. Each slice goes into the smallest domain inside the gang's that holds it. Workers take the order of the
   topology, slices that of their first nodes: neighbours in rank are near each other.
   Groups of consecutive workers that must not leave a scale-up domain: domains count only what makes whole groups
   (`capacity_index`), so all of the above holds as it is. Where groups are a wish and do not fit, each worker counts.
4. Slices that need a whole node pool take one each (`placement_pools`) instead of 2 and 3.
5. Helpers follow with the workers' capacity gone: near the gang if there is room, else anywhere.
6. Spares follow as far as there is room (`spares`).

A gang whose pods are pinned to no node (`unpinned`) needs none of this: there is always a place for it.

Nothing is changed: reserving what was found is the caller's business. What the gang itself still holds counts
as free.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

from drumline.core.gang.capacity import Capacity, gang_charges
from drumline.core.gang.capacity_index import ROOT, SINGLE, Grouping, ShapeIndex
from drumline.core.gang.capacity_view import View
from drumline.core.gang.feasibility import shape_charge
from drumline.core.gang.placement_domains import Draft, climb, common_domain, find_domain, smallest_within
from drumline.core.gang.placement_near import near_domain
from drumline.core.gang.placement_pools import POOL_LEVEL, place_pools
from drumline.core.gang.placement_power import limit, no_power
from drumline.core.gang.placement_refusal import (
    no_pools,
    no_room_for_helper,
    too_few,
    too_scattered,
    unknown_level,
)
from drumline.core.gang.placement_reuse import place_again
from drumline.core.gang.spares import with_spares
from drumline.core.gang.topology import Hierarchy
from drumline.core.gang.types import GangRequest, Placement, PlacementPolicy, PodGroupRequest, Refusal


def place(request: GangRequest, capacity: Capacity) -> Placement | Refusal:
    """Where the gang can go now."""
    if request.unpinned:
        return anywhere(request)
    hierarchy = hierarchy_for(request, capacity)
    if hierarchy is None:
        return unknown_level(request.level or POOL_LEVEL, capacity.topology.level_names())
    with capacity.without(request.uid):
        placed = _place(request, capacity.now, hierarchy)
        return (
            placed if isinstance(placed, Refusal) else with_spares(request, placed, capacity.now, hierarchy)
        )


def place_later(request: GangRequest, capacity: Capacity) -> Placement | Refusal:
    """Where the gang could go if every other gang were gone. Pods that belong to no gang stay."""
    if request.unpinned:
        return anywhere(request)
    hierarchy = hierarchy_for(request, capacity)
    if hierarchy is None:
        return unknown_level(request.level or POOL_LEVEL, capacity.topology.level_names())
    return _place(request, capacity.later, hierarchy)


def anywhere(request: GangRequest) -> Placement:
    """The placement that pins none of the gang's pods to a node."""
    return Placement(("",) * request.pods)


def hierarchy_for(request: GangRequest, capacity: Capacity) -> Hierarchy | None:
    """The hierarchy in which the gang is placed; None when no hierarchy has its level."""
    if not request.atomic_pool:
        return _wished(request, capacity) or capacity.hierarchy(request.level)
    pools = capacity.hierarchy(POOL_LEVEL)
    strict = request.policy is PlacementPolicy.REQUIRED and request.level != ""
    return None if pools is None or (strict and pools.depth_of(request.level) is None) else pools


def _wished(request: GangRequest, capacity: Capacity) -> Hierarchy | None:
    """The hierarchy of a gang that asks for no level, but for being near others or for scale-up domains."""
    if request.level:
        return None
    if request.near_level:
        return capacity.hierarchy(request.near_level)
    return capacity.scaling_up() if request.group_workers > 1 and not request.group_level else None


def _place(request: GangRequest, view: View, hierarchy: Hierarchy) -> Placement | Refusal:
    workers = _with_power(request, view, view.index(request.worker, hierarchy, _grouping(request, hierarchy)))
    if isinstance(workers, Refusal) and request.group_workers > 1 and not request.group_required:
        workers = _with_power(request, view, view.index(request.worker, hierarchy))
    if isinstance(workers, Refusal):
        return workers
    helpers = _helpers(request, view, hierarchy, workers) if request.helpers else []
    return helpers if isinstance(helpers, Refusal) else Placement((*workers, *helpers))


def _grouping(request: GangRequest, hierarchy: Hierarchy) -> Grouping:
    """How many workers must be in one scale-up domain; a whole pool is one."""
    if request.group_workers <= 1 or request.atomic_pool:
        return SINGLE
    return Grouping(request.group_workers, hierarchy.group_depth(request.group_level))


def _with_power(request: GangRequest, view: View, index: ShapeIndex) -> list[str] | Refusal:
    find = _pools if request.atomic_pool else _workers
    before = request.preferred_nodes.values()
    with Draft(index) as draft:
        draft.exclude(sorted(request.avoided))
        with Draft(index) as limited:
            hidden = limit(limited, view.meter, request.worker, before)
            found = find(request, index)
        without_power = (
            hidden and isinstance(found, Refusal) and not isinstance(find(request, index), Refusal)
        )
    if not without_power:
        return found
    need = f"{request.workers * request.chips_per_worker} × {request.accelerator}"
    return no_power(view, request.worker, request.workers, need)


def _pools(request: GangRequest, index: ShapeIndex) -> list[str] | Refusal:
    slices = place_pools(request, index)
    return no_pools(request, index) if slices is None else [node for nodes in slices for node in nodes]


def _workers(request: GangRequest, index: ShapeIndex) -> list[str] | Refusal:
    need = request.workers
    if index.sums[ROOT] < need:
        return too_few(request, index)
    depth = index.hierarchy.depth_of(request.level) or index.depths
    if request.preferred_nodes and (again := place_again(request, index, depth)) is not None:
        return again
    required = request.policy is PlacementPolicy.REQUIRED
    finest = index.depths if request.policy is PlacementPolicy.UNCONSTRAINED else depth
    coarsest = depth if required else 0
    domain = near_domain(request, index, coarsest)
    if domain is None:
        domain = find_domain(index, need, finest, coarsest)
    if domain is None:
        return too_scattered(request, index, depth)
    slices: list[list[str]] = []
    with Draft(index) as draft:
        for _ in range(request.slices):
            target = smallest_within(index, domain, request.workers_per_slice)
            slices.append(sorted(draft.fill(target, request.workers_per_slice), key=index.order))
    slices.sort(key=lambda nodes: index.order(nodes[0]))
    return [node for nodes in slices for node in nodes]


def _helpers(
    request: GangRequest, view: View, hierarchy: Hierarchy, workers: list[str]
) -> list[str] | Refusal:
    placed: list[str] = []
    first = request.workers
    with ExitStack() as charges:
        charges.enter_context(view.charged(gang_charges(replace(request, helpers=()), workers)))
        for helper in request.helpers:
            index = view.index(helper.shape, hierarchy)
            before = [request.preferred_nodes.get(first + i, "") for i in range(helper.count)]
            with Draft(index) as draft:
                draft.exclude(sorted(request.avoided))
                if index.sums[ROOT] < helper.count:
                    return no_room_for_helper(request, helper, index)
                limit(draft, view.meter, helper.shape, before)
                if index.sums[ROOT] < helper.count:
                    return no_power(view, helper.shape, helper.count, f"{helper.count} × {helper.role}")
                nodes = _near(helper, draft, before, workers)
            placed += nodes
            first += helper.count
            charges.enter_context(view.charged(_charges(helper, nodes)))
    return placed


def _near(helper: PodGroupRequest, draft: Draft, before: list[str], workers: list[str]) -> list[str]:
    """Nodes of a helper's pods: where they were, else around the workers, else anywhere."""
    index = draft.index
    nodes: list[str] = []
    around = common_domain(index, dict.fromkeys(workers))
    for old in before:
        if index.copies.get(old, 0) > 0:
            draft.take(old, 1)
            nodes.append(old)
        else:
            nodes += draft.fill(climb(index, around, 1, 0) or ROOT, 1)
    return nodes


def _charges(helper: PodGroupRequest, nodes: list[str]) -> dict[str, dict[str, int]]:
    return {n: shape_charge(helper.shape, nodes.count(n)) for n in dict.fromkeys(nodes)}
