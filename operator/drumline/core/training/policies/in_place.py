"""A process that failed in a pod that lives on: what its launcher says of it is taken as a pod's failure is.

Failed has a process of the running epoch that ended with an error, and one whose container was started again in its
pod after the epoch was whole, since its launcher died with it: another launcher speaks then, later than that. By the
kubelet's clock it is only known to a leader that was not there. The first failure by time, then by rank, is the
cause; the others fell because of it. What follows is `recovery`'s to say: another epoch, another attempt, or the end.

A gang of which a launcher does not come to the barrier in time, or does not start its process, is recreated: pods
that don't answer are no better than pods that failed. That is no failure of its own: the cause stays that of the
epoch before, unless it says something of another node than the late launcher's, it is not counted again, and there is no
further delay.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import floor
from typing import Final

from drumline.api.failure import FailureAction
from drumline.api.goodput import Source
from drumline.api.orders import ProcessState
from drumline.api.reasons import Cause, ConditionType, Reason
from drumline.api.status import AttemptStatus
from drumline.core.gang.clock import SKEW_SECONDS, rfc3339_millis, unix
from drumline.core.gang.crew import Process
from drumline.core.gang.detection import Moment
from drumline.core.gang.failures import cause_of, describe
from drumline.core.gang.types import Pod, Termination
from drumline.core.training.attempts import backoff_left, finished
from drumline.core.training.epochs import AT_BARRIER, BARRIER_SECONDS, grace_seconds, not_in, restarting
from drumline.core.training.exclusions import NODE_CAUSES
from drumline.core.training.recovery import MAX_TEXT, Ended, end_attempt
from drumline.core.training.view import View

MILLISECOND: Final = 0.001  # to which the status has times


def in_place(view: View) -> View:
    """End an epoch that failed, or the attempt if its launchers do not come along."""
    if not view.live:
        return view
    first = min(_failed(view), key=lambda f: f[:2], default=None)
    if first is None:
        return _late(view)
    _, index, pod = first
    node = view.obs.nodes.get(pod.node)
    ended = Ended(cause_of(pod, node), index, describe(pod, node), pod, happened=_happened(view, index, pod))
    return end_attempt(view, ended, in_place.__name__)


def _happened(view: View, index: int, pod: Pod) -> Moment | None:
    """When a launcher said that its process had ended; a container that came back says so itself."""
    process = view.obs.crew[index]
    return None if pod.termination is pod.restarted else Moment(process.at, Source.REPORTED)


def _failed(view: View) -> Iterator[tuple[float, int, Pod]]:
    """When, index, and the pod as if its container had ended as the process did."""
    current, done = view.current(), view.succeeded()
    for index, pod in current.items():
        process = view.obs.crew.get(index)
        if index >= view.roster.workers or index in done:
            continue
        if process is not None and _has_failed(process, view.status.epoch):
            yield process.at, index, _as_ended(view, pod, process)
        elif process is not None and pod.restarted is not None and _came_back(view, process, pod.restarted):
            yield process.at, index, replace(pod, termination=pod.restarted)


def _has_failed(process: Process, epoch: int) -> bool:
    return process.epoch == epoch and process.state is ProcessState.ENDED and process.exit_code != 0


def _came_back(view: View, process: Process, end: Termination) -> bool:
    """Whether a container that was restarted, at some time, was after the epoch was whole."""
    whole_at = unix(view.status.attempts[-1].ready_at)
    if not whole_at or process.at <= whole_at + MILLISECOND:
        return False
    return view.obs.crew_since < whole_at or end.finished_at >= floor(whole_at)


def _as_ended(view: View, pod: Pod, process: Process) -> Pod:
    container = view.spec.template["spec"]["containers"][0]["name"]
    end = Termination(container, process.exit_code, process.reason or "Error", process.text, process.at)
    return replace(pod, termination=end)


def _late(view: View) -> View:
    """Recreate the gang when a launcher is too late."""
    if not restarting(view):
        return view
    done = min((i for i in view.succeeded() if i < view.roster.workers), default=None)
    if done is not None:
        return _recreated(view, f"rank {done} has succeeded meanwhile")
    limit = grace_seconds(view.spec) + BARRIER_SECONDS
    since = _latest(view, unix(view.status.attempts[-1].started_at), view.obs.crew_since)
    missing, what = not_in(view, AT_BARRIER), "did not hold"
    if not missing:
        missing, what = not_in(view, (ProcessState.RUNNING,)), "did not start its process"
        came = (p.at for p in view.obs.crew.values() if p.state is ProcessState.HELD)
        wait = backoff_left(view.status, view.now)
        due = view.now + wait if wait > 0 else _latest(view, unix(view.status.next_attempt_at))
        since = max(since, due, _latest(view, *came))
    left = since + limit - view.now
    if not missing or left > 0:
        return view.again_in(left) if missing else view
    return _recreated(view, f"the launcher of rank {missing[0]} {what} within {limit:.0f} s", missing[0])


def _latest(view: View, *times: float) -> float:
    """The latest of these times, but for those of a clock that has been put back since; 0 for none."""
    return max((t for t in times if t - view.now <= SKEW_SECONDS), default=0.0)


def _of_another_node(before: AttemptStatus, late: Pod | None) -> bool:
    """Whether what ended the epoch before speaks of a node that is not the late launcher's."""
    return before.cause in NODE_CAUSES and late is not None and late.node != before.node


def _recreated(view: View, why: str, late: int | None = None) -> View:
    """New pods for the gang. `late`: the rank that was."""
    *_, before, last = view.status.attempts
    pod = view.current().get(late) if late is not None else None
    message = f"{why}; attempt {view.status.attempt + 1} starts with new pods"
    status = finished(
        view.status,
        view.now,
        cause=Cause.UNKNOWN.value if _of_another_node(before, pod) else before.cause,
        pod=view.roster.name_of(late, view.status.attempt) if late is not None else None,
        rank=late,
        node=(pod.node or None) if pod is not None else None,
        message=f"{last.label}: {why}"[:MAX_TEXT],
        action=FailureAction.RESTART_GANG.value,
    )
    at = view.now + max(0.0, backoff_left(view.status, view.now))
    view = replace(view, status=status, status_first=True).with_status(next_attempt_at=rfc3339_millis(at))
    view = view.condition(ConditionType.RESTARTING, True, Reason.RESTARTING, message)
    view = view.condition(ConditionType.PODS_READY, False, Reason.RESTARTING, message)
    return view.event("Warning", Reason.RESTARTING, message)
