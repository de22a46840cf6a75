"""Success is recorded rank by rank before a pod may be forgotten; the success policy says when it is enough."""

from __future__ import annotations

from dataclasses import replace

from drumline.api.reasons import ConditionType, Reason
from drumline.api.training import SuccessPolicyType
from drumline.core.gang.clock import rfc3339_millis
from drumline.core.gang.types import PodPhase
from drumline.core.training import bitmap
from drumline.core.training.attempts import finished, released
from drumline.core.training.view import View


def success(view: View) -> View:
    """Record new successes; complete the job when the policy is met."""
    if not view.live:
        return view
    seen = {i for i, p in view.current().items() if p.phase is PodPhase.SUCCEEDED}
    recorded = view.succeeded()
    if not seen <= recorded:
        view = view.with_status(succeeded=bitmap.encode(seen | recorded))
    needed = _needed(view)
    return _complete(view, needed) if needed <= seen | recorded else view


def _needed(view: View) -> frozenset[int]:
    match view.spec.success_policy.type:
        case SuccessPolicyType.RANK0:
            return frozenset({0})
        case SuccessPolicyType.ROLES:
            return frozenset(range(view.roster.size))
        case SuccessPolicyType.ALL_WORKERS:
            return frozenset(range(view.roster.workers))


def _complete(view: View, needed: frozenset[int]) -> View:
    workers = sum(1 for i in view.succeeded() if i < view.roster.workers)
    text = f"{len(needed)} of {len(needed)} pods of successPolicy {view.spec.success_policy.type.value} succeeded"
    counts = view.status.workers.model_copy(update={"ready": 0, "succeeded": workers})
    view = replace(view, status=released(finished(view.status, view.now), view.now))
    view = view.with_status(completion_time=rfc3339_millis(view.now), workers=counts)
    view = view.condition(ConditionType.COMPLETE, True, Reason.COMPLETE, text)
    view = view.clear(ConditionType.RESTARTING, Reason.COMPLETE, text)
    for kind in (ConditionType.PODS_READY, ConditionType.ADMITTED, ConditionType.QUOTA_RESERVED):
        view = view.clear(kind, Reason.COMPLETE, text)
    view = view.event("Normal", Reason.COMPLETE, text)
    return view.again_in(0.0).done(success.__name__)
