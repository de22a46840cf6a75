"""A worker whose steps the operator looks up itself, and what it found, told as reports.

The clock of such a report is the time since the pod's containers started. Its origin is the pod's uid, so an
operator that goes on after a restart is the same reporter: what the ledger has already, it does not take twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from drumline.api.progress import Progress
from drumline.api.report import JobRef, Report, ReportSource
from drumline.runtime.ingest.verdicts import Accepted, Forbidden, Reporter, Stale, Verdict
from drumline.worker.timeline import Timeline

FLUSH_SECONDS: Final = 5.0

Key = tuple[str, int, int]  # job uid, attempt, epoch


class Ledgers(Protocol):
    """Where reports go."""

    def deliver(self, report: Report, reporter: Reporter) -> Verdict:
        """Take a report."""

    def position_of(self, report: Report) -> int:
        """Up to when on its own clock the sender is on record."""

    def alive(self, uid: str) -> None:
        """What is looked up of that job can be read, though it may say nothing new."""


@dataclass(frozen=True, slots=True)
class Target:
    """A running attempt whose steps are looked up. `started_at`: Unix seconds, where its clock is 0."""

    job: JobRef
    attempt: int
    epoch: int
    source: ReportSource
    reporter: Reporter  # rank 0's pod, in whose name is reported
    read_pod: str  # whose log is read
    container: str
    address: str  # of rank 0's pod
    started_at: float
    progress: Progress
    devices: int  # chips, or processes, that a rate of one device counts for
    step: int  # the latest on record, -1 = none

    @property
    def key(self) -> Key:
        """What it is a target for."""
        return self.job.uid, self.attempt, self.epoch


class Told:
    """The timeline of one target. `now` gives Unix seconds."""

    def __init__(self, target: Target, ledgers: Ledgers, now: Callable[[], float]) -> None:
        self.target = target
        self.timeline = Timeline()
        self.over = False  # nobody wants to hear of it any more
        self._ledgers = ledgers
        self._now = now
        self._latest = 0
        self.begun_at = ledgers.position_of(self._report())  # ms; what was before is on record
        if self.begun_at:
            self.timeline.step(target.step, self.begun_at)
            self.timeline.acknowledge(self.begun_at)

    def clock(self, unix: float) -> int:
        """Milliseconds of the report's clock, never negative."""
        moment = max(0, round((unix - self.target.started_at) * 1000))
        self._latest = max(self._latest, moment)
        return moment

    def alive(self) -> None:
        """It can be read."""
        self._ledgers.alive(self.target.job.uid)

    def flush(self) -> None:
        """Report what is new, if there is any."""
        timeline = self.timeline
        if self.over or not (timeline.spans or timeline.commits):
            return
        verdict = self._ledgers.deliver(self._report(), self.target.reporter)
        if isinstance(verdict, Accepted):
            timeline.acknowledge(verdict.receipt.durable_ms)
        self.over = isinstance(verdict, Stale | Forbidden)

    def _report(self) -> Report:
        target, timeline = self.target, self.timeline
        sent = max(self._latest, self.clock(self._now()))
        return Report.model_validate(
            {
                "version": 1,
                "job": target.job,
                "attempt": target.attempt,
                "epoch": target.epoch,
                "source": target.source,
                "origin": f"{target.source}-{target.reporter.uid}"[:64],
                "sentMs": sent,
                "resumedStep": timeline.resumed_step,
                "spans": [span.to_wire() for span in timeline.spans],
                "commits": [{"step": step, "atMs": at} for step, at in timeline.commits],
            }
        )
