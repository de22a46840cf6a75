"""Why a gang waits, what would have to leave for it, and until when at the latest it should have its nodes.

1. Now: the very answer that admission would give.
2. Ever: whether it could be placed, and its queue could have the quota, if every other gang ended. If not, nothing below
   is of use.
3. Ahead: gangs that come before it in the order and ask for the same accelerator.
4. Victims: whom admission would tell to leave for it now, by the right of its queue (`preemption`).
5. Leavers: where there is no such right, gangs that hold nodes, from the one whose end costs the least on (lower priority
   first, never a higher one; then work since the last durable checkpoint x accelerators), ended one after the
   other until it fits, by nodes and by quota; then each of them in turn is put back if it fits all the same, the
   costliest first. No other gang of them can stay, though another set might be smaller.
6. When: gangs end at the latest when their deadlines say; the first of these moments at which it fits, if nobody
   else takes the room. Without enough deadlines there is no such moment.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from math import inf

from drumline.core.gang.capacity import Capacity
from drumline.core.gang.device_capacity import resolved
from drumline.core.gang.fairness import Line
from drumline.core.gang.fewest import needed, shortest_beginning
from drumline.core.gang.leniency import lenient
from drumline.core.gang.placement_elastic import hope_for
from drumline.core.gang.preemption import Preemption
from drumline.core.gang.queue_fit import fit
from drumline.core.gang.queue_quota import QueueQuotas, chips_of, over_quota
from drumline.core.gang.queues import NO_QUEUES, Queues
from drumline.core.gang.types import GangRequest, Refusal


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
    victims: tuple[Holder, ...] = ()  # whom admission has leave for it
    soonest: float | None = None  # seconds until another one has run long enough to be one of them


def explain(
    request: GangRequest,
    capacity: Capacity,
    waiting: Iterable[GangRequest],
    holders: Sequence[Holder],
    now: float,
    queues: Queues = NO_QUEUES,
    first: Iterable[str] = (),
) -> Explanation:
    """What holds `request` up. `waiting`: every gang in the queue. `capacity` is as before afterwards.

    `first` are the uids of those for whom others were told to leave.
    """
    counted = resolved(request, capacity)
    if isinstance(counted, Refusal):
        return Explanation(counted, counted)
    request = counted
    case = _Case(lenient(request, capacity), capacity, QueueQuotas(queues), now)
    answer, hope = case.answer(), case.hope()
    ahead = case.ahead(waiting, queues, first)
    if hope is not None or answer is None:
        return Explanation(answer, hope, ahead)
    others = [h for h in holders if h.uid != request.uid]
    told = Explanation(answer, None, ahead, by=case.by(others))
    preemption = Preemption(queues, case.quotas, capacity, now, {})
    way = preemption.find(case.request)
    if way is not None and way.victims:
        known = {h.uid: h for h in others}
        victims = (known[v.uid] for v in way.victims if v.uid in known)
        return replace(told, victims=tuple(victims))
    soonest = preemption.soonest if preemption.soonest < inf else None
    return replace(told, leavers=case.leavers(others), soonest=soonest)


@dataclass(frozen=True, slots=True)
class _Case:
    """One gang that waits, in its world."""

    request: GangRequest
    capacity: Capacity
    quotas: QueueQuotas
    now: float

    def answer(self, gone: Sequence[Holder] = ()) -> Refusal | None:
        """Why it can't begin if these were gone; None: it can."""
        uids = [holder.uid for holder in gone]
        _, found = fit(self.request, self.capacity, self.quotas, self.now, uids)
        return found if isinstance(found, Refusal) else None

    def hope(self) -> Refusal | None:
        """Why it could not begin even alone; None: it could."""
        request, quotas = self.request, self.quotas
        if quotas.queue_of(request) is not None:
            chips = chips_of(request, request.min_slices or None)
            if chips > quotas.most(request.queue, request.accelerator):
                return over_quota(request, quotas, chips)
        _, found = hope_for(request, self.capacity, self.now)
        return found if isinstance(found, Refusal) else None

    def ahead(self, waiting: Iterable[GangRequest], queues: Queues, first: Iterable[str]) -> tuple[str, ...]:
        """Those before it in line that ask for the same accelerator."""
        mine = self.request
        others = [other for other in waiting if other.uid != mine.uid]
        line = Line([*others, mine], queues.queues, self.quotas.share, first)
        before = takewhile(lambda other: other.uid != mine.uid, line)
        return tuple(f"{o.namespace}/{o.name}" for o in before if o.accelerator == mine.accelerator)

    def leavers(self, holders: Sequence[Holder]) -> tuple[Holder, ...]:
        """Who would have to end, of those that are no higher."""
        may = sorted(
            (h for h in holders if h.priority <= self.request.priority),
            key=lambda h: (h.priority, h.loss, h.uid),
        )
        return tuple(needed(shortest_beginning(may, self._fits) or (), self._fits))

    def by(self, holders: Sequence[Holder]) -> float | None:
        """When it fits at the latest, by others' deadlines."""
        ending = sorted(
            ((h.ends_by, h) for h in holders if h.ends_by is not None),
            key=lambda pair: (pair[0], pair[1].uid),
        )
        gone = shortest_beginning([h for _, h in ending], self._fits)
        return max(self.now, ending[len(gone) - 1][0]) if gone else None

    def _fits(self, gone: Sequence[Holder]) -> bool:
        return self.answer(gone) is None
