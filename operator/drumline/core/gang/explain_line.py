"""Whom a gang waits for in line, and when it begins at the latest if those before it do as their deadlines say.

1. Those before it: in the order of admission, those that ask for the same accelerator, or that stand in the same queue
   where that is StrictFIFO. Who could not begin even alone keeps nobody waiting,
   in a StrictFIFO queue only if that is for its quota.
2. In a StrictFIFO queue it waits for the first of them that can't begin now.
3. The latest beginning: gangs end when their deadlines say, and those in line begin one after the other, each at the first
   moment at which it fits, never before the one ahead of it; each ends as late as its own deadline lets it. One without a
   deadline never ends. An earlier end lets nobody begin later, so this is a bound, as long as nobody else takes the room:
   those behind, or who comes later and goes before. Placements are taken as admission would find them at that moment.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from itertools import takewhile
from typing import Final

from drumline.api.queue import QueueingStrategy
from drumline.api.reasons import Reason
from drumline.core.gang.capacity import Capacity
from drumline.core.gang.device_capacity import resolved
from drumline.core.gang.fairness import Line
from drumline.core.gang.leniency import lenient
from drumline.core.gang.placement_elastic import hope_for
from drumline.core.gang.queue_fit import chips_placed, fit
from drumline.core.gang.queue_quota import QueueQuotas, chips_of, over_quota
from drumline.core.gang.queues import Queues
from drumline.core.gang.types import GangRequest, Placement, Refusal

MAX_BEFORE: Final = 100  # gangs in line that a bound goes through

End = tuple[float, str]  # Unix seconds, uid


@dataclass(frozen=True, slots=True)
class Latest:
    """When a gang begins at the latest."""

    at: float | None  # Unix seconds; None = there is no telling
    endless: tuple[str, ...] = ()  # namespace/name of those in line that begin before it and have no deadline


def never(request: GangRequest, capacity: Capacity, quotas: QueueQuotas, now: float) -> Refusal | None:
    """Why a gang could not begin even alone; None: it could."""
    if quotas.queue_of(request) is not None:
        chips = chips_of(request, request.min_slices or None)
        if chips > quotas.most(request.queue, request.accelerator):
            return over_quota(request, quotas, chips)
    _, found = hope_for(request, capacity, now)
    return found if isinstance(found, Refusal) else None


def before(
    mine: GangRequest,
    waiting: Iterable[GangRequest],
    queues: Queues,
    quotas: QueueQuotas,
    first: Iterable[str],
) -> list[GangRequest]:
    """Those before it in line that it may have to wait for; `first` as for `explain`."""
    strict = _strict(mine, queues)
    others = [other for other in waiting if other.uid != mine.uid]
    line = Line([*others, mine], queues.queues, quotas.share, first)
    return [
        other
        for other in takewhile(lambda other: other.uid != mine.uid, line)
        if other.accelerator == mine.accelerator or (strict and other.queue == mine.queue)
    ]


def held_up(
    mine: GangRequest,
    ahead: Iterable[GangRequest],
    queues: Queues,
    capacity: Capacity,
    quotas: QueueQuotas,
    now: float,
) -> GangRequest | None:
    """The gang of its StrictFIFO queue that has to begin first; None where there is none."""
    for other in ahead:
        if _in_the_way(other, mine, queues, quotas):
            asked = resolved(other, capacity)
            if isinstance(asked, Refusal) or isinstance(fit(asked, capacity, quotas, now)[1], Refusal):
                return other
    return None


def behind(mine: GangRequest, other: GangRequest) -> Refusal:
    """What admission says of those that wait for another one in a StrictFIFO queue."""
    text = f"queue {mine.queue} is StrictFIFO; {other.namespace}/{other.name} is ahead and waits"
    return Refusal(Reason.HEAD_OF_QUEUE_RESERVED, text)


def latest(
    mine: GangRequest,
    ahead: Sequence[GangRequest],
    ends: Iterable[End],
    limits: Mapping[str, float],
    capacity: Capacity,
    queues: Queues,
    now: float,
) -> Latest:
    """When it begins at the latest. `limits`: how long each in line may run, seconds by uid. `capacity` stays as it is."""
    if len(ahead) > MAX_BEFORE:
        return Latest(None)
    endless: list[str] = []
    with ExitStack() as stack:
        course = _Course(capacity, QueueQuotas(queues), stack, now, ends)
        for other in ahead:
            asked = _hopeful(other, capacity, course.quotas, now)
            if asked is None and not _in_the_way(other, mine, queues, course.quotas):
                continue
            if asked is None or not course.begin(asked, limits.get(other.uid)):
                return Latest(None, tuple(endless))
            if other.uid not in limits:
                endless.append(f"{other.namespace}/{other.name}")
        begun = course.begin(mine, None)
        return Latest(course.now) if begun else Latest(None, tuple(endless))


class _Course:
    """What becomes of the cluster; undone when the stack is left."""

    def __init__(
        self, capacity: Capacity, quotas: QueueQuotas, stack: ExitStack, now: float, ends: Iterable[End]
    ) -> None:
        self.now = now
        self.quotas = quotas
        self._capacity = capacity
        self._stack = stack
        self._ends = list(ends)
        heapify(self._ends)

    def begin(self, request: GangRequest, limit: float | None) -> bool:
        """Have a gang begin at the first moment from now on at which it fits; False if there is none."""
        while True:
            fitted, answer = fit(request, self._capacity, self.quotas, self.now)
            if isinstance(answer, Placement):
                break
            if not self._ends:
                return False
            self._end()
        self._stack.callback(self._capacity.release, request.uid)
        self._capacity.reserve_too(fitted, answer)
        self.quotas.grant(fitted, chips_placed(fitted, answer))
        if limit is not None:
            heappush(self._ends, (self.now + limit, request.uid))
        return True

    def _end(self) -> None:
        """Go on to the next moment at which somebody ends."""
        self.now = max(self.now, self._ends[0][0])
        while self._ends and self._ends[0][0] <= self.now:
            _, uid = heappop(self._ends)
            self._stack.enter_context(self._capacity.without(uid))
            self._stack.enter_context(self.quotas.without((uid,)))


def _hopeful(other: GangRequest, capacity: Capacity, quotas: QueueQuotas, now: float) -> GangRequest | None:
    """The request as it is placed; None where it could not begin even alone."""
    asked = resolved(other, capacity)
    if isinstance(asked, Refusal) or never(lenient(asked, capacity), capacity, quotas, now) is not None:
        return None
    return asked


def _in_the_way(other: GangRequest, mine: GangRequest, queues: Queues, quotas: QueueQuotas) -> bool:
    """Whether it holds the other one up by StrictFIFO, even if nodes could never take it."""
    return _strict(mine, queues) and other.queue == mine.queue and not _beyond(other, quotas)


def _strict(request: GangRequest, queues: Queues) -> bool:
    queue = queues.queues.get(request.queue)
    return queue is not None and queue.strategy is QueueingStrategy.STRICT_FIFO


def _beyond(request: GangRequest, quotas: QueueQuotas) -> bool:
    """Whether its queue could never take the gang, whoever ends: then it keeps nobody waiting."""
    if quotas.queue_of(request) is None:
        return quotas.unknown(request)
    least = chips_of(request, request.min_slices or None)
    return least > quotas.most(request.queue, request.accelerator)
