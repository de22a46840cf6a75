"""`suspend: true` takes the pods down and frees the nodes; it is no restart and costs no budget."""

from __future__ import annotations

from dataclasses import replace

from drumline.api.reasons import ConditionType, Reason
from drumline.core.training import conditions
from drumline.core.training.attempts import finished, released
from drumline.core.training.backing import retired
from drumline.core.training.policies.discovery import publish
from drumline.core.training.policies.termination import force_overdue
from drumline.core.training.view import View, deletions

_OFF = (
    ConditionType.QUOTA_RESERVED,
    ConditionType.ADMITTED,
    ConditionType.PODS_READY,
    ConditionType.RESTARTING,
)


def suspension(view: View) -> View:
    """Hold a suspended job; let a resumed one into the queue."""
    if not view.spec.suspend:
        return _resume(view)
    text = "spec.suspend is true"
    if not conditions.is_true(view.status, ConditionType.SUSPENDED):
        view = view.event("Normal", Reason.SUSPENDED, text)
    status = released(finished(view.status, view.now, message="suspended"), view.now)
    view = replace(view, status=status, status_first=True).with_status(
        queued_at=None, next_attempt_at=None, requeues=0, refused_since=None
    )
    view = view.condition(ConditionType.SUSPENDED, True, Reason.SUSPENDED, text)
    for kind in _OFF:
        view = view.clear(kind, Reason.SUSPENDED, text)
    view = publish(force_overdue(view)[0], {})
    view = retired(view.act(*deletions(list(view.obs.pods.values()))), None)
    return view.done(suspension.__name__)


def _resume(view: View) -> View:
    if not conditions.is_true(view.status, ConditionType.SUSPENDED):
        return view
    text = "spec.suspend is false"
    view = view.condition(ConditionType.SUSPENDED, False, Reason.RESUMED, text)
    return view.event("Normal", Reason.RESUMED, text)
