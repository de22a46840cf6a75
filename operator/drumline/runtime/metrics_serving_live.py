"""What a service's engines say now, by role: gauges from the scrapes that the operator makes anyway.

They tell of the leader's latest looks, not of the status; what no engine says is absent. Of latencies, the median
and the ninth decile of what all groups of the role answered within the last minute.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Final

from drumline.core.inference.signals import GroupSignals, Scaling, Signals
from drumline.core.inference.windows import merged, quantile
from drumline.runtime.metrics_kept import Rows
from drumline.runtime.metrics_serving import of_service

PERCENTILES: Final = {"50": 0.5, "90": 0.9}

WAITING: Final = of_service("requests_waiting", "gauge", "Requests that wait in the engines.", "role")
RUNNING: Final = of_service("requests_running", "gauge", "Requests in work.", "role")
KV_CACHE: Final = of_service(
    "kv_cache_usage_ratio", "gauge", "Share of the KV cache in use, mean of the groups.", "role"
)
TTFT: Final = of_service(
    "ttft_seconds", "gauge", "Time to first token, of the last minute.", "role", "percentile"
)
TPOT: Final = of_service(
    "tpot_seconds", "gauge", "Time per output token, of the last minute.", "role", "percentile"
)
SILENT: Final = of_service(
    "groups_without_metrics", "gauge", "Groups whose engine's metrics can't be had now.", "role"
)
DESIRED: Final = of_service(
    "autoscaler_desired_groups", "gauge", "Groups that the built-in autoscaler wants.", "role"
)
VALUE: Final = of_service(
    "autoscaler_metric", "gauge", "A metric as the built-in autoscaler last saw it.", "role", "metric"
)
TARGET: Final = of_service("autoscaler_target", "gauge", "What that metric should be.", "role", "metric")
LIVE: Final = (WAITING, RUNNING, KV_CACHE, TTFT, TPOT, SILENT, DESIRED, VALUE, TARGET)


def live_rows(signals: Signals) -> Rows:
    """Every sample of a service that its engines and its autoscaler give."""
    roles: dict[str, list[GroupSignals]] = defaultdict(list)
    for (role, _), group in signals.groups.items():
        roles[role].append(group)
    for role, groups in roles.items():
        yield from _role_rows(role, groups)
    yield from _scaling_rows(signals.scaling)


def _role_rows(role: str, groups: Sequence[GroupSignals]) -> Rows:
    heard = [g for g in groups if g.failing_since is None]
    latest = [g.latest for g in heard if g.latest is not None]
    for family, values, whole in (
        (WAITING, _known(s.waiting for s in latest), sum),
        (RUNNING, _known(s.running for s in latest), sum),
        (KV_CACHE, _known(s.kv_cache_usage for s in latest), fmean),
    ):
        if values:
            yield family, (role,), round(whole(values), 6)
    windows = [g.window for g in heard if g.window is not None]
    for family, histogram in (
        (TTFT, merged(w.ttft for w in windows)),
        (TPOT, merged(w.tpot for w in windows)),
    ):
        for name, share in PERCENTILES.items():
            if (found := quantile(histogram, share)) is not None:
                yield family, (role, name), round(found, 6)
    yield SILENT, (role,), len(groups) - len(heard)


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _scaling_rows(scaling: Mapping[str, Scaling]) -> Rows:
    for role, word in scaling.items():
        yield DESIRED, (role,), word.desired
        for name, value, target in word.metrics:
            yield VALUE, (role, name), round(value, 6)
            yield TARGET, (role, name), target
