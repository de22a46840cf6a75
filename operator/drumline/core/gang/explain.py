"""Why a gang waits, what would have to leave for it, and until when at the latest it should have its nodes.

1. Now: the very answer that admission would give.
2. Ever: whether it could be placed, and its queue could have the quota, if every other gang ended. If not, nothing below
   is of use.
3. Ahead: gangs that come before it in the order and ask for the same accelerator, or stand in the same StrictFIFO queue;
   and the one of them for which it waits by that rule (`explain_line`).
4. Victims: whom admission would tell to leave for it now, by the right of its queue (`preemption`).
5. Leavers: where there is no such right, gangs that hold nodes, from the one whose end costs the least on (lower priority
   first, never a higher one; then work since the last durable checkpoint x accelerators), ended one after the
   other until it fits, by nodes and by quota; then each of them in turn is put back if it fits all the same, the
   costliest first. No other gang of them can stay, though another set might be smaller.
6. When: at the latest by the deadlines of those that hold nodes and of those before it in line (`explain_line`).
7. Later: where nobody has run long enough to leave for it, the first moment at which somebody has whose end lets it begin.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from types import MappingProxyType
from typing import Final

from drumline.core.gang.capacity import Capacity
from drumline.core.gang.device_capacity import resolved
from drumline.core.gang.explain_line import before, behind, held_up, latest, never
from drumline.core.gang.fewest import needed, shortest_beginning
from drumline.core.gang.leniency import lenient
from drumline.core.gang.preemption import Preemption, Way
from drumline.core.gang.queue_fit import fit
from drumline.core.gang.queue_quota import QueueQuotas
from drumline.core.gang.queues import NO_QUEUES, Queues
from drumline.core.gang.types import GangRequest, Refusal

MAX_LOOKS: Final = 16  # moments at which another gang has run long enough to be preempted
NO_LIMITS: Final[Mapping[str, float]] = MappingProxyType({})


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
    behind: str = ""  # namespace/name of whom it waits for in its StrictFIFO queue, whatever room there is
    room: Refusal | None = None  # why it would not fit now if it waited for nobody; None: it would
    endless: tuple[
        str, ...
    ] = ()  # without a deadline, so that there is no telling `by`: holders, then those ahead
    preempts_at: float | None = None  # Unix seconds from which admission would have `later` leave for it
    later: tuple[Holder, ...] = ()


def explain(
    request: GangRequest,
    capacity: Capacity,
    waiting: Iterable[GangRequest],
    holders: Sequence[Holder],
    now: float,
    queues: Queues = NO_QUEUES,
    first: Iterable[str] = (),
    limits: Mapping[str, float] = NO_LIMITS,
) -> Explanation:
    """What holds `request` up. `waiting`: every gang in the queue. `capacity` is as before afterwards.

    `first` are the uids of those for whom others were told to leave; `limits` says by uid how long those that wait may
    run, in seconds.
    """
    counted = resolved(request, capacity)
    if isinstance(counted, Refusal):
        return Explanation(counted, counted, room=counted)
    case = _Case(lenient(counted, capacity), capacity, queues, QueueQuotas(queues), now)
    answer, hope = case.answer(), never(case.request, capacity, case.quotas, now)
    line = before(counted, waiting, queues, case.quotas, first)
    ahead = tuple(f"{o.namespace}/{o.name}" for o in line)
    other = held_up(counted, line, queues, capacity, case.quotas, now)
    refusal = answer if other is None else behind(counted, other)
    told = Explanation(refusal, hope, ahead, room=answer)
    if hope is not None or refusal is None:
        return told
    others = [h for h in holders if h.uid != request.uid]
    told = case.dated(told, line, others, limits)
    if other is not None:
        return replace(told, behind=f"{other.namespace}/{other.name}")
    return case.preempting(told, others)


@dataclass(frozen=True, slots=True)
class _Case:
    """One gang that waits, in its world."""

    request: GangRequest
    capacity: Capacity
    queues: Queues
    quotas: QueueQuotas
    now: float

    def answer(self, gone: Sequence[Holder] = ()) -> Refusal | None:
        """Why it can't begin if these were gone; None: it can."""
        uids = [holder.uid for holder in gone]
        _, found = fit(self.request, self.capacity, self.quotas, self.now, uids)
        return found if isinstance(found, Refusal) else None

    def dated(
        self,
        told: Explanation,
        line: Sequence[GangRequest],
        holders: Sequence[Holder],
        limits: Mapping[str, float],
    ) -> Explanation:
        """When it begins at the latest, or who has no deadline."""
        ends = [(h.ends_by, h.uid) for h in holders if h.ends_by is not None]
        found = latest(self.request, line, ends, limits, self.capacity, self.queues, self.now)
        undated = (h.name for h in holders if h.ends_by is None)
        return replace(told, by=found.at, endless=() if found.at is not None else (*undated, *found.endless))

    def preempting(self, told: Explanation, holders: Sequence[Holder]) -> Explanation:
        """Who leaves for it by right, now or later, or else would have to end."""
        known = {h.uid: h for h in holders}
        for at, way in self._ways():
            victims = tuple(known[v.uid] for v in way.victims if v.uid in known)
            if at <= self.now:
                return replace(told, victims=victims)
            return replace(told, leavers=self.leavers(holders), preempts_at=at, later=victims)
        return replace(told, leavers=self.leavers(holders))

    def _ways(self) -> Iterator[tuple[float, Way]]:
        """How admission would preempt for it, and from when on."""
        at = self.now
        for _ in range(MAX_LOOKS):
            preemption = Preemption(self.queues, self.quotas, self.capacity, at, {})
            way = preemption.find(self.request)
            if way is not None and way.victims:
                yield at, way
                return
            if preemption.soonest == inf:
                return
            at += preemption.soonest

    def leavers(self, holders: Sequence[Holder]) -> tuple[Holder, ...]:
        """Who would have to end, of those that are no higher."""
        may = sorted(
            (h for h in holders if h.priority <= self.request.priority),
            key=lambda h: (h.priority, h.loss, h.uid),
        )
        return tuple(needed(shortest_beginning(may, self._fits) or (), self._fits))

    def _fits(self, gone: Sequence[Holder]) -> bool:
        return self.answer(gone) is None
