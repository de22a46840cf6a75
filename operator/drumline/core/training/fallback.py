"""Which accelerator a job asks for: after it was refused one for long, the next of its candidates.

The clock starts when admission first says that there is no room, and runs on whatever kind of room it is that is
missing. It stops when an attempt begins with nodes, when something else stands in the way (a queue that is not there), and when the
job is suspended; it starts anew with each candidate. Nodes that were asked for (`provisioning`) and did not come in
time end it early. The place in the queue is kept. The candidate changes only while
the job holds nothing at all: no placement, no quota, no pod that is still ending; so all that an attempt is, and all
that it restarts as, is of one accelerator.
"""

from __future__ import annotations

from typing import Final

from drumline.api.candidates import FALLBACK_SECONDS, choices, following, in_words
from drumline.api.reasons import Cause, ConditionType, Reason
from drumline.core.gang.clock import rfc3339_millis, unix
from drumline.core.gang.types import Refusal
from drumline.core.training.provisioned import open_request
from drumline.core.training.provisioning import asked_for
from drumline.core.training.view import View

NO_ROOM: Final = frozenset(
    {
        Reason.INSUFFICIENT_ACCELERATORS,
        Reason.NO_FEASIBLE_NODE,
        Reason.TOPOLOGY_UNSATISFIABLE,
        Reason.HEAD_OF_QUEUE_RESERVED,
        Reason.NAMESPACE_QUOTA,
        Reason.QUEUE_QUOTA,
        Reason.POWER_BUDGET,
    }
)


def refused_since(view: View, answer: Refusal | None) -> View:
    """The view with the clock started or stopped, as `answer` says; no answer yet changes nothing."""
    since = view.status.refused_since
    seeks = choices(view.spec) > 1 or asked_for(view) is not None
    if answer is None or not seeks or view.status.placement is not None:
        return view
    if since is not None and _ran_since(view, since):
        since = None
    if answer.reason not in NO_ROOM:
        return view if view.status.refused_since is None else view.with_status(refused_since=None)
    return view if since is not None else view.with_status(refused_since=rfc3339_millis(view.now))


def moved_on(view: View) -> View | None:
    """The view of a job that asks for its next accelerator; None while it is not time.

    It asks by itself once the status is written: then all that is known of the job is of that accelerator.
    """
    since, spec = view.status.refused_since, view.spec
    if since is None or choices(spec) == 1 or _holds_anything(view):
        return None
    seconds = spec.accelerator.fallback_seconds or FALLBACK_SECONDS
    none_came = _asked_in_vain(view, since)
    if unix(since) + seconds > view.now and not none_came:
        return None
    number = following(spec, view.status.candidate or 0)
    why = "no nodes came" if none_came else f"no room for {seconds} s"
    text = f"{spec.accelerator.type}: {why}; asking for {in_words(spec, number)}"
    view = view.with_status(candidate=number, refused_since=None)
    view = view.condition(ConditionType.QUOTA_RESERVED, False, Reason.FALLBACK, text)
    return view.event("Normal", Reason.FALLBACK, text)


def left(view: View) -> float | None:
    """Seconds until the next accelerator is tried; None when that is not to come, or waits for pods to end."""
    since = view.status.refused_since
    if since is None or choices(view.spec) == 1 or _holds_anything(view):
        return None
    seconds = view.spec.accelerator.fallback_seconds or FALLBACK_SECONDS
    return max(0.0, unix(since) + seconds - view.now)


def which(view: View) -> str:
    """The accelerator that is asked for, as the end of a sentence; nothing where there is no choice."""
    spec = view.spec
    if choices(spec) == 1:
        return ""
    number = view.status.candidate or 0
    return f" ({spec.accelerator.type}, {number + 1} of {choices(spec)} accelerators)"


def _ran_since(view: View, since: str) -> bool:
    """Whether all pods of the last attempt were ready after that time: what was refused then is over."""
    last = view.status.attempts[-1] if view.status.attempts else None
    return last is not None and last.ready_at is not None and unix(last.ready_at) > unix(since)


def _asked_in_vain(view: View, since: str) -> bool:
    """Whether an attempt that began without nodes, or a request for some, had not got them in time, after that time."""
    asked = view.status.provisioning
    if asked is not None and asked.failed and unix(asked.since) >= unix(since):
        return True
    last = view.status.attempts[-1] if view.status.attempts else None
    timed_out = last is not None and last.cause == Cause.GANG_TIMEOUT
    return timed_out and last is not None and unix(last.started_at) >= unix(since)


def _holds_anything(view: View) -> bool:
    status = view.status
    if status.placement is not None or status.queue is not None or open_request(status) is not None:
        return True
    return any(not pod.terminal for pod in view.obs.pods.values())
