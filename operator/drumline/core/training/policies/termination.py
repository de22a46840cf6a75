"""A pod of an attempt that is over and does not end never blocks the next one.

A pod is overdue when it is still there `terminationDeadlineSeconds` after the end of its grace. Then

- if its node is gone, or the user opted in (`forceDelete: Always`), it is deleted by force, which takes it out of the
  API whether its processes have ended or not. That they have is certain of neither; what they still do is fenced as
  for every pod of an attempt that is over: no name of the gang leads to it, and nothing that it reports counts;
- else its node is avoided, and an attempt that waits for that node ends: the next one takes another.

A pod that only a finalizer keeps (`Pod.forced`) can't be forced any further.
"""

from __future__ import annotations

from drumline.api.failure import FailurePolicy, ForceDelete
from drumline.api.reasons import Cause, Reason
from drumline.api.status import Avoidance
from drumline.core.gang.plan import Delete
from drumline.core.gang.types import Pod
from drumline.core.training.dependencies import dependent_indexes
from drumline.core.training.exclusions import avoid
from drumline.core.training.recovery import Ended, end_attempt
from drumline.core.training.view import View


def termination(view: View) -> View:
    """Deal with the pods that should have ended long ago."""
    view, forced = force_overdue(view)
    kept = [p for p in _ending(view) if p not in forced and not p.terminal and _left(view, p) <= 0 and p.node]
    for node in sorted({p.node for p in kept if p.node in view.obs.nodes}):
        view = _left_behind(view, node, next(p for p in kept if p.node == node))
    return view


def force_overdue(view: View) -> tuple[View, list[Pod]]:
    """The view with overdue pods deleted by force, where that may be; and these pods."""
    ending = [p for p in _ending(view) if not p.forced]
    for pod in ending:
        left = _left(view, pod)
        view = view.again_in(left) if left > 0 else view
    overdue = [p for p in ending if _left(view, p) <= 0 and _may_force(view, p)]
    for pod in overdue[:1]:
        more = f" and {len(overdue) - 1} more" if len(overdue) > 1 else ""
        where = "is gone" if pod.node not in view.obs.nodes else "is there: its processes may still run"
        text = f"pod {pod.name}{more} did not end in time; node {pod.node} {where}"
        view = view.event("Warning", Reason.FORCE_DELETED, text)
    deletes = (Delete("pods", p.namespace, p.name, p.uid, grace_seconds=0) for p in overdue)
    return view.act(*deletes), overdue


def _ending(view: View) -> list[Pod]:
    """Pods that are being deleted and belong to no attempt that runs."""
    runs = view.status.attempt if view.live else None
    return [
        p for p in view.obs.pods.values() if p.deleting and (p.member is None or p.member.attempt != runs)
    ]


def _policy(view: View) -> FailurePolicy:
    return view.obs.spec.failure_policy if view.obs.spec is not None else FailurePolicy()


def _left(view: View, pod: Pod) -> float:
    """Seconds until it is overdue."""
    return pod.deleting_until + _policy(view).termination_deadline_seconds - view.now


def _may_force(view: View, pod: Pod) -> bool:
    gone = pod.bound and pod.node not in view.obs.nodes
    return gone or _policy(view).force_delete is ForceDelete.ALWAYS


def _left_behind(view: View, node: str, pod: Pod) -> View:
    """The view in which that node is not waited for."""
    index = _waiting_index(view, node)
    known = any(n.name == node for n in view.status.excluded_nodes)
    # one that is not ready is taken by nobody as it is
    if not known and (index is not None or view.obs.nodes[node].ready):
        view = avoid(view, node, Avoidance.IF_EVER_POSSIBLE, Cause.PLACEMENT_RACE.value)
    if index is None:
        return view
    text = f"{Cause.PLACEMENT_RACE.value}: pod {pod.name} does not end, so that node {node} is not free"
    return end_attempt(
        view, Ended(Cause.PLACEMENT_RACE, index, text, lost_node=node), termination.__name__
    ).again_in(0.0)


def _waiting_index(view: View, node: str) -> int | None:
    """Of the running attempt, the first place on that node whose pod is to come and has not; none of a later helper."""
    if not view.live or view.obs.placement is None:
        return None
    current = view.current()
    others = {*current, *view.succeeded(), *dependent_indexes(view)}
    places = enumerate(view.obs.placement.nodes[: view.roster.size])  # nobody waits for a spare's
    return next((i for i, n in places if n == node and i not in others), None)
