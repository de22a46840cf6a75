"""From the samples of an engine's metrics page to an `EngineSample`, by the engine's preset.

Which metric is which signal stands in the preset (`api/engines.toml`), an ordered list for each: the first one
that the page has counts, since names change between versions. Several series of a metric (data-parallel ranks,
finish reasons, models) become one as the preset says; of a histogram the buckets are added up. A value that is
not a finite number, or negative, is left out: a page is anybody's word.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from drumline.api.engines import HISTOGRAMS, Combine, Metric, SignalMetrics
from drumline.core.inference.signals import EngineSample, Histogram

Series = tuple[str, Mapping[str, str], float]  # name with its suffix, labels, value

_SUFFIXES: Final = ("_bucket", "_sum", "_count")
_COMBINE: Final[Mapping[Combine, Callable[[Sequence[float]], float]]] = {
    Combine.SUM: sum,
    Combine.MEAN: lambda values: sum(values) / len(values),
    Combine.MAX: max,
}


def wanted(metrics: SignalMetrics) -> frozenset[str]:
    """Names of all series that `read` looks at, with the suffixes of histograms: nothing else need be parsed."""
    names: set[str] = set()
    for field in SignalMetrics.model_fields:
        for metric in getattr(metrics, field):
            names |= {metric.name + s for s in _SUFFIXES} if field in HISTOGRAMS else {metric.name}
    return frozenset(names)


def read(page: Iterable[Series], metrics: SignalMetrics, at: float) -> EngineSample:
    """The signals on a page that was fetched at Unix time `at`; None for what it does not have."""
    series: dict[str, list[tuple[Mapping[str, str], float]]] = defaultdict(list)
    for name, labels, value in page:
        if math.isfinite(value) and value >= 0:
            series[name].append((labels, value))
    numbers: dict[str, Any] = {
        field: _number(getattr(metrics, field), series)
        for field in SignalMetrics.model_fields
        if field not in HISTOGRAMS
    }
    histograms: dict[str, Any] = {field: _histogram(getattr(metrics, field), series) for field in HISTOGRAMS}
    return EngineSample(at=at, **numbers, **histograms)


_Index = Mapping[str, Sequence[tuple[Mapping[str, str], float]]]


def _number(metrics: Sequence[Metric], series: _Index) -> float | None:
    for metric in metrics:
        if metric.name in series:
            values = [value for labels, value in series[metric.name] if _counts(metric, labels)]
            # the metric is there, and none of its series is meant: nothing of the kind has happened yet
            return _COMBINE[metric.combine](values) * metric.scale if values else 0.0
    return None


def _counts(metric: Metric, labels: Mapping[str, str]) -> bool:
    return all(labels.get(name) in values for name, values in metric.labels.items())


def _histogram(metrics: Sequence[Metric], series: _Index) -> Histogram | None:
    for metric in metrics:
        if f"{metric.name}_bucket" in series:
            return _added(metric, series)
    return None


def _added(metric: Metric, series: _Index) -> Histogram:
    buckets: dict[float, float] = defaultdict(float)
    for labels, value in series[f"{metric.name}_bucket"]:
        bound = _bound(labels.get("le", ""))
        if bound is not None and _counts(metric, labels):
            buckets[bound * metric.scale] += value
    total, count = (
        sum(value for labels, value in series.get(f"{metric.name}{suffix}", ()) if _counts(metric, labels))
        for suffix in ("_sum", "_count")
    )
    return Histogram(tuple(sorted(buckets.items())), total * metric.scale, count)


def _bound(text: str) -> float | None:
    try:
        bound = float(text)
    except ValueError:
        return None
    return None if math.isnan(bound) else bound
