"""An elastic gang takes the most of its slices that can be placed; never fewer than it says, never part of one.

1. All that it asks for, as any other gang.
2. Else, once it need not wait for all any more (`patient_until`), the largest number of slices for which there is a
   placement. If so many slices can be placed, one less can be placed too, so the number is found by bisection,
   between the fewest that will do and what the free capacity as a whole amounts to.

Slices keep their places in order: those of the last attempt of which every node has room go first, so that a gang
that lost its second slice goes on with the first and the third as its first and second.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace

from drumline.core.gang.capacity import Capacity
from drumline.core.gang.capacity_index import ROOT
from drumline.core.gang.placement import hierarchy_for, place, place_later
from drumline.core.gang.types import GangRequest, Placement, Refusal

Placed = tuple[GangRequest, Placement]
Room = Callable[[str], int]  # of a node: how many more workers it takes


def place_most(
    request: GangRequest, capacity: Capacity, now: float
) -> tuple[GangRequest, Placement | Refusal]:
    """The request for as many slices as are placed, and where; or the request as it is, and why it waits.

    `now` and `patient_until` are seconds of one clock.
    """
    answer = place(request, capacity)
    if isinstance(answer, Placement) or not _takes_less(request, now):
        return request, answer
    found = _fewer(request, capacity)
    if found is not None:
        return found
    text = f"{answer.message}; there is no room for {request.min_slices} of its slices either"
    return request, Refusal(answer.reason, text)


def hope_for(request: GangRequest, capacity: Capacity, now: float) -> tuple[GangRequest, Placement | Refusal]:
    """What a gang that waits could have if every other gang ended: the least that it would take now."""
    if _takes_less(request, now):
        request = reduced(request, request.min_slices, lambda _: 0)
    return request, place_later(request, capacity)


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


def _takes_less(request: GangRequest, now: float) -> bool:
    return 0 < request.min_slices < request.slices and now >= request.patient_until


def _fewer(request: GangRequest, capacity: Capacity) -> Placed | None:
    hierarchy = hierarchy_for(request, capacity)
    if hierarchy is None:
        return None
    with capacity.without(request.uid):
        index = capacity.now.index(request.worker, hierarchy)
        nodes = set(request.preferred_nodes.values()) - request.avoided
        copies: Mapping[str, int] = {node: index.copies.get(node, 0) for node in nodes}
        most = min(request.slices - 1, index.sums[ROOT] // request.workers_per_slice)

    def tried(slices: int) -> Placed | None:
        less = reduced(request, slices, lambda node: copies.get(node, 0))
        answer = place(less, capacity)
        return (less, answer) if isinstance(answer, Placement) else None

    low, high = request.min_slices, most
    best = tried(low) if low <= high else None
    while best is not None and low < high:
        middle = (low + high + 1) // 2
        found = tried(middle)
        best, low, high = (found, middle, high) if found is not None else (best, low, middle - 1)
    return best


def _fits(nodes: tuple[str, ...], room: Room) -> bool:
    return all(node and room(node) >= count for node, count in Counter(nodes).items())
