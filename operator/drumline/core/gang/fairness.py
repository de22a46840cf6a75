"""Whose turn it is: the next gang of all that wait, in O(log queues).

Order: what others were told to leave for, so that those who left can't take it back; then queues of weight 0 last;
then gangs that have waited beyond all patience (`aged`), which no priority keeps back any longer; then priority, high
first; then the queue's weighted dominant share, small first; then time of queueing; then uid. Among aged gangs priority
and share count for nothing: whoever waits becomes one in time, so nobody waits for ever behind those who keep coming.

Each queue's gangs stand in a lane of their own, in order; the first of every lane is in a heap. While a gang is
looked at its lane is out of the heap, and it goes back with the share that its queue has by then. What a
gang gets changes its own queue's share only (what the cohort lends does not change), so no other entry is ever out
of date. Gangs of no queue have a lane of their own and no share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from heapq import heapify, heappop, heappush
from math import inf

from drumline.core.gang.queues import Queue
from drumline.core.gang.types import GangRequest

Rank = tuple[bool, bool, float, float, float, str]


def aged(request: GangRequest, now: float, aging_seconds: float) -> GangRequest:
    """The request as one that has waited beyond all patience, if it has; 0 = patience never ends."""
    if not aging_seconds or request.aged or now - request.queued_at < aging_seconds:
        return request
    return replace(request, aged=True)


class Line:
    """An iterator over all that wait, which asks for the shares as it goes."""

    def __init__(
        self,
        pending: Iterable[GangRequest],
        queues: Mapping[str, Queue],
        share: Callable[[str], float],
        first: Iterable[str] = (),
    ) -> None:
        self._share = share
        self._first = set(first)
        self._weightless = {name for name, queue in queues.items() if not queue.weight}
        self._lanes: dict[str, list[GangRequest]] = {}
        for request in pending:
            self._lanes.setdefault(request.queue, []).append(request)
        for lane in self._lanes.values():
            lane.sort(key=self._in_lane, reverse=True)  # the next one at the end
        self._heap = [(self._rank(lane[-1]), name) for name, lane in self._lanes.items()]
        heapify(self._heap)
        self._out: str | None = None  # the queue whose gang is being looked at

    def __iter__(self) -> Line:
        return self

    def __next__(self) -> GangRequest:
        if self._out is not None and self._lanes[self._out]:
            heappush(self._heap, (self._rank(self._lanes[self._out][-1]), self._out))
        self._out = None
        if not self._heap:
            raise StopIteration
        _, self._out = heappop(self._heap)
        return self._lanes[self._out].pop()

    def demote(self, request: GangRequest) -> bool:
        """Put the gang being looked at back where it belongs if it was let go first; False if it was not."""
        if request.uid not in self._first:
            return False
        self._first.discard(request.uid)
        lane = self._lanes[request.queue]
        lane.append(request)
        lane.sort(key=self._in_lane, reverse=True)
        return True

    def rest(self, queue: str) -> list[GangRequest]:
        """Take everybody else of a queue out of the line, in order."""
        lane, self._lanes[queue] = self._lanes[queue], []
        return lane[::-1]

    def _in_lane(self, request: GangRequest) -> tuple[bool, float, float, str]:
        return request.uid not in self._first, precedence(request), request.queued_at, request.uid

    def _rank(self, request: GangRequest) -> Rank:
        return (
            request.uid not in self._first,
            request.queue in self._weightless,
            precedence(request),
            0.0 if request.aged else self._share(request.queue),
            request.queued_at,
            request.uid,
        )


def precedence(request: GangRequest) -> float:
    """What of the order is the gang's own, before any share or age: small goes first."""
    return -inf if request.aged else -request.priority
