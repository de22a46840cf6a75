"""A job's history told in a few words. Times are milliseconds since the job began, at 0 of the operator's clock."""

from __future__ import annotations

from typing import Any

from drumline.api.goodput import State
from drumline.api.report import Commit, JobRef, OpenSpan, Report, ReportSource, Span, SpanKind
from drumline.core.gang.ledger.events import (
    AttemptBegan,
    AttemptEnded,
    Closed,
    Event,
    LanesChanged,
    LanesResized,
    Reported,
    Ticked,
)
from drumline.core.gang.ledger.fold import fold
from drumline.core.gang.ledger.ledger import Ledger, begin
from drumline.core.gang.ledger.settings import LedgerSettings
from drumline.core.gang.ledger.summary import Summary, summary

JOB = JobRef(namespace="ml", name="llama", uid="u-1")


class Worker:
    """A reporter that tells of everything again in each report, as it may."""

    def __init__(self, attempt: int = 1, *, origin: str = "w", **more: Any) -> None:
        self.attempt, self.origin, self.more = attempt, origin, more
        self.clock = 0
        self.step = 0
        self.spans: list[Span] = []
        self.commits: list[Commit] = []

    def idle(self, ms: int) -> Worker:
        """Time passes that it says nothing of."""
        self.clock += ms
        return self

    def phase(self, kind: str, ms: int) -> Worker:
        self.spans.append(Span(kind=SpanKind(kind), start_ms=self.clock, duration_ms=ms))
        return self.idle(ms)

    def steps(self, *durations: int, **parts: Any) -> Worker:
        """One step of each duration."""
        for ms in durations:
            self.step += 1
            self.spans.append(
                Span(kind=SpanKind.STEP, start_ms=self.clock, duration_ms=ms, step=self.step, **parts)
            )
            self.idle(ms)
        return self

    def row(self, count: int, ms: int, **parts: Any) -> Worker:
        """Steps reported together."""
        self.step += count
        self.spans.append(
            Span(
                kind=SpanKind.STEP,
                start_ms=self.clock,
                duration_ms=ms,
                step=self.step,
                count=count,
                **parts,
            )
        )
        return self.idle(ms)

    def commit(self, step: int | None = None) -> Worker:
        self.commits.append(Commit(step=self.step if step is None else step, at_ms=self.clock))
        return self

    def forget(self) -> Worker:
        """What it said is on record."""
        self.spans, self.commits = [], []
        return self

    def report(self, **more: Any) -> Report:
        opened = more.pop("open", None)
        fields = {
            "source": ReportSource.REPORT,
            "open": OpenSpan(kind=SpanKind(opened), start_ms=self.clock) if opened else None,
            "sent_ms": self.clock,
            **self.more,
            **more,
        }
        return Report(
            version=1,
            job=JOB,
            attempt=self.attempt,
            origin=self.origin,
            spans=tuple(self.spans),
            commits=tuple(self.commits),
            **fields,
        )


class Story:
    """Folds events, and checks after each that the account adds up and that no total fell."""

    def __init__(self, lanes: int = 2, weight: int = 4, **settings: Any) -> None:
        self.ledger: Ledger = begin(0, lanes, weight, LedgerSettings(**settings))
        self.now = 0
        self.expected = 0
        self.before: Summary = summary(self.ledger, 0)

    def fold(self, event: Event) -> Story:
        lanes, weight = self.before.lanes, self.before.weight
        if self.before.ended_at is None:
            self.expected += max(0, event.at - self.now) * lanes * weight
        self.now = max(self.now, event.at)
        self.ledger = fold(self.ledger, event)
        self.check()
        return self

    def check(self) -> None:
        after, before = summary(self.ledger, self.ledger.at), self.before
        assert sum(after.totals.values()) + after.provisional_ms == after.elapsed_ms == self.expected
        assert all(after.totals.get(s, 0) >= ms for s, ms in before.totals.items())
        assert all(0 <= after.restart.get(s, 0) <= ms for s, ms in after.totals.items())
        assert all(after.restart.get(s, 0) >= ms for s, ms in before.restart.items())
        assert after.provisional_ms >= 0
        for name in ("held_ms", "gang_ready_ms", "tokens", "hangs", "lost_steps", "failures", "commits"):
            assert getattr(after, name) >= getattr(before, name), name
        assert sum(int(t.split(":")[1]) for t in after.timeline) == after.at - after.started_at
        assert len(after.timeline) <= 128
        self.before = after

    # events

    def lanes(self, at: int, state: State | None, *which: int) -> Story:
        """Lanes (all if none is named) enter a state."""
        lanes = which or range(self.before.lanes)
        return self.fold(LanesChanged(at, dict.fromkeys(lanes, state)))

    def begin(self, at: int, attempt: int = 1, *, epoch: int = 0, restart: bool = False) -> Story:
        """An attempt begins and all its lanes are up at once."""
        self.fold(AttemptBegan(at, attempt, epoch, restart))
        return self.lanes(at, None)

    def hear(self, at: int, report: Report) -> Story:
        return self.fold(Reported(at, report))

    def leap(self, at: int) -> Story:
        """Time passes while nobody looks."""
        return self.fold(Ticked(at))

    def tick(self, at: int) -> Story:
        """Time passes and the operator is there."""
        for between in range(self.now + 30_000, at, 30_000):
            self.leap(between)
        return self.leap(at)

    def fail(self, at: int, attempt: int = 1) -> Story:
        """The attempt fails, and its lanes drain."""
        self.fold(AttemptEnded(at, attempt, failed=True))
        return self.lanes(at, State.DRAINING)

    def resize(self, at: int, lanes: int, state: State = State.QUEUED) -> Story:
        return self.fold(LanesResized(at, lanes, state))

    def close(self, at: int, *, success: bool) -> Story:
        return self.fold(Closed(at, success))

    # what came of it

    @property
    def figures(self) -> Summary:
        return self.before

    def ms(self, state: State) -> int:
        """Settled wall milliseconds, if all lanes did it."""
        total = self.before.totals.get(state, 0)
        each = self.before.lanes * self.before.weight
        assert total % each == 0
        return total // each

    def restart_ms(self, state: State) -> int:
        return self.before.restart.get(state, 0) // (self.before.lanes * self.before.weight)

    @property
    def provisional(self) -> int:
        return self.before.provisional_ms // (self.before.lanes * self.before.weight)
