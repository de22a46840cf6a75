"""How many groups a role should have, from what its engines say.

For each target the metric gives a number of groups; the greatest counts. Then bounds, proportion to another
role, stabilisation and rate limits, as a HorizontalPodAutoscaler has them:

1. Amounts that add up over groups (waiting, running, tokens a second): sum / target. Kept within `TOLERANCE`.
2. KV cache use: groups · average / target.
3. Latencies (ttft, tpot), s = quantile / target: above 1 + tolerance, groups · min(s, 2), as latency says that
   load is too high, not by how much; below `CALM`, groups · s / CALM, but never fewer than waiting requests and the
   KV cache need; between, as many as there are.
4. A group whose metrics are missing or older than `STALE_SECONDS`, or that is not in service yet, never makes
   for fewer groups: towards fewer it counts as being at its target, towards more as having nothing to do.
5. Groups beyond the number, as a rollout, a canary or an evacuation has them, count by what they take, and make
   "as many as there are" no more than the number.
6. To zero only when `scaleToZero` allows it and no group has had a request for so long; from zero when somebody
   holds requests, or a person set the scale.

Sources: Kubernetes' HPA algorithm; the shape of 3 follows llm-d's latency law.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from drumline.api.inference import InferenceRoleSpec
from drumline.api.inference_scaling import Autoscaling, MetricTarget, ScalingMetric, Slo
from drumline.core.inference.autoscale_limits import Memory, limited
from drumline.core.inference.signals import GroupSignals, Scaling
from drumline.core.inference.windows import merged, quantile, worked_at

STALE_SECONDS: Final = 30.0
TOLERANCE: Final = 0.1
CALM: Final = 0.5  # of a latency's target: below, there may be groups too many
AT_MOST: Final = 2.0  # times as many groups for a latency
DEFAULT_QUANTILE: Final = 0.9
DEFAULT_WAITING: Final = 2.0
DEFAULT_KV: Final = 0.8
LATENCIES: Final = frozenset({ScalingMetric.TTFT, ScalingMetric.TPOT})


@dataclass(frozen=True, slots=True)
class GroupLoad:
    """One group that is not going: what it takes and what it says."""

    capacity: float  # against a group on the role's own accelerator
    in_service: bool
    signals: GroupSignals


@dataclass(frozen=True, slots=True)
class RoleLoad:
    """One role now. `current` is the number of groups it should have so far."""

    current: int
    groups: tuple[GroupLoad, ...]
    held: float = 0.0  # requests that somebody holds for it, such as an endpoint picker
    new_capacity: float = 1.0  # of a further group


@dataclass(frozen=True, slots=True)
class _Wish:
    """What one metric asks for, in groups of capacity 1."""

    name: str
    units: float
    value: float
    target: float


def targets(role: InferenceRoleSpec, scaling: Autoscaling, slo: Slo | None) -> tuple[MetricTarget, ...]:
    """The metrics that count: the role's own, else the SLO's that it can help, else requests and memory."""
    if scaling.metrics:
        return scaling.metrics
    latencies = _promised(role.name, slo) if slo is not None else ()
    return latencies or (
        MetricTarget(name=ScalingMetric.WAITING, target=DEFAULT_WAITING),
        MetricTarget(name=ScalingMetric.KV_CACHE_USAGE, target=DEFAULT_KV),
    )


def _promised(role: str, slo: Slo) -> tuple[MetricTarget, ...]:
    """Prefill makes for the first token and decode for those after it."""
    pairs = (
        (ScalingMetric.TTFT, slo.ttft_seconds, "decode"),
        (ScalingMetric.TPOT, slo.tpot_seconds, "prefill"),
    )
    return tuple(
        MetricTarget(name=name, target_seconds=seconds, quantile=slo.quantile)
        for name, seconds, other in pairs
        if seconds is not None and role != other
    )


def recommend(
    role: InferenceRoleSpec, slo: Slo | None, load: RoleLoad, memory: Memory, now: float
) -> tuple[Scaling, Memory]:
    """The number of groups that a role with built-in autoscaling should have; `now` in Unix seconds."""
    scaling = role.autoscaling
    if scaling is None:
        raise ValueError(f"role {role.name} has no autoscaling")
    missing = load.current - len(load.groups)
    coming = (GroupLoad(load.new_capacity, in_service=False, signals=GroupSignals()),) * missing
    load = replace(load, groups=(*load.groups, *coming))
    memory = replace(memory, busy_at=_busy_at(load, memory, now))
    if load.current == 0:
        wish = _from_zero(scaling, load)
    elif _may_go(scaling, load, memory, now):
        idle = int(now - (memory.busy_at or now))
        wish = Scaling(0, "Idle", f"no request for {idle} s")
    else:
        wish = _wanted(targets(role, scaling, slo), scaling, load, now)
    return limited(wish, scaling, load.current, memory, now)


def _from_zero(scaling: Autoscaling, load: RoleLoad) -> Scaling:
    if load.held > 0:
        return Scaling(
            max(1, scaling.min_replicas), "RequestsHeld", f"{load.held:g} requests are held for it"
        )
    return Scaling(scaling.min_replicas, "Idle" if scaling.min_replicas == 0 else "MinReplicas")


def _busy_at(load: RoleLoad, memory: Memory, now: float) -> float:
    """When there was last a request, or a group that can't say there was none."""
    if load.held > 0 or load.current == 0 or memory.busy_at is None:
        return now
    return max((memory.busy_at, *(_busy_group_at(g, now) for g in load.groups)))


