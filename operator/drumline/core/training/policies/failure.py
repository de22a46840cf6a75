"""One failed pod ends the attempt of the whole gang: one cause, one count, one delay.

A pod of the running attempt has failed when it is Failed, when somebody else is deleting it before it
succeeded, or when it is gone without having been seen to succeed (only if it is on record that its role was
created: before that an absent pod is one that is still to be created). The cause is that of the first failed
rank; pods that fell because of it are not counted.
"""

from __future__ import annotations

from dataclasses import replace

from drumline.api.meta import ROLE_WORKER
from drumline.api.reasons import Cause, ConditionType, Reason
from drumline.api.status import ExcludedNode
from drumline.core.gang.failures import cause_of, describe, first_failure
from drumline.core.gang.types import Pod, PodPhase
from drumline.core.training import conditions
from drumline.core.training.attempts import count_restart, fail, finished, restart_delay
from drumline.core.training.clock import rfc3339_millis
from drumline.core.training.view import View

# A node that was the first to fail this often among the kept attempts is avoided for a while.
STRIKES = 2


def failure(view: View) -> View:
    """End a failed attempt: back off and start the next, or fail the job when its budget is spent."""
    if not view.live:
        return view
    current = view.current()
    broken = {i: p for i, p in current.items() if has_failed(p)}
    if broken:
        pod = first_failure(list(broken.values()))
        index = next(i for i, p in broken.items() if p is pod)
        return _restart(view, cause_of(pod), index, pod)
    vanished = _vanished(view, current)
    if vanished is not None:
        return _restart(view, Cause.UNKNOWN, vanished, None)
    return view


def has_failed(pod: Pod) -> bool:
    """Whether a pod of the running attempt, which nobody of us deletes, has failed."""
    return pod.phase is PodPhase.FAILED or (pod.deleting and pod.phase is not PodPhase.SUCCEEDED)


def _vanished(view: View, current: dict[int, Pod]) -> int | None:
    """The first index whose pod was created and is gone without a recorded success."""
    succeeded = view.succeeded()
    indexes = (i for role in _created_roles(view) for i in view.roster.role_range(role))
    return next((i for i in indexes if i not in current and i not in succeeded), None)


def _created_roles(view: View) -> list[str]:
    """Roles of which every pod has been created in this attempt, as it is on record or about to be."""
    roles = [h.name for h in view.spec.helpers if h.name in view.status.created_helpers]
    admitted = conditions.find(view.status, ConditionType.ADMITTED)
    on_record = admitted is not None and admitted.reason == Reason.PODS_CREATED
    if on_record or view.obs.created_attempt == view.status.attempt:
        roles = [ROLE_WORKER, *(h.name for h in view.spec.helpers if not h.depends_on), *roles]
    return roles


def _restart(view: View, cause: Cause, index: int, pod: Pod | None) -> View:
    name = pod.name if pod is not None else view.roster.name_of(index, view.status.attempt)
    code = pod.termination.exit_code if pod is not None and pod.termination is not None else None
    text = describe(pod) if pod is not None else f"pod {name} is gone and was not seen to succeed"
    details = {
        "cause": cause.value,
        "pod": name,
        "rank": index if index < view.roster.workers else None,
        "node": (pod.node or None) if pod is not None else None,
        "exit_code": code,
        "message": text[:512],
    }
    status = count_restart(finished(view.status, view.now, **details), cause)
    budget = view.spec.failure_policy.max_restarts
    if status.restart_count > budget:
        view = replace(view, status=status)
        message = f"{text}; {budget} restarts are allowed by spec.failurePolicy.maxRestarts"
        return fail(view, Reason.MAX_RESTARTS, message, failure.__name__)
    delay = restart_delay(status, view.spec.failure_policy.backoff)
    view = replace(view, status=status, status_first=True).with_status(
        next_attempt_at=rfc3339_millis(view.now + delay)
    )
    view = _exclude(view, pod)
    message = f"{text}; attempt {status.attempt + 1} starts in {delay:.0f} s"
    view = view.condition(ConditionType.RESTARTING, True, Reason.RESTARTING, message)
    view = view.condition(ConditionType.PODS_READY, False, Reason.RESTARTING, message)
    return view.event("Warning", Reason.RESTARTING, message)


def _exclude(view: View, pod: Pod | None) -> View:
    if pod is None or not pod.node:
        return view
    strikes = sum(1 for a in view.status.attempts if a.node == pod.node and a.cause is not None)
    kept = tuple(n for n in view.status.excluded_nodes if n.name != pod.node)
    if strikes < STRIKES:
        return view
    until = rfc3339_millis(view.now + view.obs.settings.exclude_seconds)
    return view.with_status(excluded_nodes=(*kept, ExcludedNode(name=pod.node, until=until))[-100:])
