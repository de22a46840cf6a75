"""What a canary's measurements say: error rate on its own, latency against the stable groups of the same role.

Errors: refused as soon as failed > maxErrorRate · max(requests, 100); so one failure among the first few requests,
which proves nothing, is let pass, and a bad canary does not have to be watched to the end.
Latency: ratio of the 0.9 quantiles of TTFT and of TPOT. Both sides over the last minute where each has had 100
requests in it, since then the load is the same; else over all of their time in service, from 20 requests on. What can't
be measured is not held against the canary.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from drumline.api.inference_rollout import CanaryAnalysis
from drumline.core.inference.signals import GroupSignals, Histogram, Rates
from drumline.core.inference.windows import merged, quantile

QUANTILE = 0.9
ENOUGH_REQUESTS = 100  # for an error rate, and for a latency within a minute
FEW_REQUESTS = 20  # for a latency at all
Metric = Literal["ttft", "tpot"]


@dataclass(frozen=True, slots=True)
class Measured:
    """One role: what its canary groups say, and what its stable ones do."""

    canary: Sequence[GroupSignals]
    stable: Sequence[GroupSignals]


def requests(roles: Mapping[str, Measured]) -> float:
    """Requests that the canary has answered: every request passes each role once, so the most of any role's."""
    return max((_total(m)[0] for m in roles.values()), default=0.0)


def errors(rules: CanaryAnalysis, roles: Mapping[str, Measured]) -> str:
    """Which role's canary fails too many requests; "" when none does."""
    for role, measured in sorted(roles.items()):
        answered, failed = _total(measured)
        total = answered + failed
        if failed > rules.max_error_rate * max(total, ENOUGH_REQUESTS):
            share = f"{failed / total:.1%} of {total:.0f} requests failed"
            return f"role {role}: {share}, {rules.max_error_rate:.1%} are allowed"
    return ""


def latency(rules: CanaryAnalysis, roles: Mapping[str, Measured]) -> str:
    """Which role's canary is too slow; "" when none is known to be."""
    for role, measured in sorted(roles.items()):
        for metric in ("ttft", "tpot"):
            found = _quantiles(measured, metric)
            if found is not None and found[1] > 0 and found[0] > rules.max_latency_ratio * found[1]:
                times = f"{found[0] * 1000:.0f} ms against {found[1] * 1000:.0f} ms"
                ratio = f"{found[0] / found[1]:.2f}, {rules.max_latency_ratio:g} is allowed"
                return f"role {role}: {metric} (quantile {QUANTILE}) is {times}: ratio {ratio}"
    return ""


def _total(measured: Measured) -> tuple[float, float]:
    """(answered, failed) of the canary since it came into service."""
    rates = [g.since_ready for g in measured.canary if g.since_ready is not None]
    return sum(r.requests for r in rates), sum(r.failed_requests for r in rates)


def _quantiles(measured: Measured, metric: Metric) -> tuple[float, float] | None:
    """(canary, stable) over windows that can be compared; None when there are none."""
    last_minute = [[g.window for g in side] for side in (measured.canary, measured.stable)]
    in_service = [[g.since_ready for g in side] for side in (measured.canary, measured.stable)]
    for sides, enough in ((last_minute, ENOUGH_REQUESTS), (in_service, FEW_REQUESTS)):
        canary, stable = (_histogram(rates, metric) for rates in sides)
        if canary is None or stable is None or min(canary.count, stable.count) < enough:
            continue
        values = quantile(canary, QUANTILE), quantile(stable, QUANTILE)
        if values[0] is not None and values[1] is not None:
            return values[0], values[1]
    return None


def _histogram(rates: Iterable[Rates | None], metric: Metric) -> Histogram | None:
    return merged((r.ttft if metric == "ttft" else r.tpot) for r in rates if r is not None)
