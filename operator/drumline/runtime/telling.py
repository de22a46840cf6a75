"""When a job hears of a refusal: not of every number that changes in it, and of all jobs together not too often.

    a grant                     always, at once; takes from the room that there is
    a refusal, the first one    while there is room: `BURST` at once, then `PER_SECOND`
      of another reason         likewise
      of other numbers          likewise, and per job the less often the more jobs wait

A word to a job is a write of its status and an event, for the API server as much work as a grant is. Where thousands
wait while others begin one after the other, those who wait would keep those who may begin from it. So grants go first
and refusals get the room that they leave: who is first in line hears first, the others when it lets up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from drumline.core.gang.types import Granted, Refusal

Answer = Granted | Refusal

BURST: Final = 500.0
PER_SECOND: Final = 20.0
RETELL_SECONDS: Final = 5.0  # between two refusals of one job that differ only in their numbers, at least
STALE_PER_SECOND: Final = 1000.0  # waiting jobs a second that are gone over for the sake of numbers alone


class Telling:
    """How many words to jobs there is room for. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._room = BURST
        self._at = 0.0
        self.postponed = False  # whether somebody did not hear something for want of room
        self.stale_for: float | None = (
            None  # seconds until somebody may hear of numbers that it did not hear of
        )

    def begin(self) -> None:
        """A round begins."""
        self.postponed, self.stale_for = False, None

    def granted(self) -> None:
        """A gang was let in."""
        self._room = max(0.0, self._refilled() - 1.0)

    def refused(self, told: Answer | None, answer: Refusal, told_at: float, waiting: int) -> bool:
        """Whether a job hears of a refusal now, one of `waiting`; `told` it was at `told_at`, None = nothing yet."""
        again = isinstance(told, Refusal) and told.reason == answer.reason
        left = told_at + max(RETELL_SECONDS, waiting / PER_SECOND) - self._clock()
        if again and left > 0:
            pause = max(left, RETELL_SECONDS, waiting / STALE_PER_SECOND)
            self.stale_for = pause if self.stale_for is None else min(pause, self.stale_for)
            return False
        room = self._refilled()
        if room < 1.0:
            self.postponed = True
            return False
        self._room = room - 1.0
        return True

    def _refilled(self) -> float:
        now = self._clock()
        passed = max(0.0, now - self._at)  # a clock may be set back
        self._room, self._at = min(BURST, self._room + passed * PER_SECOND), now
        return self._room
