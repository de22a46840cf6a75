"""What one reporter has seen, as spans on its own clock, until the operator has them on record.

The clock is an argument: milliseconds since the reporter began. Spans are in order and never overlap.

- A step's span begins where the one before it ended, so steps in a row leave no gap.
- Before the first step every phase is a span of its own. After it, a save or an evaluation that begins with
  a step (within a tenth of the last one, or `EDGE_MS`) is one too, and covers what little came before it in
  that step. One that begins later, and every wait for data, is a part of the step: its duration counts as the
  step's `saveMs`, `evalMs` or `stallMs`. Where no step comes any more, they are spans of their own.
- A phase within a phase belongs to the outer one.
- A step's `computeMs` is told apart from its parts: what the worker was busy with its own, phases within left
  out. It shows who is slow where all wait for the slowest.

The buffer is bounded. Short steps are merged as they come, except the first few, from which the operator
learns what a step takes. When there are too many spans, neighbouring steps are merged two by two, the oldest
half first; when that does not help, the oldest spans are dropped and counted.
"""

from __future__ import annotations

from typing import Any, Final

DEVICE_INIT: Final = "device_init"
CHECKPOINT_RESTORE: Final = "checkpoint_restore"
COMPILE: Final = "compile"
CHECKPOINT_SAVE: Final = "checkpoint_save"
EVAL: Final = "eval"
DATA_WAIT: Final = "data_wait"
STEP: Final = "step"
PHASES: Final = frozenset((DEVICE_INIT, CHECKPOINT_RESTORE, COMPILE, CHECKPOINT_SAVE, EVAL, DATA_WAIT))

MAX_SPANS: Final = 1100  # of at most 220 bytes: within the 256 KiB of a report
MAX_COMMITS: Final = 64
EDGE_MS: Final = 100
SHORT_MS: Final = 100
FIRST_STEPS: Final = 8
MAX_STEP: Final = 2**53
MAX_MS: Final = 10**12
MAX_COUNT: Final = 10**9
MAX_TOKENS: Final = 2**62
MAX_FLOPS: Final = 1e30
MAX_INTERVAL_STEPS: Final = 100_000  # more steps between two reports are a jump, not a run of steps

_PARTS: Final = {DATA_WAIT: "stall_ms", CHECKPOINT_SAVE: "save_ms", EVAL: "eval_ms"}


class Span:
    """One phase, or `count` steps in a row. Times in ms."""

    __slots__ = (
        "compute_ms",
        "count",
        "duration",
        "eval_ms",
        "flops",
        "kind",
        "save_ms",
        "stall_ms",
        "start",
        "step",
        "tokens",
    )

    def __init__(self, kind: str, start: int, duration: int, step: int = -1, count: int = 1) -> None:
        self.kind = kind
        self.start = start
        self.duration = duration
        self.step = step
        self.count = count
        self.stall_ms = 0
        self.save_ms = 0
        self.eval_ms = 0
        self.compute_ms = 0
        self.tokens = 0
        self.flops = 0.0

    @property
    def end(self) -> int:
        """Where the next may begin."""
        return self.start + self.duration

    def follows(self, other: Span) -> bool:
        """Whether this is steps that go on right where the other's end."""
        both = self.kind == STEP and other.kind == STEP and other.end == self.start
        return both and other.step + self.count == self.step and other.count + self.count <= MAX_COUNT

    def absorb(self, later: Span) -> None:
        """Become one span with the steps that follow."""
        self.duration += later.duration
        self.step = later.step
        self.count += later.count
        self.stall_ms += later.stall_ms
        self.save_ms += later.save_ms
        self.eval_ms += later.eval_ms
        self.compute_ms += later.compute_ms
        self.tokens = min(MAX_TOKENS, self.tokens + later.tokens)
        self.flops = min(MAX_FLOPS, self.flops + later.flops)

    def to_wire(self) -> dict[str, Any]:
        """As it goes into a report: what is at its default is left out."""
        wire: dict[str, Any] = {"kind": self.kind, "startMs": self.start, "durationMs": self.duration}
        extra = {
            "count": self.count if self.count != 1 else 0,
            "stallMs": self.stall_ms,
            "saveMs": self.save_ms,
            "evalMs": self.eval_ms,
            "computeMs": self.compute_ms,
            "tokens": self.tokens,
            "flops": self.flops,
        }
        if self.kind == STEP:
            wire["step"] = self.step
        wire.update((name, value) for name, value in extra.items() if value)
        return wire


