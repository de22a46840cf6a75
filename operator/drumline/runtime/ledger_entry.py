"""What the keeper remembers of one job, and what is under way to its status."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from drumline.api.report import Report, ReportSource
from drumline.api.status import TrainingJobStatus
from drumline.core.gang.ledger.events import Compared, Reported
from drumline.core.gang.ledger.fold import fold_all
from drumline.core.gang.ledger.ledger import Ledger
from drumline.core.gang.ledger.peers import Peers
from drumline.core.gang.plan import Plan
from drumline.core.training.accounts import NO_LANES, KnownLanes
from drumline.core.training.silence import Hello

MAX_EXITS: Final = 32
_OF_WORKERS: Final = frozenset({ReportSource.REPORT, ReportSource.LAUNCHER})
BEST_FIRST: Final = (ReportSource.REPORT, ReportSource.LAUNCHER, ReportSource.SCRAPE, ReportSource.LOG)


@dataclass(frozen=True, slots=True)
class Speaker:
    """Who tells the steps of an attempt: one worker, in one way. Two would tell of the same time twice."""

    attempt: int
    source: ReportSource
    lane: tuple[int, int]  # slice, worker

    @property
    def order(self) -> tuple[int, tuple[int, int]]:
        """The least is listened to: the best way, then the first worker."""
        return BEST_FIRST.index(self.source), self.lane

    @classmethod
    def of(cls, ledger: Ledger) -> Speaker | None:
        """Who told the steps that a ledger knows of; None when nobody has."""
        found = [
            cls(ledger.attempt, ReportSource(r.source), (r.slice, r.worker))
            for r in ledger.reporters
            if r.step >= 0
        ]
        return min(found, key=lambda speaker: speaker.order, default=None)


@dataclass(slots=True)
class Entry:
    """One job's ledger. Times are Unix seconds unless they say otherwise."""

    ledger: Ledger
    written: Ledger  # as the last status that was written has it
    written_at: float  # when that was, or when this replica first saw the job
    since: float  # when it did
    lanes: KnownLanes = NO_LANES  # as the ledger was last told
    ended: tuple[int, int] = (0, 0)  # the last attempt, and epoch, whose end it was told
    early: float = 0.0  # by what part of a period figures are due sooner, this time
    speaker: Speaker | None = None
    hello: Hello | None = None
    said_last: tuple[int, int] = (
        0,
        0,
    )  # attempt and epoch whose program has said that it will make no more steps
    heard_at: float = 0.0  # when anything of the attempt was last heard; 0 = not by this replica
    exits: dict[str, str] = field(default_factory=dict)  # pod → how its process ended, as reported
    peers: Peers = field(default_factory=Peers)
    writing: bool = False
    late: list[Reported] = field(default_factory=list)  # came while a status was being written

    def hear(self, event: Reported) -> None:
        """Fold a report, into what is being written too once that is settled."""
        self.ledger = fold_all(self.ledger, (event,))
        if self.writing:
            self.late.append(event)

    def greet(self, report: Report, now: float) -> None:
        """A worker's launcher, or a program under it, has reported, whatever it said."""
        if report.source in _OF_WORKERS:
            self.heard_at = now
            if report.final:
                self.said_last = report.attempt, report.epoch
            self.hello = Hello(report.attempt, report.old_python)

    def hear_exit(self, pod: str, text: str) -> None:
        """A pod's last words. Those of the pod that failed first are kept in the status, so few are enough here."""
        self.exits[pod] = text
        if len(self.exits) > MAX_EXITS:
            del self.exits[next(iter(self.exits))]

    def compared(self, ledger: Ledger, at: int) -> list[Compared]:
        """Which workers of the attempt are slow, as they told of themselves; nothing while that is not known."""
        slow = self.peers.slow((ledger.attempt, ledger.epoch), ledger.settings.straggler_factor)
        return [] if slow is None else [Compared(at, ledger.attempt, ledger.epoch, slow)]

    def speaker_of(self, attempt: int) -> Speaker | None:
        """Who tells the steps of that attempt; None while nobody does."""
        return self.speaker if self.speaker is not None and self.speaker.attempt == attempt else None


@dataclass(frozen=True, slots=True)
class Draft:
    """A plan with the ledger's figures in it, and what becomes of the entry if it is written."""

    plan: Plan
    entry: Entry | None = None  # None: nothing of the ledger is in the plan
    ledger: Ledger | None = None
    lanes: KnownLanes = NO_LANES
    ended: tuple[int, int] = (0, 0)
    before: TrainingJobStatus | None = None
    after: TrainingJobStatus | None = None
    early: float = 0.0  # of the status after this one

    def begin(self) -> None:
        """The plan is about to be applied."""
        if self.entry is not None:
            self.entry.writing = True
            self.entry.late = []

    def end(self, *, written: bool, now: float) -> None:
        """The plan was applied; whether a status of it was written decides what holds."""
        entry, ledger = self.entry, self.ledger
        if entry is None or ledger is None:
            return
        late: Sequence[Reported] = entry.late
        entry.writing, entry.late = False, []
        if written:
            entry.ledger = fold_all(ledger, late) if late else ledger
            entry.written, entry.written_at, entry.early = ledger, now, self.early
            entry.lanes, entry.ended = self.lanes, self.ended
