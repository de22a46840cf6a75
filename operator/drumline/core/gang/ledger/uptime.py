"""Up time that nothing has told of yet.

Runs [start, end) of the operator's clock, in order, each with what it amounts to; within a run time is taken
to pass evenly. Time is taken from the front only, so a report can't be accounted twice. Of more than MAX_RUNS
runs the two neighbours that are shortest together become one; their amounts add up, so nothing is lost.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from drumline.core.gang.ledger.amount import NOTHING, Amount

MAX_RUNS: Final = 32


class Run(NamedTuple):
    """Time from `start` to `end`."""

    start: int
    end: int
    amount: Amount


def _goes_on(last: Run, start: int, length: int, amount: Amount) -> bool:
    old = last.end - last.start
    return last.end == start and all(
        was * length == now * old for was, now in zip(last.amount, amount, strict=True)
    )


class UpTime:
    """A list of runs."""

    __slots__ = ("runs",)

    def __init__(self, runs: list[Run]) -> None:
        self.runs = runs

    def copy(self) -> UpTime:
        """One of its own."""
        return UpTime(self.runs[:])

    def total(self) -> Amount:
        """All of it."""
        if len(self.runs) == 1:
            return self.runs[0].amount
        amount = NOTHING
        for run in self.runs:
            amount = amount.plus(run.amount)
        return amount

    def add(self, start: int, end: int, amount: Amount) -> None:
        """Time from `start` to `end`, not before anything that is here already."""
        runs = self.runs
        if runs and _goes_on(runs[-1], start, end - start, amount):
            runs[-1] = Run(runs[-1].start, end, runs[-1].amount.plus(amount))
            return
        runs.append(Run(start, end, amount))
        if len(runs) > MAX_RUNS:
            self._join()

    def _join(self) -> None:
        runs = self.runs
        i = min(range(len(runs) - 1), key=lambda k: runs[k + 1].end - runs[k].start)
        joined = Run(runs[i].start, runs[i + 1].end, runs[i].amount.plus(runs[i + 1].amount))
        runs[i : i + 2] = [joined]

    def take(self, until: int) -> Amount:
        """Everything before `until`, which is gone from here then."""
        taken = NOTHING
        runs = self.runs
        while runs and runs[0].start < until:
            start, end, amount = runs[0]
            if end <= until:
                part = amount
                del runs[0]
            else:
                part = amount.part(until - start, end - start)
                runs[0] = Run(until, end, amount.less(part))
            taken = taken.plus(part)
        return taken

    def take_wall(self, wall: int) -> Amount:
        """The first `wall` milliseconds of up time, wherever they lie."""
        for start, end, amount in self.runs:
            if wall < amount.wall:
                return self.take(start + wall * (end - start) // amount.wall)
            wall -= amount.wall
        return self.take(self.runs[-1].end) if self.runs else NOTHING
