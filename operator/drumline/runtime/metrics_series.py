"""The series of jobs: which of them have some, and what is wrong with the worst ledger."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Final

from drumline.core.gang.clock import unix
from drumline.core.gang.types import Pod
from drumline.runtime.metrics_census import MAX_JOBS, bound_chips
from drumline.runtime.metrics_goodput import OF_JOBS, rows_of, unbalanced_ms
from drumline.runtime.metrics_kept import KEPT_SECONDS, Kept, Subject
from drumline.runtime.metrics_text import Family, seconds
from drumline.runtime.records import JobRecord

UNBALANCED: Final = Family(
    "drumline_ledger_unbalanced_seconds",
    "gauge",
    "By how much the states of the worst ledger miss its whole: 0, or this is a fault of the operator.",
    (),
)


class JobSeries:
    """The series of all jobs. `now` gives Unix seconds."""

    def __init__(
        self,
        jobs: Callable[[], Collection[JobRecord]],
        pods_of: Callable[[str], Iterable[Pod]],
        now: Callable[[], float],
        most: int = MAX_JOBS,
    ) -> None:
        subject = Subject(
            families=OF_JOBS,
            records=jobs,
            rows=rows_of,
            held=lambda record: bound_chips(record, pods_of(record.meta.uid)),
            over=_over,
        )
        self._kept = Kept(subject, now, most)

    def lines(self) -> Iterator[str]:
        """Every family with its samples."""
        self._kept.look()
        ledgers = (known.record.status.goodput for known in self._kept.known.values())
        worst = max((unbalanced_ms(ledger) for ledger in ledgers if ledger), default=0)
        yield UNBALANCED.head + UNBALANCED.line((), seconds(worst))
        yield from self._kept.lines()


def _over(record: JobRecord, now: float) -> bool:
    return now - unix(record.status.completion_time, now) > KEPT_SECONDS
