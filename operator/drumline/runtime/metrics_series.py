"""Which jobs have series, and for how long.

A job's series stay for `KEPT_SECONDS` after it finished or was deleted, so that the last values are scraped.
Beyond `census.MAX_JOBS` jobs there are only sums by namespace, with an empty `job`. A sum must not fall when a
job goes, nor jump when this process sees a job for the first time that has run for long: so counters are summed
over their increases since this process began.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from drumline.core.gang.types import Pod
from drumline.core.training.clock import unix
from drumline.runtime.metrics_census import MAX_JOBS, bound_chips
from drumline.runtime.metrics_goodput import OF_JOBS, rows_of, unbalanced_ms
from drumline.runtime.metrics_text import Family, Labels, seconds
from drumline.runtime.records import JobRecord

KEPT_SECONDS: Final = 600.0
UNBALANCED: Final = Family(
    "drumline_ledger_unbalanced_seconds",
    "gauge",
    "By how much the states of the worst ledger miss its whole: 0, or this is a fault of the operator.",
    (),
)

Key = tuple[str, str]
Sample = tuple[Family, Labels]  # labels after namespace and job


@dataclass(slots=True)
class _Known:
    """A job as last scraped. `gone_at`: when it was first missed, Unix seconds."""

    record: JobRecord
    held: int
    lines: dict[Family, str]
    values: dict[Sample, float]  # of counters
    gone_at: float | None = None


class JobSeries:
    """The series of all jobs. `now` gives Unix seconds."""

    def __init__(
        self,
        jobs: Callable[[], Collection[JobRecord]],
        pods_of: Callable[[str], Iterable[Pod]],
        now: Callable[[], float],
        most: int = MAX_JOBS,
    ) -> None:
        self._jobs = jobs
        self._pods_of = pods_of
        self._now = now
        self._most = most
        self._began = now()
        self._known: dict[Key, _Known] = {}
        self._sums: dict[str, dict[Sample, float]] = defaultdict(lambda: defaultdict(float))

    def lines(self) -> Iterator[str]:
        """Every family with its samples."""
        self._look()
        worst = max(
            (unbalanced_ms(g) for k in self._known.values() if (g := k.record.status.goodput)), default=0
        )
        yield UNBALANCED.head + UNBALANCED.line((), seconds(worst))
        if len(self._known) > self._most:
            yield from self._summed()
            return
        for family in OF_JOBS:
            yield family.head
            yield from (known.lines.get(family, "") for known in self._known.values())

    def _look(self) -> None:
        """Bring what is known up to date; drop what has been over for long."""
        now, current = self._now(), {r.key: r for r in self._jobs()}
        for key in self._known.keys() - current.keys():
            known = self._known[key]
            if known.gone_at is None:
                known.gone_at, known.held = now, 0
                known.lines = _lines(known.record, 0, gone=True)
            elif now - known.gone_at > KEPT_SECONDS:
                del self._known[key]
        for key, record in current.items():
            if now - unix(record.status.completion_time, now) > KEPT_SECONDS:
                self._known.pop(key, None)
            else:
                self._update(key, record)

    def _update(self, key: Key, record: JobRecord) -> None:
        held = bound_chips(record, self._pods_of(record.meta.uid))
        known = self._known.get(key)
        if known is None or known.record is not record or known.held != held or known.gone_at is not None:
            self._add_up(known, record)
            self._known[key] = _Known(record, held, _lines(record, held), _values(record))

    def _add_up(self, known: _Known | None, record: JobRecord) -> None:
        """Add to the sums what a job's counters have grown by."""
        same = known is not None and known.record.meta.uid == record.meta.uid
        before = known.values if known is not None and same else {}
        if not same and record.meta.created_at < self._began:
            return
        sums = self._sums[record.meta.namespace]
        for sample, value in _values(record).items():
            sums[sample] += max(0.0, value - before.get(sample, 0.0))

    def _summed(self) -> Iterator[str]:
        gauges: dict[str, dict[Sample, float]] = defaultdict(lambda: defaultdict(float))
        for known in self._known.values():
            if known.gone_at is None:
                for family, labels, value in rows_of(known.record, known.held):
                    gauges[known.record.meta.namespace][family, labels] += float(value)
        for family in OF_JOBS:
            if family.adds:
                yield family.head
                yield from _sum_lines(family, gauges if family.kind == "gauge" else self._sums)


def _sum_lines(family: Family, sums: Mapping[str, Mapping[Sample, float]]) -> Iterator[str]:
    for namespace, samples in sums.items():
        for (of, labels), value in samples.items():
            if of is family:
                yield family.line((namespace, "", *labels), round(value, 3))


def _lines(record: JobRecord, held: int, *, gone: bool = False) -> dict[Family, str]:
    """What a job's families say; of a job that is gone the counters alone."""
    head = (record.meta.namespace, record.meta.name)
    lines: dict[Family, str] = defaultdict(str)
    for family, labels, value in rows_of(record, held):
        if family.kind == "counter" or not gone:
            lines[family] += family.line((*head, *labels), value)
    return dict(lines)


def _values(record: JobRecord) -> dict[Sample, float]:
    rows = rows_of(record, 0)
    return {(family, labels): float(value) for family, labels, value in rows if family.kind == "counter"}
