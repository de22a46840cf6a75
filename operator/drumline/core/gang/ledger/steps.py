"""Step times: what is normal, and what a step's duration is split into.

A segment is the steps of one life of the processes. What the rules compare with is *net* time, a step's
duration without what it reports apart (saving, waiting for input, evaluation): the median and MAD of the
latest WINDOW steps of the segment, or while it has none the median of the segment before.

A row of n steps reported together counts as n steps of their mean. Its net time is split in the order of the
states: beyond the hang limit, max(floor, factor · median) + (n − 1) · median, it hung for all beyond n medians;
beyond n · (median + factor · MAD) some worker was slow, the MAD being taken as 1 ms at least. Each part is clamped to what the ones before it leave.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import Final, NamedTuple

from drumline.api.goodput import STEP_BUCKETS_MS
from drumline.core.gang.ledger.amount import clamped
from drumline.core.gang.ledger.codes import CHECKPOINT_SAVE, DATA_STALL, EVAL, HANG, STRAGGLER
from drumline.core.gang.ledger.settings import LedgerSettings

WINDOW: Final = 64
SCALED: Final = ("duration", "save", "stall", "eval", "tokens", "flops")
PARTS: Final = (HANG, CHECKPOINT_SAVE, DATA_STALL, EVAL, STRAGGLER)


class Piece(NamedTuple):
    """Steps as reported, or what is new of them: a row of `steps` that ends with `step`.

    `start`, `end` are on the ledger's clock; `silence` is how long before it its reporter told of nothing.
    """

    start: int
    end: int
    silence: int
    step: int
    steps: int
    duration: int
    save: int
    stall: int
    eval: int
    tokens: int
    flops: int
    again: bool  # steps that its reporter had told of before

    @property
    def net(self) -> int:
        """Duration without what is reported apart."""
        return max(0, self.duration - self.save - self.stall - self.eval)

    def latter(self, steps: int) -> Piece:
        """Its last steps alone; `start` stays, for time is accounted by the frontier."""
        parts = {name: getattr(self, name) * steps // self.steps for name in SCALED}
        return self._replace(steps=steps, **parts)


def median_of(ordered: list[int]) -> int:
    """Median of sorted numbers, rounded down; 0 of none."""
    n = len(ordered)
    return (ordered[(n - 1) // 2] + ordered[n // 2]) // 2 if n else 0


def mad_of(ordered: list[int]) -> int:
    """Median absolute deviation from the median of sorted numbers."""
    median = median_of(ordered)
    return median_of(sorted([abs(n - median) for n in ordered]))


def spread_of(ordered: list[int]) -> int:
    """The MAD that a limit is set by: at least a millisecond, finer than which nothing is measured."""
    return max(1, mad_of(ordered))


class Steps:
    """Step times of a job."""

    __slots__ = (
        *("baseline", "count", "histogram", "net", "normal", "ordered"),
        *("recent", "segment", "sum_ms"),
    )

    def __init__(self, net: list[int], recent: list[tuple[int, int, int]], histogram: list[int]) -> None:
        self.net = net  # latest of the segment, oldest first
        self.ordered = sorted(net)
        self.normal = median_of(self.ordered)
        self.recent = recent  # latest of all segments: duration, tokens, FLOPs
        self.histogram = histogram or [0] * (len(STEP_BUCKETS_MS) + 1)
        self.baseline = 0  # median of the segment before; 0 = not known
        self.segment = 0  # steps of the segment, without its first
        self.count = 0  # steps of all
        self.sum_ms = 0

    def copy(self) -> Steps:
        """One of its own."""
        new = object.__new__(Steps)
        new.net, new.ordered, new.recent = self.net[:], self.ordered[:], self.recent[:]
        new.histogram, new.normal = self.histogram[:], self.normal
        new.baseline, new.segment, new.count, new.sum_ms = (
            self.baseline,
            self.segment,
            self.count,
            self.sum_ms,
        )
        return new

    def new_segment(self) -> None:
        """Other processes run from now on."""
        self.baseline = self.median()
        self.net, self.ordered, self.segment, self.normal = [], [], 0, 0

    def median(self) -> int:
        """What is normal, ms; 0 = not known."""
        return self.normal or self.baseline

    def usual(self) -> int:
        """Median of the latest steps' whole durations, ms; 0 = not known."""
        return median_of(sorted(ms for ms, _, _ in self.recent))

    def tally(self, piece: Piece) -> None:
        """Count steps, whatever they were."""
        self.count += piece.steps
        self.sum_ms += piece.duration
        self.histogram[bisect_left(STEP_BUCKETS_MS, piece.duration // piece.steps)] += piece.steps

    def add(self, piece: Piece) -> None:
        """Steps of the segment, not its first."""
        self.segment += piece.steps
        n, times = piece.steps, min(piece.steps, WINDOW)
        each = piece.net // n
        if times == WINDOW:
            self.net, self.ordered = [each] * WINDOW, [each] * WINDOW
        for _ in range(times % WINDOW):
            self.net.append(each)
            insort(self.ordered, each)
            if len(self.net) > WINDOW:
                del self.ordered[bisect_left(self.ordered, self.net.pop(0))]
        self.normal = median_of(self.ordered)
        self.recent += [(piece.duration // n, piece.tokens // n, piece.flops // n)] * times
        del self.recent[:-WINDOW]

    def _slow(self, piece: Piece, settings: LedgerSettings) -> int:
        median = self.median()
        if self.segment < settings.straggler_steps or piece.net <= piece.steps * median:
            return 0
        limit = median + settings.straggler_factor * spread_of(self.ordered)
        return max(0, piece.net - piece.steps * limit)

    def split(self, piece: Piece, hang_ms: int, left: int, settings: LedgerSettings) -> list[int]:
        """How much of `left` ms each of PARTS takes. `hang_ms`: what one step may take at most."""
        median, n = self.median(), piece.steps
        hung = piece.net - n * median if median and piece.net > hang_ms + (n - 1) * median else 0
        slow = 0 if hung else self._slow(piece, settings)
        return clamped((hung, piece.save, piece.stall, piece.eval, slow), left)
