"""Why a gang waits, what would have to leave for it, and until when at the latest it should have its nodes.

1. Now: the very answer that admission would give.
2. Ever: whether it could be placed if every other gang ended. If not, nothing below is of use.
3. Ahead: gangs that come before it in the order and ask for the same accelerator.
4. Leavers: gangs that hold nodes, from the one whose end costs the least on (lower priority first, never a higher
   one; then work since the last durable checkpoint x accelerators), ended one after the other until it fits; then
   each of them in turn is put back if it fits all the same, the costliest first. No other gang of them can stay, though
   another set might be smaller.
5. When: gangs end at the latest when their deadlines say; the first of these moments at which it fits, if nobody
   else takes the room. Without enough deadlines there is no such moment.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from drumline.core.gang.capacity import Capacity
from drumline.core.gang.fewest import needed, shortest_beginning
from drumline.core.gang.leniency import lenient
from drumline.core.gang.placement_elastic import hope_for, place_most
from drumline.core.gang.types import GangRequest, Placement, Refusal


@dataclass(frozen=True, slots=True)
class Holder:
    """A gang that holds nodes. Times are Unix seconds."""

    uid: str
    name: str  # namespace/name
    priority: int
    chips: int
    unsaved_seconds: float = 0.0  # since its last durable checkpoint, or its start
    ends_by: float | None = None  # when its deadline ends it; None = it has none

    @property
    def loss(self) -> float:
        """Accelerator-seconds of work that its end would throw away."""
        return self.unsaved_seconds * self.chips


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is to be said of a gang that waits."""

    refusal: Refusal | None  # None: it fits now
    ever: Refusal | None  # why it would not fit even alone; None: it would
    ahead: tuple[str, ...] = ()  # namespace/name, first in line first
    leavers: tuple[Holder, ...] = ()  # () also where none that may have to leave would do
    by: float | None = None  # Unix seconds


def explain(
    request: GangRequest,
    capacity: Capacity,
    waiting: Iterable[GangRequest],
    holders: Sequence[Holder],
    now: float,
) -> Explanation:
    """What holds `request` up. `waiting`: every gang in the queue. `capacity` is as before afterwards."""
    request = lenient(request, capacity)
    _, answer = place_most(request, capacity, now)
    refusal = answer if isinstance(answer, Refusal) else None
    _, hope = hope_for(request, capacity, now)
    ahead = tuple(
        f"{other.namespace}/{other.name}"
        for other in sorted(waiting, key=_order)
        if other.accelerator == request.accelerator and _order(other) < _order(request)
    )
    if isinstance(hope, Refusal) or refusal is None:
        return Explanation(refusal, hope if isinstance(hope, Refusal) else None, ahead)
    others = [h for h in holders if h.uid != request.uid]
    return Explanation(
        refusal, None, ahead, _leavers(request, capacity, others, now), _by(request, capacity, others, now)
    )


def _order(request: GangRequest) -> tuple[int, float, str]:
    return -request.priority, request.queued_at, request.uid


def _leavers(
    request: GangRequest, capacity: Capacity, holders: Sequence[Holder], now: float
) -> tuple[Holder, ...]:
    may = sorted(
        (h for h in holders if h.priority <= request.priority), key=lambda h: (h.priority, h.loss, h.uid)
    )

    def fits(gone: Sequence[Holder]) -> bool:
        return _fits(request, capacity, gone, now)

    return tuple(needed(shortest_beginning(may, fits) or (), fits))


def _by(request: GangRequest, capacity: Capacity, holders: Sequence[Holder], now: float) -> float | None:
    ending = sorted(
        ((h.ends_by, h) for h in holders if h.ends_by is not None), key=lambda pair: (pair[0], pair[1].uid)
    )
    gone = shortest_beginning([h for _, h in ending], lambda gone: _fits(request, capacity, gone, now))
    return max(now, ending[len(gone) - 1][0]) if gone else None


def _fits(request: GangRequest, capacity: Capacity, gone: Sequence[Holder], now: float) -> bool:
    with ExitStack() as stack:
        for holder in gone:
            stack.enter_context(capacity.without(holder.uid))
        _, answer = place_most(request, capacity, now)
    return isinstance(answer, Placement)
