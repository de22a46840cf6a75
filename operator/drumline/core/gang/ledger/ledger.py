"""The ledger of one job. Fold events into it with `fold.fold`; read it with `summary.summary`.

Everything it holds, by where time goes:

    lanes ── base state ──────────────────────────────────────────→ totals
      └── up → up time ── phases, gaps ───────────────────────────→ totals
                  ├── first step (until a normal one is known) ──→ totals, buckets
                  └── steps ── parts ─────────────────────────────→ totals
                        └── rest → buckets ── commit, restart ──→ totals (productive, lost_progress)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from drumline.core.gang.ledger.amount import Amount
from drumline.core.gang.ledger.buckets import Buckets
from drumline.core.gang.ledger.chart import Chart
from drumline.core.gang.ledger.codes import QUEUED, UP
from drumline.core.gang.ledger.lanes import Lanes
from drumline.core.gang.ledger.reporters import Reporter
from drumline.core.gang.ledger.settings import LedgerSettings
from drumline.core.gang.ledger.steps import Piece, Steps
from drumline.core.gang.ledger.uptime import UpTime

Phases = dict[int, int]  # wall ms by state code


class First(NamedTuple):
    """A segment's first step, with all that went before it unreported: to be split when more steps are known."""

    piece: Piece
    amount: Amount
    restart: bool  # its compiling is the price of a restart
    phases: tuple[tuple[int, int], ...] | None  # of the recovery that it ends


class Record(NamedTuple):
    """What is kept of an attempt's epoch."""

    lost_steps: int = -1  # -1 = not known
    recovery: tuple[tuple[int, int], ...] = ()


@dataclass
class Ledger:
    """A value: folding gives a new one. Its parts are the ledger's own business, but for the first four."""

    settings: LedgerSettings
    at: int  # up to when it accounts, Unix ms; never goes back
    attempt: int = 0
    epoch: int = 0

    started_at: int = 0
    closed_at: int = -1
    weight: int = 1
    lanes: Lanes = field(default_factory=lambda: Lanes(bytearray()))
    totals: list[int] = field(default_factory=lambda: [0] * UP)  # accelerator-ms by state code
    restart: list[int] = field(default_factory=lambda: [0] * UP)
    elapsed_ms: int = 0
    ready_ms: int = 0
    chart: Chart = field(default_factory=lambda: Chart([]))

    up: UpTime = field(default_factory=lambda: UpTime([]))
    frontier: int = 0  # up time before it is accounted
    steps: Steps = field(default_factory=lambda: Steps([], [], []))
    first: First | None = None
    buckets: Buckets = field(default_factory=lambda: Buckets([]))
    reporters: list[Reporter] = field(default_factory=list)  # of the epoch; never changed in place
    stragglers: dict[str, int] = field(default_factory=dict)

    running: bool = False  # an attempt is under way
    ended_at: int = -1  # when it ended, until its up time is accounted
    recovering: bool = False  # time is the price of a restart
    was_recovering: bool = False  # … and so was the ended attempt's
    phases: Phases | None = None  # of the recovery under way
    records: dict[tuple[int, int], Record] = field(default_factory=dict)  # by attempt and epoch
    reported: bool = False  # a report ever came
    told: bool = False  # … in this epoch
    stepped: bool = False  # this segment has a step
    resumed: bool = False  # it is known from which step this segment went on
    hanging: bool = False
    awake_at: int = 0  # since then time passed in small steps

    step: int = -1
    step_attempt: int = 0  # which attempt made it …
    step_epoch: int = 0  # … and which epoch of it
    committed: int = -1
    lost_steps: int = 0
    tokens: int = 0
    flops: int = 0
    seen_tokens: int = 0
    seen_flops: int = 0
    seen_step_ms: int = 0
    progress_at: int = -1
    checkpoint_at: int = -1
    epoch_commit_at: int = -1  # latest commit of this epoch
    saves: int = 0
    restores: int = 0
    commits: int = 0
    gap_ms: int = 0  # wall time between commits, summed
    gaps: int = 0
    failures: int = 0
    hangs: int = 0

    def copy(self) -> Ledger:
        """One of its own, which may be changed."""
        new = object.__new__(Ledger)
        new.__dict__.update(self.__dict__)
        new.lanes, new.chart, new.up = self.lanes.copy(), self.chart.copy(), self.up.copy()
        new.steps, new.buckets = self.steps.copy(), self.buckets.copy()
        new.totals, new.restart = self.totals[:], self.restart[:]
        new.reporters, new.stragglers = self.reporters[:], self.stragglers.copy()
        new.records = self.records.copy()
        new.phases = None if self.phases is None else self.phases.copy()
        return new

    def provisional_ms(self) -> int:
        """Accelerator-ms that no state has for good."""
        first = self.first.amount.ms if self.first else 0
        return self.buckets.ms + self.up.total().ms + first


def begin(at: int, lanes: int, weight: int, settings: LedgerSettings) -> Ledger:
    """A job that was created at `at` (Unix ms), its lanes queued. `weight`: accelerators of a lane, ≥ 1."""
    queued = Lanes(bytearray([QUEUED]) * lanes)
    return Ledger(settings, at, started_at=at, frontier=at, awake_at=at, weight=weight, lanes=queued)
