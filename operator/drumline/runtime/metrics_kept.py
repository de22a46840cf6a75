"""Which objects have series, and for how long: their lines are made when they change, not per scrape.

An object's series stay for `KEPT_SECONDS` after it was over or deleted, so that the last values are scraped.
Beyond a number of objects there are only sums by namespace, with an empty name. A sum must not fall when an object
goes, nor jump when this process sees one for the first time that has been there for long: so counters are summed
over their increases since this process began.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from drumline.core.gang.meta import ObjectMeta
from drumline.runtime.metrics_text import Family, Labels

KEPT_SECONDS: Final = 600.0

Key = tuple[str, str]
Sample = tuple[Family, Labels]  # labels after namespace and name
Rows = Iterator[tuple[Family, Labels, float | str]]  # labels after namespace and name


class Record(Protocol):
    """An object of the mirror; another one with every change."""

    @property
    def meta(self) -> ObjectMeta:
        """Its identity."""

    @property
    def key(self) -> Key:
        """(namespace, name)."""


R = TypeVar("R", bound=Record)


@dataclass(frozen=True, slots=True)
class Subject(Generic[R]):
    """Objects of one kind and what is exported of each."""

    families: Collection[Family]
    records: Callable[[], Collection[R]]
    rows: Callable[[R, int], Rows]  # given the chips it holds
    held: Callable[[R], int] = lambda _record: 0
    over: Callable[[R, float], bool] = lambda _record, _now: False  # long enough to be dropped


@dataclass(slots=True)
class Known(Generic[R]):
    """An object as last scraped. `gone_at`: when it was first missed, Unix seconds."""

    record: R
    held: int
    lines: dict[Family, str]
    values: dict[Sample, float]  # of counters
    gone_at: float | None = None


class Kept(Generic[R]):
    """The series of all objects of one kind. `now` gives Unix seconds."""

    def __init__(self, subject: Subject[R], now: Callable[[], float], most: int) -> None:
        self.known: dict[Key, Known[R]] = {}
        self._of = subject
        self._now = now
        self._most = most
        self._began = now()
        self._sums: dict[str, dict[Sample, float]] = defaultdict(lambda: defaultdict(float))

    @property
    def summed(self) -> bool:
        """Whether there are too many objects for series of their own."""
        return len(self.known) > self._most

    def look(self) -> None:
        """Bring what is known up to date; drop what has been over for long."""
        now, current = self._now(), {r.key: r for r in self._of.records()}
        for key in self.known.keys() - current.keys():
            known = self.known[key]
            if known.gone_at is None:
                known.gone_at, known.held = now, 0
                known.lines = self._lines(known.record, 0, gone=True)
            elif now - known.gone_at > KEPT_SECONDS:
                del self.known[key]
        for key, record in current.items():
            if self._of.over(record, now):
                self.known.pop(key, None)
            else:
                self._update(key, record)

    def lines(self) -> Iterator[str]:
        """Every family with its samples, as of the last look."""
        if self.summed:
            yield from self._sum_lines()
            return
        for family in self._of.families:
            yield family.head
            yield from (known.lines.get(family, "") for known in self.known.values())

    def _update(self, key: Key, record: R) -> None:
        held = self._of.held(record)
        known = self.known.get(key)
        if known is None or known.record is not record or known.held != held or known.gone_at is not None:
            self._add_up(known, record)
            self.known[key] = Known(record, held, self._lines(record, held), self._values(record))

    def _add_up(self, known: Known[R] | None, record: R) -> None:
        """Add to the sums what an object's counters have grown by."""
        same = known is not None and known.record.meta.uid == record.meta.uid
        before = known.values if known is not None and same else {}
        if not same and record.meta.created_at < self._began:
            return
        sums = self._sums[record.meta.namespace]
        for sample, value in self._values(record).items():
            sums[sample] += max(0.0, value - before.get(sample, 0.0))

    def _lines(self, record: R, held: int, *, gone: bool = False) -> dict[Family, str]:
        """What an object's families say; of one that is gone the counters alone."""
        head = (record.meta.namespace, record.meta.name)
        lines: dict[Family, str] = defaultdict(str)
        for family, labels, value in self._of.rows(record, held):
            if family.kind == "counter" or not gone:
                lines[family] += family.line((*head, *labels), value)
        return dict(lines)

    def _values(self, record: R) -> dict[Sample, float]:
        rows = self._of.rows(record, 0)
        return {(family, labels): float(value) for family, labels, value in rows if family.kind == "counter"}

    def _sum_lines(self) -> Iterator[str]:
        gauges: dict[str, dict[Sample, float]] = defaultdict(lambda: defaultdict(float))
        for known in self.known.values():
            if known.gone_at is None:
                for family, labels, value in self._of.rows(known.record, known.held):
                    if family.adds and family.kind == "gauge":
                        gauges[known.record.meta.namespace][family, labels] += float(value)
        for family in self._of.families:
            if family.adds:
                yield family.head
                yield from _of_family(family, gauges if family.kind == "gauge" else self._sums)


def _of_family(family: Family, sums: Mapping[str, Mapping[Sample, float]]) -> Iterator[str]:
    for namespace, samples in sums.items():
        for (of, labels), value in samples.items():
            if of is family:
                yield family.line((namespace, "", *labels), round(value, 3))
