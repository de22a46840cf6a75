"""Whether a gang can begin now: its queue has quota for it, and there are nodes.

A gang that takes fewer of its slices takes as many as its queue's quota has room for; spares are held as far as the
quota goes.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import replace
from math import inf

from drumline.core.gang.capacity import Capacity
from drumline.core.gang.placement_elastic import place_most, reduced, takes_less
from drumline.core.gang.queue_quota import QueueQuotas, chips_of, over_quota
from drumline.core.gang.types import GangRequest, Placement, Refusal


def fit(
    asked: GangRequest,
    capacity: Capacity,
    quotas: QueueQuotas,
    now: float,
    gone: Iterable[str] = (),
    most: float = inf,
) -> tuple[GangRequest, Placement | Refusal]:
    """The request as it would begin, with `most` chips, and where, if the gangs `gone` held nothing; or why not."""
    with ExitStack() as stack:
        if gone:
            stack.enter_context(quotas.without(gone))
        request = within_quota(asked, quotas, now, most)
        if isinstance(request, Refusal):
            return asked, request
        for uid in gone:
            stack.enter_context(capacity.without(uid))
        return place_most(request, capacity, now)


def within_quota(
    asked: GangRequest, quotas: QueueQuotas, now: float, most: float = inf
) -> GangRequest | Refusal:
    """The request for what its queue may take, `most` chips; what the gang itself holds counts as free."""
    if quotas.unknown(asked):
        return over_quota(asked, quotas, chips_of(asked))
    if quotas.queue_of(asked) is None:
        return asked
    with quotas.without((asked.uid,)):
        room = int(min(quotas.available(asked.queue, asked.accelerator), most))
        request, slices = asked, room // chips_of(asked, 1)
        if slices < asked.slices:
            if not takes_less(asked, now) or slices < asked.min_slices:
                fewest = asked.min_slices if takes_less(asked, now) else asked.slices
                return over_quota(asked, quotas, chips_of(asked, fewest))
            request = reduced(asked, slices, lambda _: 0)
        return _with_spares(request, room)


def chips_placed(request: GangRequest, placement: Placement) -> int:
    """Chips that a placement takes, those of its spares included."""
    spares = len(placement.nodes) - request.pods
    return chips_of(request) + spares * request.chips_per_worker if request.accelerator else 0


def _with_spares(request: GangRequest, room: int) -> GangRequest:
    each = request.spare_size * request.chips_per_worker
    spares = min(request.spares, (room - chips_of(request)) // each)
    return request if spares == request.spares else replace(request, spares=spares)
