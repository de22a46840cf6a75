"""``python -m e2e.bench.fold``: processor seconds that a ledger of 1,000 lanes takes to fold 10,000 events.

The history is what a busy job's may be: every hundred events the gang fails and all its lanes go through the
states of a restart one hundred at a time; in between come reports of four steps each, every one of which
waits for input, with a commit every fifth report. Best of three, in processor time, since folding waits for
nothing; reports are made before the clock starts.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

from drumline.api.goodput import State
from drumline.api.report import Commit, JobRef, Report, Span, SpanKind
from drumline.core.gang.ledger.events import (
    AttemptBegan,
    AttemptEnded,
    Event,
    LanesChanged,
    Reported,
    Ticked,
)
from drumline.core.gang.ledger.fold import fold
from drumline.core.gang.ledger.ledger import Ledger, begin
from drumline.core.gang.ledger.resume import from_resume, to_resume
from drumline.core.gang.ledger.settings import LedgerSettings
from drumline.core.gang.ledger.summary import summary

LANES = 1000
EVENTS = 10_000
ROUND = 100  # events of one attempt
BATCH = 100  # lanes that change together
STEPS = 4  # of one report
JOB = JobRef(namespace="ml", name="llama", uid="u-1")


def _report(attempt: int, number: int, first: int) -> Report:
    spans = tuple(
        Span(
            kind=SpanKind.STEP,
            start_ms=(number * STEPS + i) * 1000,
            duration_ms=1000,
            step=first + i,
            stall_ms=10 * (i + 1),
            tokens=1000,
            flops=1e15,
        )
        for i in range(STEPS)
    )
    sent = (number + 1) * STEPS * 1000
    commits = (Commit(step=first + STEPS - 1, at_ms=sent),) if number % 5 == 4 else ()
    return Report(version=1, job=JOB, attempt=attempt, origin="w", sent_ms=sent, spans=spans, commits=commits)


def _restart(at: int) -> Iterator[Event]:
    """Every lane through four states, BATCH lanes at a time."""
    for state in (State.DRAINING, State.IMAGE_PULL, State.POD_INIT, None):
        for lane in range(0, LANES, BATCH):
            at += 100
            yield LanesChanged(at, dict.fromkeys(range(lane, lane + BATCH), state))


def history() -> Iterator[Event]:
    """EVENTS events."""
    at, step = 0, 1
    for attempt in range(1, EVENTS // ROUND + 1):
        yield AttemptBegan(at, attempt, 0, restart=attempt > 1)
        changes = list(_restart(at))
        yield from changes
        at = changes[-1].at
        for number in range(ROUND - len(changes) - 2):
            at += STEPS * 500
            if number % 2:
                yield Reported(at, _report(attempt, number // 2, step))
                step += STEPS
            else:
                yield Ticked(at)
        yield AttemptEnded(at + 500, attempt, failed=True)


def measure(events: list[Event]) -> tuple[float, Ledger]:
    """Processor seconds to fold them one at a time, as the operator does."""
    ledger = begin(0, LANES, 8, LedgerSettings())
    begun = time.process_time()
    for event in events:
        ledger = fold(ledger, event)
    return time.process_time() - begun, ledger


def timed_resume(ledger: Ledger) -> tuple[float, int]:
    """Processor seconds to write a ledger down and read it back, and how many characters it takes."""
    begun = time.process_time()
    text = to_resume(ledger)
    from_resume(text, ledger.settings)
    return time.process_time() - begun, len(text)


def main() -> None:
    """Print one line of JSON."""
    events = list(history())
    runs = [measure(events) for _ in range(3)]
    ledger = runs[0][1]
    figures = summary(ledger, ledger.at)
    assert sum(figures.totals.values()) + figures.provisional_ms == figures.elapsed_ms
    seconds, size = timed_resume(ledger)
    row = {
        "scenario": "fold",
        "lanes": LANES,
        "events": len(events),
        "steps": figures.step_times.count,
        "cpu_s": round(min(taken for taken, _ in runs), 3),
        "resume_cpu_s": round(seconds, 4),
        "resume_chars": size,
    }
    print(json.dumps(row))


if __name__ == "__main__":
    main()
