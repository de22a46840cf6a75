"""Prometheus' text format for series whose lines are kept: a job's lines are made when it changes, not per scrape.

A thousand jobs have forty thousand series. Rendering them anew takes the client library half a second, in
which nothing else would happen in the operator's loop.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

Labels = tuple[str, ...]  # values, in the order of the family's names


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """A metric; each is itself alone. `adds`: its values may be added up over jobs."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    text: str
    labels: tuple[str, ...]
    adds: bool = False

    @property
    def head(self) -> str:
        """The lines before its samples."""
        return f"# HELP {self.name} {self.text}\n# TYPE {self.name} {self.kind}\n"

    def line(self, labels: Labels, value: float | str, suffix: str = "", extra: str = "") -> str:
        """One sample; `extra` is a label already rendered. ValueError for another number of labels."""
        named = [f'{n}="{_escaped(v)}"' for n, v in zip(self.labels, labels, strict=True)]
        inside = ",".join([*named, extra] if extra else named)
        braces = f"{{{inside}}}" if inside else ""
        return f"{self.name}{suffix}{braces} {value}\n"


@dataclass(slots=True)
class Counts:
    """One series of a histogram: counts per bucket (not cumulative, the last one beyond all bounds), and a sum."""

    buckets: list[int]
    total: float = 0.0


@dataclass(slots=True)
class Histogram:
    """Observations by labels, since this process began."""

    family: Family
    bounds: Sequence[float]  # ascending, in the metric's unit
    series: dict[Labels, Counts] = field(default_factory=dict)

    def observe(self, labels: Labels, value: float) -> None:
        """One observation."""
        found = self._of(labels)
        found.buckets[bisect_left(self.bounds, value)] += 1
        found.total += value

    def add(self, labels: Labels, buckets: Sequence[int], total: float) -> None:
        """Many at once: as many per bucket as `buckets` says, `total` together."""
        found = self._of(labels)
        for index, count in enumerate(buckets[: len(found.buckets)]):
            found.buckets[index] += count
        found.total += total

    def lines(self) -> Iterator[str]:
        """Head and samples."""
        yield self.family.head
        for labels, found in self.series.items():
            count = 0
            for bound, here in zip((*self.bounds, float("inf")), found.buckets, strict=True):
                count += here
                yield self.family.line(labels, count, "_bucket", f'le="{_bound(bound)}"')
            yield self.family.line(labels, count, "_count")
            yield self.family.line(labels, f"{found.total:.3f}", "_sum")

    def _of(self, labels: Labels) -> Counts:
        if labels not in self.series:
            self.series[labels] = Counts([0] * (len(self.bounds) + 1))
        return self.series[labels]


def seconds(ms: int) -> str:
    """Milliseconds as exact decimal seconds."""
    sign = "-" if ms < 0 else ""
    whole, rest = divmod(abs(ms), 1000)
    return f"{sign}{whole}.{rest:03d}" if rest else f"{sign}{whole}"


def _bound(bound: float) -> str:
    return "+Inf" if bound == float("inf") else repr(float(bound))


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
