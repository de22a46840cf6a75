"""A group comes into service as one, when all of its pods are able, and leaves as one.

The leader's readiness gate is opened when the leader's containers are ready and every worker is. The group counts as
Serving once the leader's pod is Ready with its gate open: then Services have it, and an old group may go for it. When
a worker is not ready any more the gate is closed, and since when the group does not answer is on record: the planner
gives it `BLIP_SECONDS` to come back before it counts as out. A leader that is not ready needs no closing: its pod is out of
every Service by itself.
"""

from __future__ import annotations

from drumline.api.inference_status import GroupPhase, GroupStatus
from drumline.api.reasons import Reason
from drumline.core.gang.clock import rfc3339_millis
from drumline.core.gang.plan import Patch
from drumline.core.gang.types import Pod
from drumline.core.inference.backing import said
from drumline.core.inference.groups import blip_left, every, gate, live
from drumline.core.inference.view import View, is_going

LEADER = 0
_EARLY = frozenset({"ContainerCreating", "PodInitializing"})


def in_service(view: View) -> View:
    """Open and close gates, all at once, and say which groups serve."""
    gates: list[Patch] = []
    for role, group in every(view):
        if live(group) and not is_going(group):
            pods = view.pods(role, group)
            moved = _moved(group, pods, view.now)
            gates += [moved] if moved is not None else []
            serves = moved is None and _answers(group, pods)
            view = _serving(view, role, group) if serves else _not_serving(view, role, group, pods)
    return view.act(*gates)


def _moved(group: GroupStatus, pods: dict[int, Pod], now: float) -> Patch | None:
    """The leader's gate where it is to be opened or closed."""
    leader = pods.get(LEADER)
    if leader is None or leader.deleting or leader.terminal:
        return None
    workers = _workers_ready(group, pods)
    if not workers and leader.in_service:
        return gate(leader, False, now, "a worker of the group is not ready")
    if workers and leader.able and not leader.in_service:
        return gate(leader, True, now, "all pods of the group are ready")
    return None


def _answers(group: GroupStatus, pods: dict[int, Pod]) -> bool:
    leader = pods.get(LEADER)
    if leader is None or leader.deleting or leader.terminal:
        return False
    return bool(_workers_ready(group, pods) and leader.able and leader.in_service and leader.ready)


def _workers_ready(group: GroupStatus, pods: dict[int, Pod]) -> bool:
    return all(_up(pods.get(w)) for w in range(1, len(group.nodes)))


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
        "unready_since": None,
        "message": None,
    }
    view = view.put(role, group.model_copy(update=now_serving))
    if not first:
        return view
    text = f"group {role}/{group.id}: attempt {group.attempt} is in service"
    return view.event("Normal", Reason.GROUP_IN_SERVICE, text)


def _not_serving(view: View, role: str, group: GroupStatus, pods: dict[int, Pod]) -> View:
    changes: dict[str, object] = {
        "phase": GroupPhase.STARTING,
        "message": said(view, role, group)[:1024] or _blocker(pods) or group.message,
    }
    if group.ready_at is not None and group.unready_since is None:
        changes["unready_since"] = rfc3339_millis(view.now)
    changed = group.model_copy(update=changes)
    view = view if changed == group else view.put(role, changed)
    return view.again_in(blip_left(changed, view.now) or None)


def _blocker(pods: dict[int, Pod]) -> str:
    """The weightiest thing a pod waits for: an image, a configuration, a place."""
    for pod in pods.values():
        if pod.waiting and pod.waiting not in _EARLY:
            return f"pod {pod.name}: {pod.waiting}: {pod.waiting_message}"[:1024]
    for pod in pods.values():
        if pod.rejected and not pod.bound:
            return f"pod {pod.name} is not bound: {pod.rejected}"[:1024]
    return ""
