"""Who is heard next: of each pod one thing waits, and gangs take turns.

A gang of which ten thousand launchers have something to say at once has one of them heard for each one that any other
gang has waiting. Pods that claim another gang each time win nothing by it: what waited of them before is gone then.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")
Gang = tuple[str, int]  # job uid, attempt


class Turns(Generic[T]):
    """First in, first out inside a gang."""

    def __init__(self) -> None:
        self._lanes: OrderedDict[Gang, OrderedDict[str, T]] = OrderedDict()
        self._gangs: dict[str, Gang] = {}  # pod → the gang in whose lane it waits

    def __len__(self) -> int:
        return len(self._gangs)

    def __iter__(self) -> Iterator[T]:
        return (entry for lane in self._lanes.values() for entry in lane.values())

    def get(self, pod: str) -> T | None:
        """What waits of a pod."""
        gang = self._gangs.get(pod)
        return self._lanes[gang][pod] if gang is not None else None

    def put(self, gang: Gang, pod: str, entry: T) -> None:
        """Let it wait, in the place of what waited of the same pod and gang."""
        if self._gangs.get(pod, gang) != gang:
            self._take(pod)
        self._lanes.setdefault(gang, OrderedDict())[pod] = entry
        self._gangs[pod] = gang

    def pop(self) -> T:
        """The next one. KeyError when nothing waits."""
        gang, lane = next(iter(self._lanes.items()), (None, None))
        if gang is None or lane is None:
            raise KeyError("nothing waits")
        entry = self._take(next(iter(lane)))
        if lane:
            self._lanes.move_to_end(gang)
        return entry

    def clear(self) -> None:
        """Nothing waits any more."""
        self._lanes.clear()
        self._gangs.clear()

    def _take(self, pod: str) -> T:
        gang = self._gangs.pop(pod)
        entry = self._lanes[gang].pop(pod)
        if not self._lanes[gang]:
            del self._lanes[gang]
        return entry
