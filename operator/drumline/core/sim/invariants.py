"""What must hold at every moment of a simulation, looked at with books of its own, not those that admission keeps.

1. Nothing is held twice: what gangs hold on a node is at most what it has.
2. All or nothing: a gang that holds nodes holds all of its workers' places; one that runs does so on nodes that are
   well; a TPU slice is exactly one node pool.
3. Work conserving: no waiting gang would fit on the free chips that are not kept for the head of the line.
4. Nobody starves: at the end every job is over that the cluster can hold, unless time was up.
5. No quota is exceeded: of a queue, or of what the queues of a cohort lend each other.
6. No domain draws more power than its budget.

The third counts free chips node by node and domain by domain. It knows gangs of workers alone, as traces have them, and
is looked at where there are neither queues nor power budgets: those keep gangs waiting for other reasons.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from drumline.core.gang.feasibility import standing_obstacle
from drumline.core.gang.placement import hierarchy_for
from drumline.core.gang.placement_pools import POOL_LEVEL
from drumline.core.gang.topology import Path
from drumline.core.gang.types import GangRequest, PlacementPolicy
from drumline.core.sim.engine import Simulation
from drumline.core.sim.gangs import Gang
from drumline.core.sim.model import End, Outcome
from drumline.core.sim.power import overdrawn
from drumline.core.sim.quotas import exceeded


class InvariantError(AssertionError):
    """An invariant does not hold; the message says which, when and for whom."""


def verify(simulation: Simulation) -> None:
    """Raise InvariantError where one of them does not hold, the fourth aside."""
    queues = simulation.rules.queues
    limits = (*exceeded(queues, simulation.account.used()), *_overdrawn(simulation))
    conserving = () if queues or simulation.rules.power.budgets else _idle(simulation)
    for problem in (*_twice(simulation), *_partly(simulation), *limits, *conserving):
        raise InvariantError(f"at {simulation.now:.3f} s: {problem}")


def verify_end(simulation: Simulation, outcomes: Sequence[Outcome]) -> None:
    """Raise InvariantError where somebody starved: only for a simulation that no horizon cut off."""
    left = [o.job.request.name for o in outcomes if o.end is End.UNFINISHED]
    if left:
        raise InvariantError(f"at {simulation.now:.3f} s: {len(left)} jobs never ended, {left[0]} among them")


def _twice(simulation: Simulation) -> Iterator[str]:
    held: Counter[str] = Counter()
    for _, chips in simulation.account.holdings():
        held.update(chips)
    for node, amount in held.items():
        if amount > simulation.chips[node][1]:
            yield f"{amount} chips of {node} are held, which has {simulation.chips[node][1]}"


def _partly(simulation: Simulation) -> Iterator[str]:
    for uid, chips in simulation.account.holdings():
        gang = simulation.gangs[uid]
        if sum(chips.values()) != gang.job.chips:
            yield f"{gang.request.name} holds {sum(chips.values())} of {gang.job.chips} chips"
        if gang.running and not simulation.account.well.issuperset(chips):
            yield f"{gang.request.name} runs on a node that failed"
        if gang.request.atomic_pool:
            yield from _pools_partly(simulation, gang)
        elif gang.request.group_workers > 1:
            yield from _groups_torn(simulation, gang)


def _groups_torn(simulation: Simulation, gang: Gang) -> Iterator[str]:
    hierarchy = hierarchy_for(gang.request, simulation.capacity)
    size = gang.request.group_workers
    if hierarchy is None:
        return
    depth = hierarchy.group_depth(gang.request.group_level)
    paths = [hierarchy.path(simulation.capacity.nodes[node]) for node in gang.nodes]
    for first in range(0, gang.request.workers, size):
        if len({_unit(path, depth) for path in paths[first : first + size]}) != 1:
            yield f"a group of {gang.request.name} is in several scale-up domains"


def _unit(path: Path, depth: int) -> Path:
    """The scale-up domain of a node: what its labels say, else the node."""
    return path[:depth] if path[depth - 1] else path


def _pools_partly(simulation: Simulation, gang: Gang) -> Iterator[str]:
    hierarchy = hierarchy_for(gang.request, simulation.capacity)
    depth = hierarchy.depth_of(POOL_LEVEL) if hierarchy is not None else None
    size = gang.request.workers_per_slice
    if hierarchy is None or depth is None:
        return
    for first in range(0, gang.request.workers, size):
        nodes = gang.nodes[first : first + size]
        pools = {hierarchy.path(simulation.capacity.nodes[node])[:depth] for node in nodes}
        if len(pools) != 1 or len(set(nodes)) != size:
            yield f"a slice of {gang.request.name} is no whole node pool"


def _overdrawn(simulation: Simulation) -> Iterator[str]:
    if simulation.rules.power.budgets:
        held: Counter[str] = Counter()
        for _, chips in simulation.account.holdings():
            held.update(chips)
        capacity = simulation.capacity
        yield from overdrawn(held, capacity.nodes, simulation.rules.power, capacity.topology)


def _idle(simulation: Simulation) -> Iterator[str]:
    for request in simulation.line.firsts():  # those behind them ask for the same and get less
        others = (nodes for uid, nodes in simulation.targets.items() if uid != request.uid)
        if _fits(simulation, request, frozenset().union(*others)):
            yield f"{request.name} waits though it fits"


def _fits(simulation: Simulation, request: GangRequest, kept: frozenset[str]) -> bool:
    """Whether a gang would fit on nodes that are neither kept for others nor avoided by it."""
    hierarchy = hierarchy_for(request, simulation.capacity)
    if hierarchy is None:
        return False
    free: dict[Path, int] = {}
    for name, node in simulation.capacity.nodes.items():
        usable = name not in kept and name not in request.excluded and name in simulation.account.well
        usable = usable and not standing_obstacle(node, request.worker)
        chips = simulation.account.free(name) if usable else 0
        free[hierarchy.path(node)] = chips // request.chips_per_worker
    if request.atomic_pool:
        return _whole_pools(request, free, hierarchy.depth_of(POOL_LEVEL) or 0) >= request.slices
    depth = hierarchy.depth_of(request.level) if request.policy is PlacementPolicy.REQUIRED else 0
    units: Counter[Path] = Counter()
    group_depth = hierarchy.group_depth(request.group_level)
    for path, copies in free.items():
        if not depth or path[depth - 1]:
            units[_unit(path, max(depth or 0, group_depth))] += copies
    domains: Counter[Path] = Counter()
    for unit, copies in units.items():
        domains[unit[: depth or 0]] += copies - copies % request.group_workers
    return max(domains.values(), default=0) >= request.workers


def _whole_pools(request: GangRequest, free: dict[Path, int], depth: int) -> int:
    """Pools of the right size of which every node is free. A stricter policy than any is left out of this count."""
    pools: dict[Path, list[int]] = defaultdict(list)
    for path, copies in free.items():
        pools[path[:depth]].append(copies)
    strict = request.policy is PlacementPolicy.REQUIRED and request.level not in ("", POOL_LEVEL)
    size = request.workers_per_slice
    return 0 if strict else sum(1 for of_pool in pools.values() if len(of_pool) == size and min(of_pool) > 0)
