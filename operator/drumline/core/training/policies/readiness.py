"""Count the workers of the running attempt and say when all of the gang is ready, or what it waits for.

A helper whose `dependsOn` does not hold yet is not waited for: it may be due only when the workers are done. One that
came later and finds no node, or is refused, is said to be pending, and the gang has come up without it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from drumline.api.orders import ProcessState
from drumline.api.reasons import ConditionType, Reason
from drumline.api.status import AttemptStatus, Workers
from drumline.core.gang.clock import rfc3339_millis
from drumline.core.gang.types import Pod, PodPhase
from drumline.core.training import conditions
from drumline.core.training.backing import let_in
from drumline.core.training.backing import said as backend_says
from drumline.core.training.dependencies import dependent_indexes, not_due
from drumline.core.training.epochs import not_in, restarting
from drumline.core.training.view import View

_READY_ONCE: Final = (Reason.ALL_PODS_READY, Reason.PODS_NOT_READY, Reason.HELPER_PENDING)


def readiness(view: View) -> View:
    """Keep `status.workers` and `PodsReady` true to what is seen."""
    if not view.live:
        return replace(view, status=view.status.model_copy(update={"workers": _workers(view, {})}))
    current = view.current()
    view = let_in(_runs_again(view).with_status(workers=_workers(view, current)), current)
    waiting = not_due(view, current)
    due = [i for i in range(view.roster.size) if i not in waiting]
    absent = [i for i in due if not _is_up(view, current.get(i), i)]
    if not absent:
        return _ready(view, len(due))
    text, said = f"{len(due) - len(absent)} of {len(due)} pods are ready", backend_says(view)
    if helper := _pending_helper(view, current, absent):
        return _without_helper(view, f"{text}; {helper}")
    if said is not None and not any(pod.bound for pod in current.values()):
        return view.condition(ConditionType.PODS_READY, False, said.reason, f"{text}; {said.message}")
    return view.condition(ConditionType.PODS_READY, False, _shortfall(view), f"{text}{_blocker(current)}")


def _runs_again(view: View) -> View:
    """An epoch that began in place is whole when every launcher says that its process runs."""
    if not restarting(view) or not_in(view, (ProcessState.RUNNING,)):
        return view
    text = f"all processes of {view.status.attempts[-1].label} run"
    view = view.condition(ConditionType.RESTARTING, False, Reason.RECOVERED, text)
    view = view.with_status(attempts=_ready_attempts(view), next_attempt_at=None)
    return view.event("Normal", Reason.RECOVERED, text)


def _shortfall(view: View) -> Reason:
    """A gang that was ready in this attempt is not starting again: a pod that ends is unready first."""
    known = conditions.find(view.status, ConditionType.PODS_READY)
    was_ready = known is not None and known.reason in _READY_ONCE
    return Reason.PODS_NOT_READY if was_ready else Reason.PODS_STARTING


def _pending_helper(view: View, current: dict[int, Pod], absent: list[int]) -> str:
    """What helpers that come later wait for, if all other pods are up; "" = nothing that may take long."""
    if not dependent_indexes(view).issuperset(absent):
        return ""
    refused = view.obs.late_refused[0]
    for index in absent:
        pod = current.get(index)
        if pod is None and refused:
            return f"the gang goes on without a helper that the API server refuses: {refused}"
        if pod is not None and pod.rejected and not pod.bound:
            return f"the gang goes on without helper pod {pod.name}, which is not bound: {pod.rejected}"
    return ""


def _without_helper(view: View, text: str) -> View:
    known = conditions.find(view.status, ConditionType.PODS_READY)
    if known is None or known.reason != Reason.HELPER_PENDING:
        view = view.event("Warning", Reason.HELPER_PENDING, text)
    return _whole(view.condition(ConditionType.PODS_READY, False, Reason.HELPER_PENDING, text), text)


def _workers(view: View, current: dict[int, Pod]) -> Workers:
    count = view.roster.workers
    workers = [p for i, p in current.items() if i < count]
    return Workers(
        desired=count,
        ready=sum(1 for p in workers if p.ready and not p.terminal),
        succeeded=sum(1 for i in view.succeeded() if i < count),
        failed=sum(1 for p in workers if p.phase is PodPhase.FAILED),
    )


def _is_up(view: View, pod: Pod | None, index: int) -> bool:
    return index in view.succeeded() or (pod is not None and (pod.ready or pod.phase is PodPhase.SUCCEEDED))


def _blocker(current: dict[int, Pod]) -> str:
    """The weightiest thing a pod waits for: an image, a configuration, a place."""
    for pod in current.values():
        if pod.waiting and pod.waiting not in ("ContainerCreating", "PodInitializing"):
            return f"; pod {pod.name}: {pod.waiting}: {pod.waiting_message}"
    for pod in current.values():
        if pod.rejected and not pod.bound:
            return f"; pod {pod.name} is not bound: {pod.rejected}"
    return ""


def _ready(view: View, pods: int) -> View:
    if conditions.is_true(view.status, ConditionType.PODS_READY):
        return view
    text = f"{pods} of {pods} pods are ready"
    view = _whole(view.condition(ConditionType.PODS_READY, True, Reason.ALL_PODS_READY, text), text)
    if restarting(view):
        return view
    return view.event("Normal", Reason.ALL_PODS_READY, f"attempt {view.status.attempt}: {text}")


def _whole(view: View, text: str) -> View:
    """The view of a gang that has come up, unless its processes are still to start again in place."""
    if restarting(view):
        return view
    if conditions.is_true(view.status, ConditionType.RESTARTING):
        view = view.condition(ConditionType.RESTARTING, False, Reason.RECOVERED, text)
    return view.with_status(requeues=0, attempts=_ready_attempts(view))


def _ready_attempts(view: View) -> tuple[AttemptStatus, ...]:
    """The attempts, with the moment on record at which the running one was first whole."""
    *before, last = view.status.attempts
    if last.ready_at is None:
        last = last.model_copy(update={"ready_at": rfc3339_millis(view.now)})
    return (*before, last)