def _busy_group_at(group: GroupLoad, now: float) -> float:
    """When the group was last seen to have a request, 0 for never; now while it can't say."""
    latest, samples = group.signals.latest, group.signals.samples
    knows = group.in_service and _fresh(group, now) and len(samples) > 1
    if not knows or latest is None or latest.in_flight != 0:
        return now
    return worked_at(samples) or 0.0


def _may_go(scaling: Autoscaling, load: RoleLoad, memory: Memory, now: float) -> bool:
    rest = scaling.scale_to_zero
    if rest is None or scaling.min_replicas > 0 or memory.busy_at is None:
        return False
    return bool(load.groups) and now - memory.busy_at >= rest.idle_seconds


def _fresh(group: GroupLoad, now: float) -> bool:
    latest = group.signals.latest
    return latest is not None and now - latest.at <= STALE_SECONDS


def _wanted(metrics: Iterable[MetricTarget], scaling: Autoscaling, load: RoleLoad, now: float) -> Scaling:
    """The greatest wish; as many groups as there are when nothing is known."""
    said = [g for g in load.groups if g.in_service and _fresh(g, now)]
    silent = [g for g in load.groups if not (g.in_service and _fresh(g, now))]
    silent = sorted(silent, key=lambda g: g.in_service)[max(0, len(load.groups) - load.current) :]
    share = _share(said, silent, load.current)
    wishes = [w for metric in metrics if (w := _wish(metric, said, silent, share)) is not None]
    if not wishes:
        keep = max(load.current, scaling.min_replicas)
        return Scaling(keep, "MetricsMissing", "no group in service has fresh metrics; the number stays")
    best = max(wishes, key=lambda wish: wish.units)
    desired = max(1, _count(best.units, load))
    text = f"{best.name} {best.value:.3g}, target {best.target:.3g}"
    shown = tuple((w.name, w.value, w.target) for w in wishes)
    reason = "MetricsMissing" if silent and desired == load.current and best.units < load.current else "Load"
    return Scaling(desired, reason, text, shown)


def _share(said: Sequence[GroupLoad], silent: Sequence[GroupLoad], current: int) -> float:
    """What of the capacity that is there belongs to as many groups as there should be."""
    every = sorted((g.capacity for g in (*said, *silent)), reverse=True)
    return sum(every[:current]) / sum(every) if every else 1.0


