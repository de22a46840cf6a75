"""One round of admission: who of those that wait begins now, in one serial pass.

Order: priority (high first), then time of queueing, then uid. Each gang is placed whole against what is free,
and what it gets is reserved before the next one is looked at: two gangs never get the same accelerator.
A gang that can be placed may still be refused for what no node knows of, such as its namespace's quota
(`allowed`). Where that can't be told yet the round ends, so that nobody passes a gang that is being looked up.

Backfill: a gang that does not fit lets those behind it pass, until it is the *head* of its kind and has waited
`head_wait_seconds`. Head of a kind (the accelerator asked for; without one, "") is the first gang in order
that cannot be placed now but could be if all other gangs ended. A gang that could not even then is no head: it
is refused with the numbers and keeps nobody waiting.

Once a head has waited its time, a *target* is kept for it: nodes that together hold it once they are empty, of
all such sets the one with most free already. Gangs behind the head get nothing on the target in this round.

Nobody starves: no gang behind the head takes from its target, so what is free of the target only grows while
gangs on it end; a later round keeps that target (`kept`) unless another one has more free, which can be so
only as often as the head needs nodes; and before anything else every round asks whether the head fits. Only gangs
ahead of it in the order, a finite number, can be served first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from drumline.core.gang.capacity import Capacity
from drumline.core.gang.capacity_index import ROOT, ShapeIndex
from drumline.core.gang.placement import hierarchy_for
from drumline.core.gang.placement_elastic import hope_for, place_most
from drumline.core.gang.placement_pools import shared_depth, whole_pools
from drumline.core.gang.topology import Path
from drumline.core.gang.types import GangRequest, Placement, PlacementPolicy, Refusal


@dataclass(frozen=True, slots=True)
class AdmissionRound:
    """What one round decided. What was granted is reserved in the capacity."""

    granted: tuple[tuple[str, Placement], ...]  # by uid, in the order of the decisions
    refused: Mapping[str, Refusal]  # by uid
    requeue_after: float | None  # seconds until a head has waited its time; None = wait for a change
    targets: Mapping[str, frozenset[str]] = field(default_factory=dict)  # head's uid → nodes kept for it
    undecided: tuple[GangRequest, ...] = ()  # in order, when the round ended early
    sizes: Mapping[str, int] = field(default_factory=dict)  # by uid, of elastic gangs granted: their slices


NO_TARGETS: Final[Mapping[str, frozenset[str]]] = MappingProxyType({})


class Undecided(Exception):  # noqa: N818 - it is no error: it ends a round
    """Raised by `allowed`: whether this gang may begin can't be told before something is looked up."""


def _always(_: GangRequest) -> Refusal | None:
    return None


def admit(
    pending: Iterable[GangRequest],
    capacity: Capacity,
    now: float,
    head_wait_seconds: float,
    allowed: Callable[[GangRequest], Refusal | None] = _always,
    kept: Mapping[str, frozenset[str]] = NO_TARGETS,
) -> AdmissionRound:
    """Decide about every gang that waits; `now` and `queued_at` are seconds of one clock.

    `allowed` has the last word on a gang that can be placed; when it returns None the gang is granted. `kept`
    are the targets of the round before.
    """
    turn = _Turn(capacity, now, head_wait_seconds, kept)
    undecided: tuple[GangRequest, ...] = ()
    order = sorted((_told_apart(request, capacity) for request in pending), key=_order)
    try:
        for position, asked in enumerate(order):
            request, answer = place_most(asked, capacity, now)
            if isinstance(answer, Refusal):
                turn.refuse(request, answer)
                continue
            try:
                turn.grant(request, answer, allowed(request))
            except Undecided:
                undecided = tuple(order[position:])
                break
    finally:
        capacity.now.withhold(())
    waits = [wait for wait in turn.heads.values() if wait > 0]
    waits += [r.patient_until - now for r in order if r.patient_until > now and r.uid in turn.refused]
    return AdmissionRound(
        tuple(turn.granted), turn.refused, min(waits, default=None), turn.targets, undecided, turn.sizes
    )


@dataclass(slots=True)
class _Turn:
    """A round in the making."""

    capacity: Capacity
    now: float
    head_wait: float
    kept: Mapping[str, frozenset[str]]
    granted: list[tuple[str, Placement]] = field(default_factory=list)
    refused: dict[str, Refusal] = field(default_factory=dict)
    heads: dict[str, float] = field(default_factory=dict)  # kind → seconds the head has still to wait
    targets: dict[str, frozenset[str]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)

    def grant(self, request: GangRequest, placement: Placement, veto: Refusal | None) -> None:
        """Reserve a placement, unless something else forbids it."""
        if veto is not None:
            self.refused[request.uid] = veto
            return
        self.capacity.reserve(request, placement)
        self.granted.append((request.uid, placement))
        if request.min_slices:
            self.sizes[request.uid] = request.slices

    def refuse(self, request: GangRequest, answer: Refusal) -> None:
        """Note why a gang waits; the first of its kind becomes the head if there is hope for it."""
        self.refused[request.uid] = answer
        if request.accelerator in self.heads:
            return
        request, hope = hope_for(request, self.capacity, self.now)
        if isinstance(hope, Refusal):
            text = f"{hope.message}, even if every other gang ended"
            self.refused[request.uid] = Refusal(hope.reason, text)
            return
        self.heads[request.accelerator] = wait = request.queued_at + self.head_wait - self.now
        if wait <= 0:
            self._keep_for(request, answer, hope)

    def _keep_for(self, request: GangRequest, answer: Refusal, hope: Placement) -> None:
        kept = self.kept.get(request.uid, frozenset())
        target = self.targets[request.uid] = target_of(request, self.capacity, hope, kept)
        text = f"{answer.message}; first in line, with {len(target)} of the nodes it can use kept for it"
        self.refused[request.uid] = Refusal(answer.reason, text)
        self.capacity.now.withhold(frozenset().union(*self.targets.values()))


def target_of(
    request: GangRequest, capacity: Capacity, hope: Placement, kept: frozenset[str] = frozenset()
) -> frozenset[str]:
    """The nodes to keep for a head; `hope` is where it would go if every other gang were gone.

    What was kept for it so far, `kept`, goes on unless something else has more free or it would not do any more.
    """
    hierarchy = hierarchy_for(request, capacity)
    if hierarchy is None:
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


def _told_apart(request: GangRequest, capacity: Capacity) -> GangRequest:
    """The request with the nodes whose pods keep it off."""
    repelled = capacity.repelling(request)
    return request if repelled == request.repelled else replace(request, repelled=repelled)


def _order(request: GangRequest) -> tuple[int, float, str]:
    return -request.priority, request.queued_at, request.uid


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
