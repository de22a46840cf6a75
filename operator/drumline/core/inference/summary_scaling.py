"""Who scales a service: the condition ScalingActive."""

from __future__ import annotations

from drumline.api.inference_scaling import ScalingMode
from drumline.api.reasons import Reason, ServiceCondition
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


def _speaks(view: View, role: str) -> bool:
    word = view.obs.signals.scaling.get(role)
    return word is not None and bool(word.metrics)
