"""Which base state each lane is in.

All lanes' accounts stand at one time, the ledger's, so time passing costs a step for each state, not for each
lane: only counts are looked at. A lane is one byte.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from drumline.api.goodput import State
from drumline.core.gang.ledger.codes import CODE, IDLE_TAIL, SPARE, UP

CODE_OF: Final[Mapping[State | None, int]] = dict([*CODE.items(), (None, UP)])


class Lanes:
    """A code for each lane, and how many lanes have each code."""

    __slots__ = ("codes", "counts")

    def __init__(self, codes: bytearray) -> None:
        self.codes = codes
        self.counts = [codes.count(c) for c in range(UP + 1)]

    def __len__(self) -> int:
        return len(self.codes)

    def copy(self) -> Lanes:
        """One of its own."""
        new = object.__new__(Lanes)
        new.codes, new.counts = self.codes[:], self.counts[:]
        return new

    @property
    def up(self) -> int:
        """Lanes that are up."""
        return self.counts[UP]

    def set(self, states: Mapping[int, State | None]) -> None:
        """Lanes are in these states from now on; one that the gang does not have is no matter."""
        codes, counts, lanes = self.codes, self.counts, len(self.codes)
        for lane, state in states.items():
            if 0 <= lane < lanes:
                code = CODE_OF[state]
                counts[codes[lane]] -= 1
                counts[code] += 1
                codes[lane] = code

    def resize(self, lanes: int, state: State) -> None:
        """The gang has `lanes` from now on; new ones are in `state`."""
        more = lanes - len(self.codes)
        if more < 0:
            del self.codes[lanes:]
        else:
            self.codes.extend(bytes([CODE_OF[state]]) * more)
        self.counts = [self.codes.count(c) for c in range(UP + 1)]

    def ready(self) -> bool:
        """Whether every lane is up, has done its work or stands by."""
        counts = self.counts
        return counts[UP] > 0 and counts[UP] + counts[IDLE_TAIL] + counts[SPARE] == len(self.codes)

    def most(self) -> int:
        """The code that most lanes have; the earlier state where as many have another."""
        return self.counts.index(max(self.counts))

    def latest(self) -> int:
        """What a gang that is not up waits for: the code of the lane that is furthest from being up."""
        return next((c for c, n in enumerate(self.counts) if n), UP)
