"""`activeDeadlineSeconds`, and `maxRunSeconds` of the queue that admitted the gang, bound admitted time.

Waiting in the queue and suspension do not count. What the queue says holds while the gang has its accelerators.
"""

from __future__ import annotations

from drumline.api.reasons import Reason
from drumline.core.training.attempts import admitted_for, fail
from drumline.core.training.view import View


def deadline(view: View) -> View:
    """Fail the job when it has been admitted for longer than it may."""
    spent, admitted = admitted_for(view.status, view.now), view.status.admitted_at is not None
    own = view.spec.active_deadline_seconds
    if own is not None and spent >= own:
        message = f"admitted for {spent:.0f} s; spec.activeDeadlineSeconds is {own}"
        return fail(view, Reason.DEADLINE, message, deadline.__name__)
    most = view.obs.queue_max_run_seconds if admitted else None
    if most is not None and spent >= most:
        queue = view.status.queue or view.obs.queue
        message = f"admitted for {spent:.0f} s; spec.maxRunSeconds of AcceleratorQueue {queue} is {most}"
        return fail(view, Reason.QUEUE_MAX_RUN, message, deadline.__name__)
    limit = min((n for n in (own, most) if n is not None), default=None)
    return view.again_in(limit - spent) if admitted and limit is not None else view
