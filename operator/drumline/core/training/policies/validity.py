"""A spec that slipped past the API server's checks ends here, with every field named."""

from __future__ import annotations

from drumline.api.reasons import Reason
from drumline.core.training.attempts import fail
from drumline.core.training.view import View

SHOWN = 5


def validity(view: View) -> View:
    """Fail the job with `InvalidSpec` when its spec does not hold."""
    if view.obs.spec is not None and not view.obs.errors:
        return view
    shown = "; ".join(str(e) for e in view.obs.errors[:SHOWN]) or "the spec is unreadable"
    more = len(view.obs.errors) - SHOWN
    message = f"{shown}; and {more} more" if more > 0 else shown
    return fail(view, Reason.INVALID_SPEC, message, validity.__name__)
