"""How many slices each elastic gang that runs with fewer than it wants could have now.

A gang is looked at when it is decided about, at most every `PAUSE_SECONDS`, and only if something of the capacity has
changed since. Most looks end with one comparison: beside what all gangs hold, is there as much free as a slice takes?
Only if so is the gang placed, on trial, its own nodes counted as free and those that are kept for a gang ahead in the
queue as taken, and its queue is asked for quota. Nothing is reserved: the restart asks admission as any other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from drumline.core.gang.device_capacity import resolved
from drumline.core.gang.placement_elastic import has_room_for_more, most_slices
from drumline.core.gang.types import Refusal
from drumline.core.training.elastic import wanted
from drumline.core.training.observation import Observation
from drumline.core.training.policies.admission import asked_of
from drumline.core.training.view import View
from drumline.runtime.admitter import Admitter
from drumline.runtime.job_memory import RoomSeen
from drumline.runtime.ledger_keeper import LedgerKeeper
from drumline.runtime.world import World

PAUSE_SECONDS: Final = 5.0  # between looks at one gang


class Rooms:
    """Tells decisions about elastic jobs what only they need. `now` gives Unix seconds."""

    def __init__(
        self, world: World, admitter: Admitter, keeper: LedgerKeeper, now: Callable[[], float]
    ) -> None:
        self._world = world
        self._admitter = admitter
        self._keeper = keeper
        self._now = now

    def told(self, obs: Observation) -> Observation:
        """The observation with the room there is and the latest checkpoint; the very same for any other job."""
        if obs.spec is None or obs.spec.elastic is None or obs.status.placement is None:
            return obs
        return replace(obs, room=self._room(obs), checkpoint_at=self._keeper.checkpoint_of(obs))

    def _room(self, obs: Observation) -> int:
        """Slices that the gang could have; 0 = it has all that it wants, or nothing is known."""
        if obs.spec is None or obs.placement is None or wanted(obs) <= obs.spec.slices:
            return 0
        memory, now = self._world.remember(obs.job.uid), self._now()
        known, capacity = memory.room, self._world.capacity.now
        if known is not None and known.attempt == obs.status.attempt:
            same = known.generation == capacity.generation
            if same or 0 <= now - known.at < PAUSE_SECONDS:
                return known.slices
        slices = self._look(obs, now)
        memory.room = RoomSeen(now, capacity.generation, obs.status.attempt, slices)
        return slices

    def _look(self, obs: Observation, now: float) -> int:
        asked, capacity = asked_of(View(obs, now, obs.status)), self._world.capacity
        request = resolved(asked, capacity)
        if isinstance(request, Refusal):
            return asked.min_slices
        before = capacity.now.withheld
        capacity.now.withhold(before | self._admitter.kept())
        try:
            if not has_room_for_more(request, capacity):
                return request.min_slices
            most = most_slices(request, capacity)
            return min(most, max(self._admitter.book.slices(request), request.min_slices))
        finally:
            capacity.now.withhold(before)
