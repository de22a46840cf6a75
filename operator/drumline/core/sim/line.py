"""Gangs that wait, those that ask for the same thing together, so that a round looks at few of a long queue.

Within a round capacity only shrinks, and gangs of one kind ask for the same: once one of them is refused, so are all of
its kind behind it. Of a kind for which there are c free copies of its worker, at most c ÷ workers gangs begin. One
more than that therefore suffices to decide as a round over all of them would, the refusal of the first that has to
wait included, which is the one that may become the head.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from itertools import islice

from drumline.core.gang.types import GangRequest

Order = tuple[int, float, str]


def order_of(request: GangRequest) -> Order:
    """The order of admission (`core.gang.admission`)."""
    return -request.priority, request.queued_at, request.uid


class Line:
    """Who waits."""

    def __init__(self) -> None:
        self._kinds: dict[Hashable, list[tuple[Order, GangRequest]]] = {}
        self._places: dict[str, tuple[Hashable, Order]] = {}
        self._wanted: Counter[tuple[str, str]] = Counter()  # gangs that wait, by queue and accelerator type

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, uid: str) -> bool:
        return uid in self._places

    def __iter__(self) -> Iterator[GangRequest]:
        return (request for waiting in self._kinds.values() for _, request in waiting)

    def join(self, kind: Hashable, request: GangRequest) -> bool:
        """Put a gang in; whether it is the first of its kind."""
        order = order_of(request)
        waiting = self._kinds.setdefault(kind, [])
        insort(waiting, (order, request), key=lambda entry: entry[0])
        self._places[request.uid] = kind, order
        self._wanted[request.queue, request.accelerator] += 1
        return waiting[0][0] == order

    def leave(self, uid: str) -> None:
        """Take a gang out, if it is in."""
        if uid not in self._places:
            return
        kind, order = self._places.pop(uid)
        waiting = self._kinds[kind]
        _, request = waiting.pop(bisect_left(waiting, order, key=lambda entry: entry[0]))
        key = request.queue, request.accelerator
        self._wanted[key] -= 1
        if not self._wanted[key]:
            del self._wanted[key]
        if not waiting:
            del self._kinds[kind]

    def wanted(self) -> Iterator[tuple[str, str]]:
        """The queues in which somebody waits, each with an accelerator type that is waited for."""
        return iter(self._wanted)

    def firsts(self) -> Iterator[GangRequest]:
        """The first of each kind."""
        return (waiting[0][1] for waiting in self._kinds.values())

    def front(self, most: Callable[[GangRequest], int]) -> list[GangRequest]:
        """Who may begin now, and the first of each kind that has to wait. `most` gangs like it could begin."""
        return [
            request
            for waiting in self._kinds.values()
            for _, request in islice(waiting, most(waiting[0][1]) + 1)
        ]
