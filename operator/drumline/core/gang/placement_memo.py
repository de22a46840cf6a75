"""Why gangs were refused, remembered while nothing changes: of many that ask for the same, one is looked at."""

from __future__ import annotations

from collections.abc import Hashable

from drumline.core.gang.capacity import Capacity
from drumline.core.gang.placement_elastic import takes_less
from drumline.core.gang.types import GangRequest, Refusal


class RefusalMemo:
    """Forgets everything as soon as a charge changes."""

    def __init__(self, capacity: Capacity, now: float) -> None:
        self._capacity = capacity
        self._now = now
        self._generation = -1
        self._known: dict[Hashable, Refusal] = {}

    def get(self, request: GangRequest) -> Refusal | None:
        """The answer to an equal gang, if nothing has changed since."""
        if self._generation != self._capacity.now.generation or not self._comparable(request):
            return None
        return self._known.get(needs(request, self._now))

    def put(self, request: GangRequest, refusal: Refusal) -> None:
        """Remember an answer."""
        if not self._comparable(request):
            return
        if self._generation != self._capacity.now.generation:
            self._known.clear()
            self._generation = self._capacity.now.generation
        self._known[needs(request, self._now)] = refusal

    def _comparable(self, request: GangRequest) -> bool:
        """It holds nothing and has no past that its answer could depend on."""
        past = request.preferred_nodes or request.if_possible or request.if_ever_possible
        held = self._capacity.reserved(request.uid) or self._capacity.has_pods(request.uid)
        return not past and not held


def needs(request: GangRequest, now: float) -> Hashable:
    """Two gangs without a past for which this is equal can be placed at the same time or not at all."""
    return (
        request.slices,
        request.min_slices if takes_less(request, now) else 0,
        request.workers_per_slice,
        request.worker,
        request.helpers,
        request.policy,
        request.level,
        request.accelerator,
        request.chips_per_worker,
        request.atomic_pool,
        request.excluded,
        request.repelled,
        request.near,
        request.near_level,
        request.unpinned,
        request.group_workers,
        request.group_level,
        request.group_required,
    )
