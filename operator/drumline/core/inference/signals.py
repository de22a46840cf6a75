"""What the engines say of themselves, in one vocabulary, whatever the engine: values, no parsing.

Counters are as the engine has them: they begin at zero with the process. Times are Unix seconds, latencies
seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Histogram:
    """A cumulative histogram: `buckets` are (upper bound, count at or below), the last bound is infinite."""

    buckets: tuple[tuple[float, float], ...] = ()
    total: float = 0.0  # sum of what was observed
    count: float = 0.0


@dataclass(frozen=True, slots=True)
class EngineSample:
    """One scrape of one leader. None = the engine does not say."""

    at: float
    waiting: float | None = None  # requests that wait
    running: float | None = None  # requests in work
    kv_cache_usage: float | None = None  # 0 to 1
    ttft: Histogram | None = None
    tpot: Histogram | None = None
    prompt_tokens: float | None = None  # counter
    generation_tokens: float | None = None  # counter
    requests: float | None = None  # counter, answered
    failed_requests: float | None = None  # counter
    draft_tokens: float | None = None  # counter
    accepted_tokens: float | None = None  # counter

    @property
    def in_flight(self) -> float | None:
        """Requests that wait or are in work; None when the engine says neither."""
        known = [value for value in (self.waiting, self.running) if value is not None]
        return sum(known) if known else None


@dataclass(frozen=True, slots=True)
class Rates:
    """What happened at one group within a window, worked out from two or more samples."""

    seconds: float  # length of the window
    requests: float = 0.0
    failed_requests: float = 0.0
    generation_tokens: float = 0.0
    ttft: Histogram | None = None  # of this window alone
    tpot: Histogram | None = None


@dataclass(frozen=True, slots=True)
class GroupSignals:
    """What is known of one group now. `latest` is None while nothing was scraped from this attempt's leader."""

    latest: EngineSample | None = None
    samples: tuple[EngineSample, ...] = ()  # of this attempt, oldest first, some minutes of them at most
    window: Rates | None = None  # the last minute
    since_ready: Rates | None = None  # since it came into service: for canaries
    failing_since: float | None = None  # scrapes have failed since then
    mute_since: float | None = None  # and it was the pod that answered, though not with metrics, since then


@dataclass(frozen=True, slots=True)
class Scaling:
    """The built-in autoscaler's word on one role."""

    desired: int
    reason: str = ""
    message: str = ""
    metrics: tuple[tuple[str, float, float], ...] = ()  # (name, value, target)
    seen: int | None = None  # the number that the role had when this was said
    generation: int = 0  # of the InferenceRole then


NO_SIGNALS: Mapping[tuple[str, int], GroupSignals] = {}
_EMPTY: Mapping[str, Scaling] = {}


@dataclass(frozen=True, slots=True)
class Signals:
    """Everything the engines and the autoscaler say to one decision."""

    groups: Mapping[tuple[str, int], GroupSignals] = field(default_factory=lambda: NO_SIGNALS)  # by role, id
    scaling: Mapping[str, Scaling] = field(default_factory=lambda: _EMPTY)  # by role

    def of(self, role: str, group: int) -> GroupSignals:
        """Of one group; empty when nothing is known."""
        return self.groups.get((role, group)) or GroupSignals()
