"""A training run made up from a seed, told twice: to the ledger by reports, and to people by a log.

Two workers; checkpoints every 25 steps; a worker is killed once, and the gang goes on from the last checkpoint.
If it is worker 1, rank 0 still says what it did.
Times in milliseconds since the job's creation.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime

from drumline.api.goodput import State
from drumline.api.report import Commit, JobRef, Report, Span, SpanKind
from drumline.core.gang.ledger.events import (
    AttemptBegan,
    AttemptEnded,
    Closed,
    Event,
    LanesChanged,
    Reported,
    Ticked,
)
from e2e.goodput_check import Container

START = 1_763_600_400_000
EVERY = 25
BOTH = (0, 1)
REPORT_MS = 1000
USUAL_MS = 100


@dataclass
class Run:
    """What became of it."""

    events: list[Event] = field(default_factory=list)
    logs: dict[int, str] = field(default_factory=dict)
    containers: list[Container] = field(default_factory=list)
    now: int = 0
    mute: bool = False

    def lanes(self, state: State | None, seconds: float, *lanes: int) -> None:
        """These lanes (all, where none are named) are in a state from now on; then so long passes."""
        self.events.append(LanesChanged(START + self.now, dict.fromkeys(lanes or BOTH, state)))
        self.now += round(1000 * seconds)


class _Process:
    """Rank 0 of one attempt: makes steps, prints lines, collects spans."""

    def __init__(self, run: Run, attempt: int, dice: random.Random, every_line: int) -> None:
        self.run, self.attempt, self.dice, self.every_line = run, attempt, dice, every_line
        self.origin = run.now
        self.spans: list[Span] = []
        self.commits: list[Commit] = []
        self.lines: list[str] = []
        self.sent = run.now
        self.resumed: int | None = None

    @property
    def clock(self) -> int:
        return self.run.now - self.origin

    def say(self, text: str) -> None:
        # a line is stamped a moment after it is written
        late = self.dice.uniform(0, 2)
        stamp = datetime.fromtimestamp((START + self.run.now + late) / 1000, UTC)
        self.lines.append(f"{stamp.isoformat()} {text}\n")

    def step(self, number: int, ms: int, save: int, extra: int = 0) -> None:
        began = self.clock
        self.run.now += ms + save + extra
        self.spans.append(
            Span(
                kind=SpanKind.STEP,
                start_ms=began,
                duration_ms=ms + save + extra,
                step=number,
                save_ms=save,
            )
        )
        if save:
            self.say(f"save blocked {save / 1000:.3f} s")
        if number % self.every_line == 0:
            self.say(f"step {number} loss 0.5")
        if self.run.now - self.sent >= REPORT_MS:
            self.send()

    def send(self, *, final: bool = False) -> None:
        self.sent = self.run.now
        report = Report(
            version=1,
            job=JobRef(namespace="default", name="jax-digits", uid="u"),
            attempt=self.attempt,
            origin=f"o{self.attempt}",
            sent_ms=self.clock,
            resumed_step=self.resumed,
            spans=tuple(self.spans),
            commits=tuple(self.commits),
            final=final,
        )
        self.run.events.append(Reported(START + self.run.now + 5, report))


def play(seed: int, *, steps: int = 300, kill_at: int = 130, every_line: int = 1, mute: bool = False) -> Run:
    """The run. `every_line`: a log line every so many steps. `mute`: rank 0 is the one that is killed."""
    run, dice = Run(mute=mute), random.Random(seed)
    run.lanes(State.QUEUED, 0.4)
    run.events.append(AttemptBegan(START + run.now, 1, 0, restart=False))
    _start(run, dice)
    saved = _train(run, dice, 1, (0, steps), kill_at, every_line)
    if kill_at < steps:
        run.lanes(State.DRAINING, 0)
        run.events.append(AttemptEnded(START + run.now, 1, failed=True))
        run.now += 1300
        run.lanes(State.QUEUED, 2.0)
        run.events.append(AttemptBegan(START + run.now, 2, 0, restart=True))
        _start(run, dice)
        _train(run, dice, 2, (saved, steps), steps + 1, every_line)
    run.lanes(State.IDLE_TAIL, 0.3, 1)
    run.events.append(AttemptEnded(START + run.now, 1 + (kill_at < steps), failed=False))
    run.events.append(Closed(START + run.now, success=True))
    return run


def _start(run: Run, dice: random.Random) -> None:
    run.lanes(State.BINDING, 0.2)
    run.lanes(State.POD_INIT, 0.8 + dice.random())
    run.lanes(State.GANG_WAIT, 0.3, 0)


def _train(
    run: Run,
    dice: random.Random,
    attempt: int,
    span: tuple[int, int],
    kill_at: int,
    every_line: int,
) -> int:
    """Steps after the first of `span` up to the last, or until killed; the latest durable step."""
    began = run.now
    run.lanes(None, 0)
    process = _Process(run, attempt, dice, every_line)
    run.now += 2500  # imports, joining the others
    if span[0]:
        process.resumed = span[0]
        process.say(f"resumed from step {span[0]}")
    saved = span[0]
    for number in range(span[0] + 1, min(span[1], kill_at) + 1):
        ms = USUAL_MS + int(dice.expovariate(0.5)) + (4 * USUAL_MS if dice.random() < 0.01 else 0)
        save = dice.randint(15, 40) if number % EVERY == 0 else 0
        process.step(number, ms, save, extra=1800 if number == span[0] + 1 else 0)
        if save:
            saved = number
            process.commits.append(Commit(step=number, at_ms=process.clock))
    killed = kill_at < span[1]
    if killed:
        if not run.mute:
            process.send(final=True)
        run.now += 40
        run.events.append(Ticked(START + run.now))
    else:
        process.send(final=True)
        run.now += 200
    run.logs[attempt] = "".join(process.lines)
    code = 137 if killed else 0
    # whole seconds, as Kubernetes tells them
    times = [float((START + ms) // 1000) for ms in (began, run.now)]
    run.containers += [
        Container(f"jax-digits-{attempt}-0-{n}", attempt, times[0], times[1], code) for n in BOTH
    ]
    return saved
