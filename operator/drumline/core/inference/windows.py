"""What happened between two scrapes, and quantiles of it.

Counters grow until their process ends and then begin at zero: where one is less than before, all of it has
happened since. Quantiles are Prometheus' `histogram_quantile`: linear within a bucket; what lies in the last,
infinite bucket is given as the greatest finite bound.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import pairwise

from drumline.core.inference.signals import EngineSample, Histogram, Rates

KEPT_SECONDS = 120.0
MAX_SAMPLES = 64


def rates(before: EngineSample, after: EngineSample) -> Rates:
    """What happened at one group from one sample to a later one of the same attempt."""
    return Rates(
        seconds=max(0.0, after.at - before.at),
        requests=grown(before.requests, after.requests),
        failed_requests=grown(before.failed_requests, after.failed_requests),
        generation_tokens=grown(before.generation_tokens, after.generation_tokens),
        ttft=since(before.ttft, after.ttft),
        tpot=since(before.tpot, after.tpot),
    )


def worked_at(samples: Sequence[EngineSample]) -> float | None:
    """When work was last seen: requests in flight, or a counter above that of the sample before; None: never."""
    pairs = reversed(list(pairwise(samples)))
    return next((after.at for before, after in pairs if after.in_flight or _counted(before, after)), None)


def _counted(before: EngineSample, after: EngineSample) -> bool:
    within = rates(before, after)
    return within.requests + within.failed_requests + within.generation_tokens > 0


def grown(before: float | None, after: float | None) -> float:
    """By how much a counter has grown; 0 where the engine has none."""
    if after is None:
        return 0.0
    return after - before if before is not None and before <= after else after


def since(before: Histogram | None, after: Histogram | None) -> Histogram | None:
    """What came into a histogram; None where the engine has none."""
    if after is None or before is None or before.count > after.count:
        return after
    known = dict(before.buckets)
    if any(bound not in known or known[bound] > count for bound, count in after.buckets):
        return after
    buckets = tuple((bound, count - known[bound]) for bound, count in after.buckets)
    return Histogram(buckets, max(0.0, after.total - before.total), after.count - before.count)


def merged(histograms: Iterable[Histogram | None]) -> Histogram | None:
    """One histogram of many with the same bounds; None when there is none. Those with other bounds are left out."""
    found = [h for h in histograms if h is not None and h.buckets]
    if not found:
        return None
    bounds = [bound for bound, _ in found[0].buckets]
    same = [h for h in found if [bound for bound, _ in h.buckets] == bounds]
    counts = [sum(h.buckets[i][1] for h in same) for i in range(len(bounds))]
    return Histogram(
        tuple(zip(bounds, counts, strict=True)), sum(h.total for h in same), sum(h.count for h in same)
    )


def quantile(histogram: Histogram | None, share: float) -> float | None:
    """The value that `share` (0 to 1) of what was observed does not exceed; None when nothing was observed."""
    if histogram is None or not histogram.buckets or histogram.buckets[-1][1] <= 0:
        return None
    rank = share * histogram.buckets[-1][1]
    lower = below = 0.0
    for bound, count in histogram.buckets:
        if count >= rank and count > below:
            if math.isinf(bound):
                return lower
            return lower + (bound - lower) * max(0.0, rank - below) / (count - below)
        lower, below = (bound, count) if not math.isinf(bound) else (lower, count)
    return lower


def within(histogram: Histogram, limit: float) -> float:
    """How many of the observed values are at most `limit`; linear within a bucket."""
    lower = below = 0.0
    for bound, count in histogram.buckets:
        if limit < bound:
            if math.isinf(bound):
                return below
            return below + (count - below) * max(0.0, limit - lower) / (bound - lower)
        lower, below = bound, count
    return below


class Track:
    """The latest samples of one group's attempt: bounded in time and number."""

    def __init__(self) -> None:
        self.samples: deque[EngineSample] = deque(maxlen=MAX_SAMPLES)
        self.began: EngineSample | None = None  # the first one in service

    def add(self, sample: EngineSample, *, in_service: bool) -> None:
        """The next sample. One that is not later than the last is left out."""
        if self.samples and sample.at <= self.samples[-1].at:
            return
        self.samples.append(sample)
        while len(self.samples) > 2 and self.samples[1].at <= sample.at - KEPT_SECONDS:
            self.samples.popleft()
        if in_service and self.began is None:
            self.began = sample

    @property
    def latest(self) -> EngineSample | None:
        """The last sample."""
        return self.samples[-1] if self.samples else None

    def window(self, seconds: float) -> Rates | None:
        """From the last sample that is `seconds` old or older, else the oldest, to the latest; None of one alone."""
        if len(self.samples) < 2:
            return None
        latest = self.samples[-1]
        old = [s for s in self.samples if s.at <= latest.at - seconds]
        return rates(old[-1] if old else self.samples[0], latest)

    def since_ready(self) -> Rates | None:
        """From the first sample in service to the latest."""
        latest = self.latest
        return rates(self.began, latest) if self.began is not None and latest is not None else None
