"""Time as the ledger moves it about. Splits are exact: parts are differences of floors of running shares."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Amount(NamedTuple):
    """A piece of up time."""

    ms: int = 0  # accelerator-milliseconds
    wall: int = 0  # wall milliseconds in which any lane was up
    shown: int = 0  # wall milliseconds in which most lanes were, which is what the timeline shows

    def part(self, share: int, whole: int) -> Amount:
        """The first `share` of `whole` (> 0) equal pieces."""
        return Amount(self.ms * share // whole, self.wall * share // whole, self.shown * share // whole)

    def plus(self, other: Amount) -> Amount:
        """Both together."""
        return Amount(self.ms + other.ms, self.wall + other.wall, self.shown + other.shown)

    def less(self, other: Amount) -> Amount:
        """What remains without `other`."""
        return Amount(self.ms - other.ms, self.wall - other.wall, self.shown - other.shown)


NOTHING = Amount()


def shares(amount: Amount, cuts: Iterable[int], whole: int) -> list[Amount]:
    """`amount` in pieces as long as `cuts` say, `whole` being all of it, and the rest as the last piece."""
    pieces: list[Amount] = []
    done, reached = NOTHING, 0
    for cut in cuts:
        if not cut:
            pieces.append(NOTHING)
            continue
        reached += cut
        upto = amount.part(reached, whole)
        pieces.append(upto.less(done))
        done = upto
    pieces.append(amount.less(done))
    return pieces


def clamped(wanted: Iterable[int], left: int) -> list[int]:
    """Each of `wanted` in turn, as far as `left` reaches."""
    taken: list[int] = []
    for want in wanted:
        take = min(max(want, 0), left)
        taken.append(take)
        left -= take
    return taken
