"""A group comes into service as one, when all of its pods are able, and leaves as one.

The leader's readiness gate is opened when the leader's containers are ready and every worker is. The group counts as
Serving once the leader's pod is Ready with its gate open: then Services have it, and an old group may go for it. When
a worker is not ready any more the gate is closed. A leader that is not ready needs no closing: its pod is out of
every Service by itself.
"""

from __future__ import annotations

from drumline.api.inference_status import GroupPhase, GroupStatus
from drumline.api.reasons import Reason
from drumline.core.gang.clock import rfc3339_millis
from drumline.core.gang.types import Pod
from drumline.core.inference.groups import every, gate, live
from drumline.core.inference.view import View, is_going

LEADER = 0
_EARLY = frozenset({"ContainerCreating", "PodInitializing"})


def in_service(view: View) -> View:
    """Open and close gates, and say which groups serve."""
    for role, group in every(view):
        if live(group) and not is_going(group):
            view = _judged(view, role, group, view.pods(role, group))
    return view


def _judged(view: View, role: str, group: GroupStatus, pods: dict[int, Pod]) -> View:
    leader = pods.get(LEADER)
    workers_ready = all(_up(pods.get(w)) for w in range(1, len(group.nodes)))
    if leader is None or leader.deleting or leader.terminal:
        return _not_serving(view, role, group, pods)
    if not workers_ready and leader.in_service:
        text = "a worker of the group is not ready"
        return _not_serving(view.act(gate(leader, False, view.now, text)), role, group, pods)
    if not (workers_ready and leader.able):
        return _not_serving(view, role, group, pods)
    if not leader.in_service:
        text = "all pods of the group are ready"
        return _not_serving(view.act(gate(leader, True, view.now, text)), role, group, pods)
    return _serving(view, role, group) if leader.ready else _not_serving(view, role, group, pods)


def _up(pod: Pod | None) -> bool:
    return pod is not None and pod.ready and not pod.deleting and not pod.terminal


def _serving(view: View, role: str, group: GroupStatus) -> View:
    if group.phase is GroupPhase.SERVING and group.ready_at is not None:
        return view
    first = group.ready_at is None
    now_serving = {
        "phase": GroupPhase.SERVING,
        "ready_at": group.ready_at or rfc3339_millis(view.now),
        "requeues": 0,
        "message": None,
    }
    view = view.put(role, group.model_copy(update=now_serving))
    if not first:
        return view
    text = f"group {role}/{group.id}: attempt {group.attempt} is in service"
    return view.event("Normal", Reason.GROUP_IN_SERVICE, text)


def _not_serving(view: View, role: str, group: GroupStatus, pods: dict[int, Pod]) -> View:
    changed = group.model_copy(
        update={"phase": GroupPhase.STARTING, "message": _blocker(pods) or group.message}
    )
    return view if changed == group else view.put(role, changed)


def _blocker(pods: dict[int, Pod]) -> str:
    """The weightiest thing a pod waits for: an image, a configuration, a place."""
    for pod in pods.values():
        if pod.waiting and pod.waiting not in _EARLY:
            return f"pod {pod.name}: {pod.waiting}: {pod.waiting_message}"[:1024]
    for pod in pods.values():
        if pod.rejected and not pod.bound:
            return f"pod {pod.name} is not bound: {pod.rejected}"[:1024]
    return ""
