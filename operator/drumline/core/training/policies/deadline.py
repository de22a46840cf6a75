"""`activeDeadlineSeconds` bounds admitted time: waiting in the queue and suspension do not count."""

from __future__ import annotations

from drumline.api.reasons import Reason
from drumline.core.training.attempts import admitted_for, fail
from drumline.core.training.view import View


def deadline(view: View) -> View:
    """Fail the job when it has been admitted for longer than it may."""
    limit = view.spec.active_deadline_seconds
    if limit is None:
        return view
    spent = admitted_for(view.status, view.now)
    if spent >= limit:
        message = f"admitted for {spent:.0f} s; spec.activeDeadlineSeconds is {limit}"
        return fail(view, Reason.DEADLINE, message, deadline.__name__)
    return view.again_in(limit - spent) if view.status.admitted_at is not None else view
