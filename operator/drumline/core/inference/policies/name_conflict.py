"""An object of a name we need that is not ours is never adopted.

While no group has ever begun nothing is begun. What runs goes on, restarts and scales; only the name in
question is not written (see `decide`). A pod's name that is taken ends that attempt alone, by the policy `failure`:
the next one has another name.
"""

from __future__ import annotations

from drumline.api.reasons import Reason, ServiceCondition, ServicePhase
from drumline.core.gang import conditions
from drumline.core.inference.groups import every
from drumline.core.inference.view import View


def name_conflict(view: View) -> View:
    """Say what stands in the way; end the decision when nothing has begun yet."""
    if not taken(view):
        return view
    message = conflict(view)
    known = conditions.find(view.status.conditions, ServiceCondition.READY.value)
    if known is None or known.reason != Reason.NAME_CONFLICT:
        view = view.event("Warning", Reason.NAME_CONFLICT, message)
    view = view.condition(ServiceCondition.READY, False, Reason.NAME_CONFLICT, message)
    if any(group.attempt for _, group in every(view)):
        return view
    view = view.condition(ServiceCondition.PROGRESSING, False, Reason.NAME_CONFLICT, message)
    return view.with_status(phase=ServicePhase.FAILED.value).done(name_conflict.__name__)


def taken(view: View) -> tuple[str, ...]:
    """The names that are somebody else's, but for pods."""
    return tuple(sorted(name for name in view.obs.foreign if not name.startswith("pods/")))


def conflict(view: View) -> str:
    """What stands in the way, for people."""
    found = ", ".join(taken(view))
    return (
        f"{found} already exists in namespace {view.obs.service.namespace} and does not belong to this service; "
        f"delete it or give the service another name"
    )
