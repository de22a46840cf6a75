"""A group that stops making progress towards its nodes gives all of them back.

The clock counts since the last pod of the attempt was created or bound, and only while something stands in the
way: a pod that the scheduler rejects, a pod not bound whose node is gone, or a pod that can't be created because
an older attempt's pod does not leave its node. That pod has its own time to end first, as long as its termination
grace lasts. A scheduler that is merely slow never runs the clock out. The nodes that it was stuck on are avoided.

A group that another scheduler or queue is to let in waits there as long as that takes: its clock runs only while a part
of it is bound, as may be where that scheduler turns out to know nothing of gangs; then also for pods of which nobody says
what they wait for.

Groups of the profile edge are not placed by us: their pods wait for the scheduler as long as it takes.
"""

from __future__ import annotations

from drumline.api.backend import Backend
from drumline.api.inference_status import GroupPhase, GroupStatus
from drumline.api.reasons import Cause, Reason
from drumline.core.gang.backends.native import GATES_ASKED
from drumline.core.gang.clock import rfc3339_millis, unix
from drumline.core.gang.types import Pod
from drumline.core.inference.groups import count_restart, ended, every, excluding, finish, live
from drumline.core.inference.view import View, is_going

BASE_SECONDS = 60.0
MAX_SECONDS = 3600.0

Stuck = dict[str, tuple[float, str]]  # node → since when and why


def gang_timeout(view: View) -> View:
    """Release attempts that are stuck and let their groups queue again with backoff."""
    for role, group in every(view):
        if live(group) and (any(group.nodes) or _is_part_bound(view, role, group)):
            view = _judged(view, role, group)
    return view


def _is_part_bound(view: View, role: str, group: GroupStatus) -> bool:
    """Whether another backend has bound a part of the group and no more."""
    if group.backend is None:
        return False
    bound = [pod.bound for pod in view.pods(role, group).values()]
    return any(bound) and not all(bound)


def _judged(view: View, role: str, group: GroupStatus) -> View:
    pods = view.pods(role, group)
    stuck = _stuck(view, role, group, pods)
    if not stuck:
        return view
    latest = view.now - view.spec.scheduling.gang_timeout_seconds
    over = {node: why for node, (since, why) in stuck.items() if since <= latest}
    if not over:
        return view.again_in(min(since for since, _ in stuck.values()) - latest)
    return finish(view, role, group) if is_going(group) else _requeue(view, role, group, over)


def _stuck(view: View, role: str, group: GroupStatus, pods: dict[int, Pod]) -> Stuck:
    progress = max([unix(group.started_at), *(max(p.created_at, p.bound_at) for p in pods.values())])
    stuck: Stuck = {}
    for worker, pod in pods.items():
        node = group.nodes[worker] if worker < len(group.nodes) else ""
        if not pod.bound and pod.rejected:
            stuck[node] = progress, pod.rejected
        elif not pod.bound and node in view.obs.lost:
            stuck[node] = progress, f"node {node} is gone or not ready"
    graces = _graces(view, role, group)
    left_out = next((p.name for p in pods.values() if not p.bound and not p.terminal), "")
    if group.backend is not None and left_out:
        # it may wait for a node that an earlier attempt still has
        since = max([progress, *graces.values()])
        stuck = {"": (since, stuck.get("", (0.0, f"pod {left_out} has no node, and nobody says why"))[1])}
    for worker, node in enumerate(group.nodes):
        if worker not in pods and node in graces:
            why = f"a pod of an earlier attempt does not leave node {node}"
            stuck.setdefault(node, (max(progress, graces[node]), why))
    return stuck


def _graces(view: View, role: str, group: GroupStatus) -> dict[str, float]:
    """Node → when the pods of earlier attempts there should have ended; 0 = not known yet.

    That is when the last of them all should have: workers stay for a leader that is ending.
    """
    old = [
        pod
        for pod in view.pods_of_any_attempt(role, group.id)
        if pod.member is not None and pod.member.attempt < group.attempt and not pod.terminal
    ]
    until = max((pod.deleting_until for pod in old), default=0.0)
    return {pod.node: until for pod in old if pod.node}


def _requeue(view: View, role: str, group: GroupStatus, stuck: dict[str, str]) -> View:
    bound = sum(1 for p in view.pods(role, group).values() if p.bound)
    delay = min(MAX_SECONDS, BASE_SECONDS * 2.0 ** min(group.requeues, 10))
    text = _text(view, group, bound, stuck)
    waits = {
        "phase": GroupPhase.WAITING,
        "nodes": (),
        "queued_at": rfc3339_millis(view.now),
        "next_attempt_at": rfc3339_millis(view.now + delay),
        "requeues": group.requeues + 1,
        "excluded": excluding(group, stuck),
    }
    view = count_restart(view, Cause.GANG_TIMEOUT).first()
    view = view.put(role, ended(group, Cause.GANG_TIMEOUT, text[:1024], **waits)).again_in(delay)
    text = f"group {role}/{group.id}: {text}; queued again, next try in {delay:.0f} s"
    return view.event("Warning", Reason.GANG_TIMEOUT, text)


def _text(view: View, group: GroupStatus, bound: int, stuck: dict[str, str]) -> str:
    node, why = next(iter(stuck.items()))
    seconds = view.spec.scheduling.gang_timeout_seconds
    where = f" (node {node})" if node else ""
    text = f"{bound} of {len(group.nodes)} pods were bound and none followed for {seconds} s{where}: {why}"
    return f"{text}; {GATES_ASKED}" if group.backend == Backend.NATIVE else text
