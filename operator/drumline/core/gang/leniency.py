"""When nodes that a gang avoids may serve it all the same.

Avoiding a node is worth waiting for another one, not waiting for nothing. A gang avoids nodes in three ways:

- always: nothing here changes that;
- if ever possible (`GangRequest.if_ever_possible`): as long as it could be placed without them if every other gang
  ended;
- if possible (`GangRequest.if_possible`): as long as it can be placed without them now.

Of those it has to use, it gets as few as will do, the first of the list first. More nodes never make a placement
impossible, so how many will do is found by bisection.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from drumline.core.gang.capacity import Capacity
from drumline.core.gang.placement import place, place_later
from drumline.core.gang.types import GangRequest, Placement


def lenient(request: GangRequest, capacity: Capacity) -> GangRequest:
    """The request with nodes taken back from `excluded` where it would otherwise wait for nothing."""
    if request.if_ever_possible:
        # what is avoided only while it is possible stands in the way of nothing
        without = replace(request, excluded=request.excluded.difference(request.if_possible))
        fewest = _fewest(without, request.if_ever_possible, lambda r: _fits_later(r, capacity))
        request = replace(request, excluded=request.excluded.difference(fewest))
    if request.if_possible:
        fewest = _fewest(request, request.if_possible, lambda r: _fits(r, capacity))
        request = replace(request, excluded=request.excluded.difference(fewest))
    return request


def _fewest(
    request: GangRequest, nodes: tuple[str, ...], fits: Callable[[GangRequest], bool]
) -> tuple[str, ...]:
    """The shortest beginning of `nodes` with which the gang fits; () if it does without, or not even with all."""

    def fits_with(count: int) -> bool:
        return fits(replace(request, excluded=request.excluded.difference(nodes[:count])))

    if fits_with(0) or not fits_with(len(nodes)):
        return ()
    low, high = 0, len(nodes)  # it does not fit with `low` of them, and does with `high`
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits_with(middle) else (middle, high)
    return nodes[:high]


def _fits(request: GangRequest, capacity: Capacity) -> bool:
    return isinstance(place(request, capacity), Placement)


def _fits_later(request: GangRequest, capacity: Capacity) -> bool:
    return isinstance(place_later(request, capacity), Placement)
