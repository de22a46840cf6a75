"""An elastic gang takes the most of its slices that can be placed; never fewer than it says, never part of one.

1. While it waits for all of it (`patient_until`), it is placed as any other gang.
2. Then it gets the largest number of slices for which there is a placement. If so many can be placed, one less can
   be placed too, so the number is found by bisection, between the fewest that will do and what the free capacity as a
   whole amounts to. Nodes that it only would rather avoid may serve more slices; those at fault never do, unless
   the fewest can't be placed without (`leniency`).

Slices keep their places in order: those of the last attempt of which every node has room go first, so that a gang
that lost its second slice goes on with the first and the third as its first and second.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace

from drumline.core.gang.capacity import Capacity
from drumline.core.gang.capacity_index import ROOT
from drumline.core.gang.leniency import lenient
from drumline.core.gang.placement import hierarchy_for, place, place_later
from drumline.core.gang.types import GangRequest, Placement, Refusal

Room = Callable[[str], int]  # of a node: how many more workers it takes


def place_most(asked: GangRequest, capacity: Capacity, now: float) -> tuple[GangRequest, Placement | Refusal]:
    """The request for as many slices as are placed, and where; or the request as it is, and why it waits.

    `now` and `patient_until` are seconds of one clock.
    """
    if asked.unpinned:
        return asked, place(asked, capacity)
    if not takes_less(asked, now):
        request = lenient(asked, capacity)
        return request, place(request, capacity)
    slices = _most(asked, capacity)
    request = (
        asked
        if slices == asked.slices
        else reduced(asked, slices or asked.min_slices, _room(asked, capacity))
    )
    request = lenient(request, capacity)
    answer = place(request, capacity)
    if isinstance(answer, Placement):
        return request, answer
    text = f"{answer.message}; that is what the fewest of its slices take, {request.slices} of {asked.slices}"
    return asked, Refusal(answer.reason, text)


def hope_for(request: GangRequest, capacity: Capacity, now: float) -> tuple[GangRequest, Placement | Refusal]:
    """What a gang that waits could have if every other gang ended: the least that it would take now."""
    request = fewest(request, now)
    return request, place_later(request, capacity)


def fewest(request: GangRequest, now: float) -> GangRequest:
    """The request for as few slices as it would take now."""
    return reduced(request, request.min_slices, lambda _: 0) if takes_less(request, now) else request


def most_slices(request: GangRequest, capacity: Capacity) -> int:
    """How many of the slices it asks for a gang could have at this moment, its own nodes counted as free; 0 = none.

    What another gang waits for is not hidden here: that is the caller's business (`View.withhold`).
    """
    placed, answer = place_most(replace(request, patient_until=0.0), capacity, 0.0)
    return placed.slices if isinstance(answer, Placement) else 0


def has_room_for_more(request: GangRequest, capacity: Capacity) -> bool:
    """Whether there is as much free beside what all gangs hold as one slice takes, wherever it is: a cheap look."""
    hierarchy = hierarchy_for(request, capacity)
    if hierarchy is None:
        return False
    return capacity.now.index(request.worker, hierarchy).sums[ROOT] >= request.workers_per_slice


def reduced(request: GangRequest, slices: int, room: Room) -> GangRequest:
    """The request for fewer slices, to go where whole ones of the last attempt still have room."""
    size, old = request.workers_per_slice, request.preferred_nodes
    places = [tuple(old.get(first + i, "") for i in range(size)) for first in range(0, request.workers, size)]
    whole = [nodes for nodes in places if _fits(nodes, room)]
    kept = [*whole, *(nodes for nodes in places if nodes not in whole)][:slices]
    preferred = {i: node for i, node in enumerate(node for nodes in kept for node in nodes) if node}
    beyond = {slices * size + i - request.workers: node for i, node in old.items() if i >= request.workers}
    return replace(request, slices=slices, preferred_nodes=preferred | beyond)


def takes_less(request: GangRequest, now: float) -> bool:
    """Whether it would begin with fewer slices than it asks for."""
    return 0 < request.min_slices < request.slices and now >= request.patient_until


def _most(asked: GangRequest, capacity: Capacity) -> int:
    """The largest number of slices for which there is a placement; 0 = none."""
    # more slices are worth a node that would rather be avoided, not one that is at fault
    asked = replace(asked, excluded=asked.excluded.difference(asked.if_possible))
    room = _room(asked, capacity)

    def fits(slices: int) -> bool:
        return isinstance(place(reduced(asked, slices, room), capacity), Placement)

    low, high = asked.min_slices, min(asked.slices, _at_most(asked, capacity))
    if low > high or not fits(low):
        return 0
    if fits(high):
        return high
    while high - low > 1:  # `low` fits, `high` does not
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _at_most(request: GangRequest, capacity: Capacity) -> int:
    """Slices that the free capacity as a whole amounts to, the gang's own counted as free."""
    hierarchy = hierarchy_for(request, capacity)
    if hierarchy is None:
        return 0
    with capacity.without(request.uid):
        return capacity.now.index(request.worker, hierarchy).sums[ROOT] // request.workers_per_slice


def _room(request: GangRequest, capacity: Capacity) -> Room:
    """What room there is on the nodes of the last attempt, the gang's own counted as free."""
    hierarchy = hierarchy_for(request, capacity)
    nodes = set(request.preferred_nodes.values()) - request.avoided
    if hierarchy is None or not nodes:
        return lambda _: 0
    with capacity.without(request.uid):
        index = capacity.now.index(request.worker, hierarchy)
        copies: Mapping[str, int] = {node: index.copies.get(node, 0) for node in nodes}
    return lambda node: copies.get(node, 0)


def _fits(nodes: tuple[str, ...], room: Room) -> bool:
    return all(node and room(node) >= count for node, count in Counter(nodes).items())
