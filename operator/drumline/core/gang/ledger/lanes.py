"""Which base state each lane is in.

All lanes' accounts stand at one time, the ledger's, so time passing costs a step for each state, not for each
lane: only counts are looked at. A lane is one byte.
"""

from __future__ import annotations

from drumline.api.goodput import State
from drumline.core.gang.ledger.codes import CODE, IDLE_TAIL, SPARE, UP


def code_of(state: State | None) -> int:
    """The code of a base state; None is up."""
    return UP if state is None else CODE[state]


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

    def set(self, lane: int, state: State | None) -> None:
        """`lane` is in `state` from now on; a lane that the gang does not have is no matter."""
        if 0 <= lane < len(self.codes):
            code = code_of(state)
            self.counts[self.codes[lane]] -= 1
            self.counts[code] += 1
            self.codes[lane] = code

    def resize(self, lanes: int, state: State) -> None:
        """The gang has `lanes` from now on; new ones are in `state`."""
        more = lanes - len(self.codes)
        if more < 0:
            del self.codes[lanes:]
        else:
            self.codes.extend(bytes([code_of(state)]) * more)
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
