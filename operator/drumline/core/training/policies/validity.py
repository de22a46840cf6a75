"""A spec that slipped past the API server's checks ends here, with every field named.

A spec may also cease to hold while its gang runs: the catalogue or the operator changed. A gang that runs is
not ended for that. Its pods are left alone, with a warning, until one of them fails: what can't be started
again has then ended.
"""

from __future__ import annotations

from drumline.api.reasons import Reason
from drumline.core.training.attempts import fail
from drumline.core.training.policies.failure import has_failed
from drumline.core.training.view import View

SHOWN = 5


def validity(view: View) -> View:
    """Fail the job with `InvalidSpec` when its spec does not hold and no whole gang of it runs."""
    if view.obs.spec is not None and not view.obs.errors:
        return view
    shown = "; ".join(str(e) for e in view.obs.errors[:SHOWN]) or "the spec is unreadable"
    more = len(view.obs.errors) - SHOWN
    message = f"{shown}; and {more} more" if more > 0 else shown
    if _runs(view):
        text = f"the spec does not hold any more; the pods are left alone until one fails: {message}"
        return view.event("Warning", Reason.INVALID_SPEC, text).done(validity.__name__)
    return fail(view, Reason.INVALID_SPEC, message, validity.__name__)


def _runs(view: View) -> bool:
    """Whether the running attempt has pods and none of them has failed. Nothing is known of their indexes."""
    pods = [p for p in view.obs.pods.values() if p.member and p.member.attempt == view.status.attempt]
    return view.live and bool(pods) and not any(has_failed(p) for p in pods)
