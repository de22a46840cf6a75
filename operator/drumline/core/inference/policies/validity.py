"""A spec that slipped past the API server's checks changes nothing: what serves is left to serve.

A spec may also cease to hold while its groups serve: the catalogue or the operator changed. Nothing is started,
scaled or restarted by a spec that does not hold; the conditions say why, with every field named.
"""

from __future__ import annotations

from drumline.api.reasons import Reason, ServiceCondition, ServicePhase
from drumline.core.gang import conditions
from drumline.core.inference.groups import every, live
from drumline.core.inference.view import View

SHOWN = 5


def validity(view: View) -> View:
    """End the decision with `InvalidSpec` when the spec does not hold."""
    if view.obs.spec is not None and not view.obs.errors:
        return view
    shown = "; ".join(str(e) for e in view.obs.errors[:SHOWN]) or "the spec is unreadable"
    more = len(view.obs.errors) - SHOWN
    message = f"{shown}; and {more} more" if more > 0 else shown
    runs = any(live(group) for _, group in every(view))
    if runs:
        message = f"the groups are left as they are: {message}"
    known = conditions.find(view.status.conditions, ServiceCondition.READY.value)
    if known is None or known.reason != Reason.INVALID_SPEC:
        view = view.event("Warning", Reason.INVALID_SPEC, message)
    view = view.condition(ServiceCondition.READY, False, Reason.INVALID_SPEC, message)
    view = view.condition(ServiceCondition.PROGRESSING, False, Reason.INVALID_SPEC, message)
    phase = ServicePhase.DEGRADED if runs else ServicePhase.FAILED
    return view.with_status(phase=phase.value).done(validity.__name__)
