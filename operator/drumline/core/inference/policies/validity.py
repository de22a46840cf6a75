"""A spec that does not hold changes nothing, and the conditions say why, with every field named.

What serves goes on by the last revision that held (see `frozen`). Where there is none, nothing is done at all.
"""

from __future__ import annotations

from drumline.api.reasons import Reason, ServiceCondition, ServicePhase
from drumline.core.gang import conditions
from drumline.core.inference.groups import every, live
from drumline.core.inference.view import View

SHOWN = 5


def validity(view: View) -> View:
    """Say `InvalidSpec` when the spec does not hold; end the decision when none ever did."""
    if view.obs.spec is not None and not view.obs.errors:
        return view
    shown = "; ".join(str(e) for e in view.obs.errors[:SHOWN]) or "the spec is unreadable"
    more = len(view.obs.errors) - SHOWN
    message = f"{shown}; and {more} more" if more > 0 else shown
    runs = any(live(group) for _, group in every(view))
    if runs:
        how = "are left as they are" if view.obs.spec is None else "go on by the last revision that held"
        message = f"the groups {how}: {message}"
    known = conditions.find(view.status.conditions, ServiceCondition.READY.value)
    if known is None or known.reason != Reason.INVALID_SPEC:
        view = view.event("Warning", Reason.INVALID_SPEC, message)
    view = view.condition(ServiceCondition.READY, False, Reason.INVALID_SPEC, message)
    view = view.condition(ServiceCondition.PROGRESSING, False, Reason.INVALID_SPEC, message)
    phase = ServicePhase.DEGRADED if runs else ServicePhase.FAILED
    view = view.with_status(phase=phase.value)
    return view if view.obs.spec is not None else view.done(validity.__name__)
