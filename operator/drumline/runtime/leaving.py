"""Jobs that are gone and hold their nodes for a moment more.

A pod of such a job that is bound counts by itself. One that the scheduler may still bind, until the garbage collector
has come to it, and one that was created and that the mirror does not show yet do not: for their sake the reservation
stays. Else another gang would be let in on nodes that they are on, or will be in a moment.
"""

from __future__ import annotations

from collections.abc import Callable

from drumline.core.gang.capacity import Capacity
from drumline.core.gang.types import Pod
from drumline.runtime.expectations import Expectations
from drumline.runtime.store import Store


class Leaving:
    """Lets go of their nodes, and says so by `changed`. `pods` has an index `job`."""

    def __init__(
        self, pods: Store[Pod], capacity: Capacity, expectations: Expectations, changed: Callable[[], None]
    ) -> None:
        self._pods = pods
        self._capacity = capacity
        self._expectations = expectations
        self._changed = changed
        self._uids: set[str] = set()

    def add(self, uid: str) -> None:
        """The job is gone."""
        self._uids.add(uid)
        self.look(uid)

    def look(self, seen: str = "") -> None:
        """Free what may be free now. `seen`: the job of which a pod has changed, "" for none."""
        for uid in tuple(self._uids):
            if (uid == seen or not self._pods.by("job", uid)) and not self._may_be_bound(uid):
                self._uids.discard(uid)
                self._expectations.forget(uid)
                self._capacity.release(uid)
                self._changed()

    def _may_be_bound(self, uid: str) -> bool:
        mine = self._pods.by("job", uid).values()
        return any(not p.bound and not p.terminal for p in mine) or self._expectations.pending(uid) > 0
