"""Reporters' clocks: what of a report is new, and when on the operator's clock it was.

A reporter is one `origin` of one worker and way of reporting. Its first report fixes the anchor, which is the
time of the operator's clock at which the reporter's clock was 0, as if the report had taken no time to arrive. A
later report that took less moves it earlier. One that is later by more than `late_ms`, though it is newer, shows
that a clock was set or stood still: the anchor is fixed anew.

Of a span only what ends after the reporter's position, the end of the last span that was folded, is new. A row
of steps that reaches over it, since the reporter merged what had not been confirmed, is cut there.

A worker's new origin puts the old one out of use. From a process itself it means that the process was started
again. An epoch has at most MAX_REPORTERS reporters: those out of use are forgotten first, the oldest before others;
where there is none, what a further one says is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from drumline.api.report import Commit, Report, ReportSource, Span, SpanKind
from drumline.core.gang.ledger.codes import PHASES
from drumline.core.gang.ledger.steps import Piece

MAX_REPORTERS: Final = 16
IN_PROCESS: Final = frozenset({ReportSource.REPORT, ReportSource.LAUNCHER})


@dataclass(slots=True)
class Reporter:
    """What is known of one. Times are of its clock, ms."""

    slice: int
    worker: int
    source: str
    origin: str
    anchor: int = 0  # Unix ms
    sent: int = -1  # of its newest report
    position: int = 0
    mark: int = -1  # step of the last span, if it ends at `position`
    step: int = -1  # latest step
    commit_ms: int = -1  # its latest commit
    commit_step: int = -1
    open_code: int = -1  # what is under way, -1 = no phase
    open_start: int = 0
    replaced: bool = False
    row: int = 1  # steps that it tells of at once: the most of late

    def copy(self) -> Reporter:
        """One of its own, which may be changed. The library's way takes four times as long."""
        new = object.__new__(Reporter)
        for name in Reporter.__slots__:
            setattr(new, name, getattr(self, name))
        return new

    def is_of(self, report: Report) -> bool:
        """Whether `report` comes from the same worker by the same way."""
        return (self.slice, self.worker, self.source) == (report.slice, report.worker, report.source)

    def hear(self, report: Report, at: int, late_ms: int) -> bool:
        """Take note of a report that arrived at `at`. Whether it is newer than all before."""
        if report.sent_ms <= self.sent:
            return False
        anchor = at - report.sent_ms
        if self.sent < 0 or anchor < self.anchor or anchor > self.anchor + late_ms:
            self.anchor = anchor
        self.sent = report.sent_ms
        opened = report.open
        self.open_code = PHASES.get(opened.kind, -1) if opened else -1
        self.open_start = opened.start_ms if opened else 0
        return True

    def commit_is_new(self, commit: Commit) -> bool:
        """Whether it was not folded before; it is from now on."""
        if (commit.at_ms, commit.step) <= (self.commit_ms, self.commit_step):
            return False
        self.commit_ms, self.commit_step = commit.at_ms, commit.step
        return True

    def new_of(self, span: Span, now: int) -> Piece | None:
        """What of `span` is new, on the operator's clock and not beyond `now`; it is folded from now on."""
        end = span.start_ms + span.duration_ms
        if end < self.position or (end == self.position and span.step <= self.mark):
            return None
        piece = self._piece(span, max(span.start_ms, self.position), end, now)
        if end > self.position:
            self.mark = -1
        self.position = end
        if span.kind is SpanKind.STEP:
            self.mark = span.step
            self.step = max(self.step, piece.step) if piece.again else piece.step
            self.row = max(
                piece.steps, self.row // 2
            )  # a row that was merged while nothing got through is soon forgotten
        return piece

    def _piece(self, span: Span, start: int, end: int, now: int) -> Piece:
        cut = start > span.start_ms
        fresh = span.step - self.step if cut and self.step >= 0 else span.count
        count = min(max(fresh, 1), span.count)
        length, whole = end - start, max(span.duration_ms, 1)
        return Piece(
            start=min(self.anchor + start, now),
            end=min(self.anchor + end, now),
            silence=start - self.position,
            step=span.step if span.step >= 0 else self.step + count,
            steps=count,
            duration=length,
            save=span.save_ms * length // whole if cut else span.save_ms,
            stall=span.stall_ms * length // whole if cut else span.stall_ms,
            eval=span.eval_ms * length // whole if cut else span.eval_ms,
            tokens=span.tokens * count // span.count,
            flops=int(span.flops) * count // span.count,
            again=cut and fresh <= 0,
        )


def find(reporters: list[Reporter], report: Report) -> int:
    """Where the sender of `report` is in `reporters`, -1 = nowhere."""
    for i, known in enumerate(reporters):
        if known.origin == report.origin and known.is_of(report):
            return i
    return -1