def _count(units: float, load: RoleLoad) -> int:
    """How many groups take `units`: those that are there, the strongest first, then new ones."""
    left, count = units - 1e-9, 0
    for capacity in sorted((g.capacity for g in load.groups), reverse=True):
        if left <= 0:
            return count
        left, count = left - capacity, count + 1
    return count + max(0, math.ceil(left / load.new_capacity))


def _wish(
    metric: MetricTarget, said: Sequence[GroupLoad], silent: Sequence[GroupLoad], share: float
) -> _Wish | None:
    """What a metric asks for; None when no group says anything of it."""
    if metric.name in LATENCIES:
        return _latency(metric, said, silent, share)
    read = _GAUGES[metric.name]
    values = [(g.capacity, v) for g in said if (v := read(g.signals)) is not None]
    mute = sum(g.capacity for g in silent) + sum(g.capacity for g in said if read(g.signals) is None)
    target = metric.target or 1.0
    if not values:
        return None
    units = sum(capacity for capacity, _ in values)
    if metric.name is ScalingMetric.KV_CACHE_USAGE:
        amount = sum(capacity * value for capacity, value in values)
    else:
        amount = sum(value for _, value in values)
    average = amount / units
    return _Wish(metric.name.value, _kept(amount / target, units * share, mute * share), average, target)


def _kept(needed: float, said: float, mute: float) -> float:
    """Groups needed by those that speak, beside the mute ones: idle towards more, at their target towards fewer."""
    there = said + mute
    if abs(needed / said - 1) <= TOLERANCE:
        return there
    return max(there, needed) if needed > said else needed + mute


def _latency(
    metric: MetricTarget, said: Sequence[GroupLoad], silent: Sequence[GroupLoad], share: float
) -> _Wish | None:
    windows = [g.signals.window for g in said if g.signals.window is not None]
    name = "ttft" if metric.name is ScalingMetric.TTFT else "tpot"
    whole = merged(getattr(window, name) for window in windows)
    units = sum(g.capacity for g in said)
    mute = sum(g.capacity for g in silent) * share
    there = units * share + mute
    target = metric.target_seconds or 1.0
    if whole is None:
        return None
    measured = quantile(whole, metric.quantile or DEFAULT_QUANTILE)
    floor = _floor(said, share)
    if measured is None:  # nobody was served: no latency asks for anything
        return _Wish(name, floor + mute, 0.0, target)
    s = measured / target
    if s > 1 + TOLERANCE:
        return _Wish(name, max(units * min(s, AT_MOST), there), measured, target)
    if s < CALM:
        return _Wish(name, max(units * s / CALM, floor) + mute, measured, target)
    return _Wish(name, there, measured, target)


def _floor(said: Sequence[GroupLoad], share: float) -> float:
    """What waiting requests and the KV cache need, whatever the latencies say."""
    defaults = (
        MetricTarget(name=ScalingMetric.WAITING, target=DEFAULT_WAITING),
        MetricTarget(name=ScalingMetric.KV_CACHE_USAGE, target=DEFAULT_KV),
    )
    wishes = [w.units for metric in defaults if (w := _wish(metric, said, (), share)) is not None]
    return max(wishes, default=sum(g.capacity for g in said) * share)


def _tokens(signals: GroupSignals) -> float | None:
    window, latest = signals.window, signals.latest
    if window is None or latest is None or latest.generation_tokens is None or window.seconds <= 0:
        return None
    return window.generation_tokens / window.seconds


_GAUGES: Final[dict[ScalingMetric, Callable[[GroupSignals], float | None]]] = {
    ScalingMetric.WAITING: lambda s: s.latest.waiting if s.latest is not None else None,
    ScalingMetric.RUNNING: lambda s: s.latest.running if s.latest is not None else None,
    ScalingMetric.KV_CACHE_USAGE: lambda s: s.latest.kv_cache_usage if s.latest is not None else None,
    ScalingMetric.TOKENS_PER_SECOND: _tokens,
}
