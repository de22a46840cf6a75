"""What engines have counted since an earlier account: each count once, whatever begins again in between.

An engine's counters begin at zero with its process. The account remembers, for each group's attempt, the values
that it has added; a value that is less, or another attempt's, is that of a process that began again. Values are
remembered as whole numbers: what lies between two is added once it is whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from drumline.api.inference_scaling import Slo
from drumline.core.inference.signals import EngineSample, Histogram
from drumline.core.inference.windows import within

COUNTERS: Final = (
    "prompt_tokens",
    "generation_tokens",
    "requests",
    "failed_requests",
    "draft_tokens",
    "accepted_tokens",
)
LATENCIES: Final = ("ttft_met", "ttft_measured", "tpot_met", "tpot_measured")
FIELDS: Final = (*COUNTERS, *LATENCIES)

MOST: Final = 2**53  # an engine's word is anybody's; beyond it a float is no exact number

Counts = tuple[int, ...]  # in the order of FIELDS


@dataclass(frozen=True, slots=True)
class Counted:
    """What has been added of one group: its attempt, and the engine's values then."""

    attempt: int
    values: Counts


@dataclass(frozen=True, slots=True)
class Resume:
    """What the next account goes on from, of each (role, group), and the SLO its latencies were held against."""

    groups: Mapping[tuple[str, int], Counted] = field(default_factory=dict)
    slo: tuple[float | None, float | None] = (None, None)


def limits(slo: Slo | None) -> tuple[float | None, float | None]:
    """TTFT and TPOT, seconds."""
    return (slo.ttft_seconds, slo.tpot_seconds) if slo is not None else (None, None)


def counts(sample: EngineSample, slo: tuple[float | None, float | None]) -> Counts:
    """The engine's counters as whole numbers."""
    plain = (int(min(getattr(sample, name) or 0, MOST)) for name in COUNTERS)
    return (*plain, *_held(sample.ttft, slo[0]), *_held(sample.tpot, slo[1]))


def _held(histogram: Histogram | None, limit: float | None) -> tuple[int, int]:
    if histogram is None or limit is None:
        return 0, 0
    return int(min(within(histogram, limit), MOST)), int(min(histogram.count, MOST))


def added(known: Counted | None, attempt: int, now: Counts, *, same_slo: bool) -> Counts:
    """What is new since the counts that are known."""
    if known is None or known.attempt != attempt:
        return now
    if any(new < old for new, old in zip(now[: len(COUNTERS)], known.values, strict=False)):
        return now
    pairs = list(zip(now, known.values, strict=True))
    new = [max(0, a - b) for a, b in pairs]
    if not same_slo:
        # against another limit the earlier values say nothing of these
        new[len(COUNTERS) :] = [0] * len(LATENCIES)
    return tuple(new)
