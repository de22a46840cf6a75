"""Who scales a service, and what the autoscaler last said: ScalingActive, and `scaling` of each role."""

from __future__ import annotations

from drumline.api.inference_scaling import ScalingMode
from drumline.api.inference_status import MetricValue, RoleStatus, ScalingStatus
from drumline.api.reasons import Reason, ServiceCondition
from drumline.core.gang.clock import rfc3339
from drumline.core.inference.autoscale_service import scaled_by_us
from drumline.core.inference.signals import Scaling
from drumline.core.inference.view import View


def scaling_condition(view: View) -> View:
    """ScalingActive: True while each role that is to scale has somebody to say how much."""
    kind = ServiceCondition.SCALING_ACTIVE
    scaled = [r for r in view.spec.roles if r.autoscaling is not None]
    builtin = [r.name for r in scaled if r.autoscaling and r.autoscaling.mode is ScalingMode.BUILTIN]
    if not scaled:
        return view.condition(kind, False, Reason.NOT_SCALED, "no role has autoscaling")
    if view.spec.suspend:
        return view.condition(kind, False, Reason.SUSPENDED, "spec.suspend is true")
    silent = [name for name in builtin if not _speaks(view, name)]
    if silent:
        text = f"the engines of {', '.join(silent)} say nothing yet; the number of groups stays"
        return view.condition(kind, False, Reason.METRICS_MISSING, text)
    if builtin:
        text = f"{', '.join(builtin)} follow the engines' metrics"
        return view.condition(kind, True, Reason.SCALED_BY_METRICS, text)
    text = "spec.replicas of each InferenceRole is set from outside"
    return view.condition(kind, True, Reason.SCALED_EXTERNALLY, text)


def scaling_status(view: View) -> View:
    """What the autoscaler last said of each role; until it speaks again, what it said to an earlier operator."""
    ours = {role.name for role in scaled_by_us(view.spec)}
    return view.with_status(
        roles=tuple(
            r.model_copy(update={"scaling": _said(view, r) if r.name in ours else None})
            for r in view.status.roles
        )
    )


def _said(view: View, role: RoleStatus) -> ScalingStatus | None:
    word, known = view.obs.signals.scaling.get(role.name), role.scaling
    if word is None:
        return known
    same = known is not None and known.desired == word.desired
    return ScalingStatus(
        desired=word.desired,
        reason=word.reason,
        message=word.message,
        metrics=_metrics(word),
        last_scale_time=known.last_scale_time if known is not None and same else rfc3339(view.now),
    )


def _metrics(word: Scaling) -> tuple[MetricValue, ...]:
    """To three digits: what moves less is not worth a write."""
    return tuple(MetricValue(name=n, value=float(f"{v:.3g}"), target=t) for n, v, t in word.metrics)


def _speaks(view: View, role: str) -> bool:
    word = view.obs.signals.scaling.get(role)
    return word is not None and bool(word.metrics)
