"""Which accelerator a job asks for: after it was refused one for long, the next of its candidates.

The clock starts when admission first says that there is no room, and runs on whatever kind of room it is that is
missing. It stops when an attempt begins, when something else stands in the way (a queue that is not there), and when the
job is suspended; it starts anew with each candidate. The place in the queue is kept. The candidate changes only while
the job holds nothing at all: no placement, no quota, no pod that is still ending; so all that an attempt is, and all
that it restarts as, is of one accelerator.
"""

from __future__ import annotations

from typing import Final

from drumline.api.candidates import FALLBACK_SECONDS, choices, following, in_words
from drumline.api.reasons import ConditionType, Reason
from drumline.core.gang.clock import rfc3339_millis, unix
from drumline.core.gang.types import Refusal
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
    if answer is None or choices(view.spec) == 1 or view.status.placement is not None:
        return view
    if answer.reason not in NO_ROOM:
        return view if since is None else view.with_status(refused_since=None)
    return view if since is not None else view.with_status(refused_since=rfc3339_millis(view.now))


def moved_on(view: View) -> View | None:
    """The view of a job that asks for its next accelerator; None while it is not time.

    It asks by itself once the status is written: then all that is known of the job is of that accelerator.
    """
    since, spec = view.status.refused_since, view.spec
    if since is None or _holds_anything(view):
        return None
    seconds = spec.accelerator.fallback_seconds or FALLBACK_SECONDS
    if unix(since) + seconds > view.now:
        return None
    number = following(spec, view.status.candidate or 0)
    text = f"no room for {spec.accelerator.type} for {seconds} s; asking for {in_words(spec, number)}"
    view = view.with_status(candidate=number, refused_since=None)
    view = view.condition(ConditionType.QUOTA_RESERVED, False, Reason.FALLBACK, text)
    return view.event("Normal", Reason.FALLBACK, text)


def left(view: View) -> float | None:
    """Seconds until the next accelerator is tried; None when that is not to come, or waits for pods to end."""
    since = view.status.refused_since
    if since is None or _holds_anything(view):
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


def _holds_anything(view: View) -> bool:
    status = view.status
    if status.placement is not None or status.queue is not None:
        return True
    return any(not pod.terminal for pod in view.obs.pods.values())
