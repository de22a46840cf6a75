"""Durations of what happens to jobs once: fed by the leader when the status that says so was written.

They count since this process began, as every histogram of a process does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from drumline.api.goodput import STEP_BUCKETS_MS, StepTimes
from drumline.api.meta import TRAINING_JOB
from drumline.api.report import Span, SpanKind
from drumline.api.status import AttemptStatus, TrainingJobStatus
from drumline.core.gang.clock import unix
from drumline.core.training import conditions
from drumline.core.training.observation import Observation
from drumline.runtime.metrics_text import Family, Histogram

MINUTE: Final = 60.0
HOUR: Final = 3600.0
DAY: Final = 24 * HOUR
WAIT_BOUNDS: Final = (1, 10, MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 4 * HOUR, 12 * HOUR, DAY)
RECOVERY_BOUNDS: Final = (1, 5, 10, 30, MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 30 * MINUTE, HOUR)
LIFE_BOUNDS: Final = (MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 4 * HOUR, 12 * HOUR, DAY, 3 * DAY, 7 * DAY)
CHECKPOINT_BOUNDS: Final = (0.1, 0.5, 1, 5, 10, 30, MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE)

STEPS: Final = Family(
    "drumline_job_step_duration_seconds", "histogram", "Time of a step.", ("namespace", "accelerator")
)
RECOVERIES: Final = Family(
    "drumline_job_recovery_duration_seconds",
    "histogram",
    "From a failure, by its cause, to the end of the next attempt's first step.",
    ("namespace", "reason"),
)
QUEUES: Final = Family(
    "drumline_job_queue_duration_seconds",
    "histogram",
    "From joining the queue to being placed.",
    ("namespace", "queue"),
)
COMPLETIONS: Final = Family(
    "drumline_job_completion_duration_seconds",
    "histogram",
    "From a job's creation to its end.",
    ("namespace", "kind", "result"),
)
CHECKPOINTS: Final = Family(
    "drumline_checkpoint_duration_seconds",
    "histogram",
    "How long a checkpoint's save or restore blocked the job, as reported.",
    ("namespace", "op"),
)
MAX_QUEUES: Final = 200  # pairs of namespace and queue; a queue's name is whatever a user wrote
OTHER_QUEUES: Final = "(others)"  # no queue can be called that
OF_EVENTS: Final = (STEPS, RECOVERIES, QUEUES, COMPLETIONS, CHECKPOINTS)


class EventMetrics:
    """The histograms: a `ledger_keeper.Meter`."""

    def __init__(self) -> None:
        self._steps = Histogram(STEPS, [ms / 1000 for ms in STEP_BUCKETS_MS])
        self._recoveries = Histogram(RECOVERIES, RECOVERY_BOUNDS)
        self._queues = Histogram(QUEUES, WAIT_BOUNDS)
        self._completions = Histogram(COMPLETIONS, LIFE_BOUNDS)
        self._checkpoints = Histogram(CHECKPOINTS, CHECKPOINT_BOUNDS)

    def lines(self) -> Iterator[str]:
        """Every family with its samples."""
        for histogram in (
            self._steps,
            self._recoveries,
            self._queues,
            self._completions,
            self._checkpoints,
        ):
            yield from histogram.lines()

    def settled(self, obs: Observation, before: TrainingJobStatus, after: TrainingJobStatus) -> None:
        """The status of a job was written: what it says that the one before did not."""
        namespace = obs.job.namespace
        if after.attempt > before.attempt and before.placement is None:
            joined = _waits_since(before, obs.job.created_at)
            queue = obs.queue or (obs.spec.queue if obs.spec is not None else None) or ""
            began = unix(after.attempts[-1].started_at, joined)
            self._queues.observe((namespace, self._queue(namespace, queue)), max(0.0, began - joined))
        for reason, ms in _recoveries(before.attempts, after.attempts):
            self._recoveries.observe((namespace, reason), ms / 1000)
        if conditions.is_finished(after) and not conditions.is_finished(before):
            result = "succeeded" if after.phase == "Succeeded" else "failed"
            lasted = unix(after.completion_time, obs.job.created_at) - obs.job.created_at
            self._completions.observe((namespace, TRAINING_JOB, result), max(0.0, lasted))
        if after.goodput is not None and obs.spec is not None:
            known = before.goodput.step_times if before.goodput is not None else StepTimes()
            self._step((namespace, obs.spec.accelerator.type), known, after.goodput.step_times)

    def heard(self, namespace: str, spans: list[Span]) -> None:
        """Spans that no report before had."""
        for span in spans:
            if span.kind is SpanKind.CHECKPOINT_SAVE:
                self._checkpoints.observe((namespace, "save"), span.duration_ms / 1000)
            elif span.kind is SpanKind.CHECKPOINT_RESTORE:
                self._checkpoints.observe((namespace, "restore"), span.duration_ms / 1000)
            elif span.save_ms:
                self._checkpoints.observe((namespace, "save"), span.save_ms / 1000)

    def _queue(self, namespace: str, queue: str) -> str:
        known = self._queues.series
        named = sum(label != OTHER_QUEUES for _, label in known)
        return queue if not queue or (namespace, queue) in known or named < MAX_QUEUES else OTHER_QUEUES

    def _step(self, labels: tuple[str, str], before: StepTimes, after: StepTimes) -> None:
        if after.count > before.count:
            earlier = before.buckets or (0,) * len(after.buckets)
            more = [max(0, now - then) for now, then in zip(after.buckets, earlier, strict=False)]
            self._steps.add(labels, more, (after.sum_ms - before.sum_ms) / 1000)


def _waits_since(status: TrainingJobStatus, created_at: float) -> float:
    """Since when a job that is queued waits; a preempted one has its old place there, and waits since it left."""
    left = unix(status.attempts[-1].finished_at) if status.attempts else 0.0
    return max(unix(status.queued_at, created_at), left)


def _recoveries(before: Sequence[AttemptStatus], after: Sequence[AttemptStatus]) -> Iterator[tuple[str, int]]:
    """(cause of the failure, milliseconds) of recoveries that have become known."""
    known = {a.label for a in before if a.recovery}
    cause = ""
    for attempt in after:
        total = next((p.ms for p in attempt.recovery if p.phase == "total"), None)
        if total is not None and attempt.label not in known:
            yield cause or "Unknown", total
        cause = attempt.cause or cause
