"""What a job's ledger goes by. Taken from the spec, so it may change while the job runs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LedgerSettings:
    """Rules of attribution. Times in milliseconds."""

    hang_floor_ms: int = 300_000  # no silence shorter than this is a hang
    hang_factor: int = 10  # … nor one shorter than so many median steps
    straggler_factor: int = 3  # a step is slow beyond median + factor · MAD
    straggler_steps: int = 20  # … once so many steps of the segment are known
    checkpoint_interval_ms: int | None = None  # spec.checkpoint.intervalSeconds; None = not known
    expects_reports: bool = True  # False: progress.source is none, up time is estimated for good
    late_ms: int = 60_000  # how late a report may be; an operator that is there tells of time more often