class Timeline:
    """Spans, the phase that is open, and commits. Not thread-safe."""

    def __init__(self, limit: int = MAX_SPANS) -> None:
        self.spans: list[Span] = []
        self.commits: list[tuple[int, int]] = []  # step, at
        self.resumed_step: int | None = None
        self.dropped = 0
        self.last_step = -1
        self.steps = 0
        self._limit = limit
        self._boundary = 0
        self._last_duration = 0
        self._depth = 0
        self._open: tuple[str, int] | None = None
        self._parts: dict[str, int] = {}
        self._within: list[tuple[str, int, int]] = []  # the phases that the parts are made of
        self._phased = 0  # ms of all phases
        self._work_depth = 0
        self._working: tuple[int, int] | None = None  # since when, and what was phased by then
        self._compute = 0

    @property
    def boundary(self) -> int:
        """Where the last span ended: the next may begin there."""
        return self._boundary

    @property
    def open(self) -> tuple[str, int] | None:
        """The phase that is under way, and since when."""
        return self._open

    def begin(self, kind: str, now: int) -> None:
        """A phase begins. Raises ValueError for a phase that there is not."""
        if kind not in PHASES:
            raise ValueError(f"no phase {kind!r}; there are {', '.join(sorted(PHASES))}")
        self._depth += 1
        if self._depth == 1:
            self._open = (kind, max(now, self._boundary))

    def end(self, now: int) -> None:
        """The phase that began last ends."""
        if self._depth == 0:
            return
        self._depth -= 1
        if self._depth or self._open is None:
            return
        kind, start = self._open
        self._open = None
        self._phased += max(0, now - start)
        self._close_phase(kind, start, max(now, start))

    def begin_work(self, now: int) -> None:
        """The worker is busy with its own."""
        self._work_depth += 1
        if self._work_depth == 1:
            self._working = (now, self._phased)

    def end_work(self, now: int) -> None:
        """It is not any more."""
        self._work_depth = max(0, self._work_depth - 1)
        if not self._work_depth:
            self._bank(now)
            self._working = None

    def worked(self, ms: int) -> None:
        """It was, for so long of the step that ends next."""
        self._compute += min(max(ms, 0), MAX_MS)

    def step(self, step: int, now: int, tokens: int = 0, flops: float = 0.0, count: int = 0) -> None:
        """A step ends; if steps since the last one were not reported, these with it: `count`, 0 = find out."""
        step = min(max(int(step), -1), MAX_STEP)
        start, end = self._boundary, max(now, self._boundary)
        span = Span(STEP, start, end - start, step, count or self._steps_since_last(step))
        span.tokens = min(max(int(tokens), 0), MAX_TOKENS)
        span.flops = _flops(flops)
        self._bank(end)
        self._take_parts(span)
        self.last_step = step
        self.steps += 1
        self._last_duration = span.duration // span.count
        self._append(span)

    def commit(self, step: int, now: int) -> None:
        """A checkpoint that covers every step up to `step` is durable."""
        self.commits.append((min(max(int(step), -1), MAX_STEP), max(now, 0)))
        del self.commits[:-MAX_COMMITS]

    def resume(self, step: int) -> None:
        """Training goes on from that step."""
        self.resumed_step = min(max(int(step), -1), MAX_STEP)

    def acknowledge(self, durable: int) -> None:
        """What ended by `durable` is on record: forget it."""
        self.spans = [span for span in self.spans if span.end > durable]
        self.commits = [commit for commit in self.commits if commit[1] > durable]

    def finish(self) -> None:
        """No step comes any more: what would have been parts of it are spans."""
        within = self._within
        self._clear_parts()
        for kind, start, end in within:
            self._append(Span(kind, start, end - start))

    def coarsen(self) -> None:
        """Make half of it, if at all possible by merging."""
        before = len(self.spans)
        self._merge(before)
        if len(self.spans) > before * 3 // 4:
            excess = len(self.spans) - before // 2
            self.dropped += excess
            del self.spans[:excess]

    def _close_phase(self, kind: str, start: int, end: int) -> None:
        start = max(start, self._boundary)  # a step may have ended within the phase
        end = max(end, start)
        part = _PARTS.get(kind) if self.steps else None
        at_edge = start - self._boundary <= max(EDGE_MS, self._last_duration // 10)
        if part is not None and (kind == DATA_WAIT or not at_edge):
            self._parts[part] = self._parts.get(part, 0) + end - start
            self._within.append((kind, start, end))
            del self._within[: -self._limit]
            return
        if part is not None and not self._parts:
            start = self._boundary
        self._clear_parts()
        self._append(Span(kind, start, end - start))

    def _take_parts(self, span: Span) -> None:
        left = span.duration
        for name, value in self._parts.items():
            setattr(span, name, min(value, left))
            left -= min(value, left)
        span.compute_ms, self._compute = min(self._compute, left), 0
        self._clear_parts()

    def _bank(self, now: int) -> None:
        if self._working is not None:
            since, phased = self._working
            self._compute += max(0, now - since - (self._phased - phased))
            self._working = (now, self._phased)

    def _clear_parts(self) -> None:
        self._parts.clear()
        self._within = []

    def _steps_since_last(self, step: int) -> int:
        if self.steps:
            gap = step - self.last_step
        elif self.resumed_step is not None:
            gap = step - self.resumed_step
        else:
            gap = 1
        return gap if 1 <= gap <= MAX_INTERVAL_STEPS else 1

    def _append(self, span: Span) -> None:
        span.duration = min(span.duration, MAX_MS)
        self._boundary = span.end
        last = self.spans[-1] if self.spans else None
        steady = self.steps > FIRST_STEPS + 1
        if last is not None and steady and span.follows(last) and last.duration < SHORT_MS:
            last.absorb(span)
            return
        self.spans.append(span)
        if len(self.spans) > self._limit:
            self._merge(len(self.spans) // 2)
        if len(self.spans) > self._limit:
            self.dropped += len(self.spans) - self._limit
            del self.spans[: -self._limit]

    def _merge(self, among: int) -> None:
        merged: list[Span] = []
        grown = False
        for index, span in enumerate(self.spans):
            if merged and not grown and index < among and span.follows(merged[-1]):
                merged[-1].absorb(span)
                grown = True
            else:
                merged.append(span)
                grown = False
        self.spans = merged


def _flops(value: float) -> float:
    flops = float(value)
    return min(flops, MAX_FLOPS) if flops > 0 else 0.0  # NaN is neither
