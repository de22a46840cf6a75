"""An elastic gang whose namespace has no room for all of its slices: with as many as there is room for.

A gang that restarts has pods that are still going, and they count against the quota as well. So it waits until they
are gone before it takes fewer for the quota's sake.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from drumline.core.gang.placement_elastic import reduced
from drumline.core.gang.quota import Role
from drumline.core.gang.types import Refusal
from drumline.runtime.preflight import Cleared


def at_size(cleared: Cleared, slices: int) -> Cleared:
    """The same gang with so many slices; the very same where it has them."""
    request = cleared.request
    if slices == request.slices:
        return cleared
    kinds = len(cleared.roles) - len(request.helpers)
    workers = [(m, shape, count // request.slices * slices) for m, shape, count in cleared.roles[:kinds]]
    return Cleared(reduced(request, slices, lambda _: 1), (*workers, *cleared.roles[kinds:]))


def with_fewer_slices(
    cleared: Cleared, slices: int, refusal: Callable[[Sequence[Role]], Refusal | None]
) -> Cleared | None:
    """The most slices, fewer than these, with which `refusal` has nothing against the gang; None = none will do."""
    low, high = cleared.request.min_slices, slices  # it is refused with `high`
    if not 0 < low < high or refusal(at_size(cleared, low).roles) is not None:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if refusal(at_size(cleared, middle).roles) is not None else (middle, high)
    return at_size(cleared, low)
