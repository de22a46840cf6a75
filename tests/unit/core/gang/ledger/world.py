"""A random job: processes that work, reports that get lost, an operator whose clock and life are uncertain.

Each action is a name and a number that it makes of it what it needs. Two ledgers are told the same; one of them
is written down and read back at random.
"""

from __future__ import annotations

from itertools import pairwise

from drumline.api.goodput import MAX_RESUME, State
from drumline.api.report import Report, Span, SpanKind
from drumline.core.gang.ledger.events import (
    AttemptBegan,
    AttemptEnded,
    Closed,
    Compared,
    Event,
    LanesChanged,
    LanesResized,
    Reported,
    Ticked,
)
from drumline.core.gang.ledger.fold import fold
from drumline.core.gang.ledger.resume import from_resume, to_resume
from drumline.core.gang.ledger.summary import summary
from tests.unit.core.gang.ledger.story import Story, Worker

BASE = (None, None, None, State.POD_INIT, State.GANG_WAIT, State.QUEUED, State.IDLE_TAIL, State.SPARE)
PHASES = [k.value for k in SpanKind if k is not SpanKind.STEP]
SKEWS = (-90_000, -500, 500, 90_000, 400_000)


class World:
    """Interprets actions."""

    def __init__(self) -> None:
        self.story = Story(lanes=3, weight=4, hang_floor_ms=20_000, checkpoint_interval_ms=5000)
        self.twin = self.story.ledger
        self.time, self.skew = 1000, 0
        self.attempt, self.epoch, self.lives = 0, 0, 0
        self.worker = Worker(0)
        self.under_way: list[Report] = []  # sent, not arrived
        self.arrived: list[Report] = []

    def tell(self, event: Event) -> None:
        self.story.fold(event)
        self.twin = fold(self.twin, event)
        assert summary(self.twin, self.twin.at) == self.story.figures

    @property
    def clock(self) -> int:
        """The operator's."""
        return max(1, self.time + self.skew)

    def act(self, name: str, n: int) -> None:
        self.time += n % 40
        getattr(self, name)(n)

    # processes

    def _spend(self, ms: int) -> None:
        self.time += ms

    def step(self, n: int) -> None:
        ms = 30_000 if n % 50 == 0 else 100 + n % 70
        self.worker.steps(ms, stall_ms=ms // 5 * (n % 7 == 0), save_ms=ms // 2 * (n % 11 == 0), tokens=n)
        self._spend(ms)

    def row(self, n: int) -> None:
        self.worker.row(1 + n % 20, 50 + n, tokens=n)
        self._spend(50 + n)

    def phase(self, n: int) -> None:
        self.worker.phase(PHASES[n % len(PHASES)], n)
        self._spend(n)

    def idle(self, n: int) -> None:
        self.worker.idle(n * 5)
        self._spend(n * 5)

    def commit(self, n: int) -> None:
        self.worker.commit(max(-1, self.worker.step - n % 4))

    def back(self, n: int) -> None:
        self.worker.step = max(0, self.worker.step - n % 6)

    def life(self, n: int) -> None:
        """The processes begin again without anybody saying so."""
        if self.lives < 10:
            self._new_worker(n)

    def _new_worker(self, n: int) -> None:
        step = max(0, self.worker.step - n % 6)
        self.lives += 1
        more = {"epoch": self.epoch} | ({"resumed_step": step} if n % 3 == 0 else {})
        self.worker = Worker(max(self.attempt, 1), origin=f"life-{self.lives}", **more)
        self.worker.step = step

    # reports

    def send(self, n: int) -> None:
        """It arrives at once, later, twice or never."""
        opened = PHASES[n % len(PHASES)] if n % 5 == 0 else None
        report = self.worker.report(open=opened, sent_ms=self.worker.clock)
        if n % 8 == 0:
            return
        if n % 8 == 1:
            self.under_way.append(report)
            return
        self._arrive(report)
        if n % 8 == 2:
            self._arrive(report)

    def arrive(self, n: int) -> None:
        if self.under_way:
            self._arrive(self.under_way.pop(n % len(self.under_way)))

    def _arrive(self, report: Report) -> None:
        self.arrived.append(report)
        self.tell(Reported(self.clock, report))

    def again(self, n: int) -> None:
        """An old report comes once more: time passes and nothing else."""
        if self.arrived:
            self.tell(Ticked(self.clock))
            before = self.story.figures
            self.tell(Reported(self.clock, self.arrived[n % len(self.arrived)]))
            assert self.story.figures == before

    def forget(self, n: int) -> None:
        """The reporter drops what is on record, and merges its oldest steps when there are many."""
        position = max(
            (r.position for r in self.story.ledger.reporters if r.origin == self.worker.origin), default=0
        )
        self.worker.spans = [s for s in self.worker.spans if s.start_ms + s.duration_ms > position]

    def merge(self, n: int) -> None:
        spans, rest = self.worker.spans[:4], self.worker.spans[4:]
        if len(spans) < 4 or any(s.kind is not SpanKind.STEP for s in spans):
            return
        if all(b.step == a.step + b.count for a, b in pairwise(spans)):
            start, end = spans[0].start_ms, spans[-1].start_ms + spans[-1].duration_ms
            steps = sum(s.count for s in spans)
            one = Span(
                kind=SpanKind.STEP,
                start_ms=start,
                duration_ms=end - start,
                step=spans[-1].step,
                count=steps,
            )
            self.worker.spans = [one, *rest]

    def compare(self, n: int) -> None:
        """Of this attempt or of the one before."""
        slow = {f"0-{n % 5}": n, f"1-{n % 3}": n // 2}
        self.tell(Compared(self.clock, self.attempt - (n % 4 == 0), self.epoch, slow))

    # pods and attempts

    def lanes(self, n: int) -> None:
        which = [i for i in range(6) if n >> i & 1]
        self.tell(LanesChanged(self.clock - n % 300, dict.fromkeys(which, BASE[n % len(BASE)])))

    def all_up(self, n: int) -> None:
        self.tell(LanesChanged(self.clock, dict.fromkeys(range(6))))

    def resize(self, n: int) -> None:
        self.tell(LanesResized(self.clock, 1 + n % 5, State.QUEUED))

    def begin(self, n: int) -> None:
        if n % 3 == 0 and self.attempt:
            self.epoch += 1
        else:
            self.attempt, self.epoch = self.attempt + 1, 0
        self.lives = 0
        self._new_worker(n)
        self.tell(AttemptBegan(self.clock, self.attempt, self.epoch, restart=n % 2 == 0))
        self.tell(LanesChanged(self.clock, dict.fromkeys(range(6))))

    def end(self, n: int) -> None:
        self.tell(AttemptEnded(self.clock, self.attempt, failed=n % 4 != 0, epoch=self.epoch))

    def in_place(self, n: int) -> None:
        """An epoch fails and the next one begins, both told at once; its pods go through the barrier."""
        if not self.attempt:
            return
        at = self.clock
        self.tell(AttemptEnded(at, self.attempt, failed=True, epoch=self.epoch))
        self.epoch, self.lives = self.epoch + 1, 0
        self._new_worker(n)
        self.tell(AttemptBegan(at, self.attempt, self.epoch, restart=True))
        self.tell(LanesChanged(at, dict.fromkeys(range(6), State.DRAINING)))
        self.time += n % 3000
        self.tell(LanesChanged(self.clock, dict.fromkeys(range(6))))

    def told_again(self, n: int) -> None:
        """The end of an epoch that is over, once more: time passes and nothing else."""
        self.tell(Ticked(self.clock))
        before = self.story.figures
        if self.epoch:
            self.tell(AttemptEnded(self.clock, self.attempt, failed=True, epoch=self.epoch - 1))
        assert self.story.figures == before

    # the operator

    def tick(self, n: int) -> None:
        self._spend(n * 3)
        self.tell(Ticked(self.clock))

    def clock_set(self, n: int) -> None:
        self.skew += SKEWS[n % len(SKEWS)]

    def restart(self, n: int) -> None:
        text = to_resume(self.twin)
        assert len(text) <= MAX_RESUME
        self.twin = from_resume(text, self.twin.settings)
        assert to_resume(self.twin) == text

    def close(self, n: int) -> None:
        if n % 20 == 0:
            self.tell(Closed(self.clock, success=n % 40 == 0))


ACTIONS = [
    *("step", "step", "step", "step", "row", "phase", "idle", "commit", "back", "life"),
    *("send", "send", "send", "arrive", "again", "forget", "merge", "compare"),
    *(
        "lanes",
        "all_up",
        "resize",
        "begin",
        "end",
        "in_place",
        "told_again",
        "tick",
        "clock_set",
        "restart",
        "close",
    ),
]
