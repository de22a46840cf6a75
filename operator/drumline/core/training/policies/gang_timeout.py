"""A gang that stops making progress towards its nodes gives all of them back.

The clock counts since the last pod of the attempt was created or bound, and only while something stands in
the way: a pod that the scheduler rejects, a pod not bound whose node is gone, or a pod that can't be created
because an older attempt's pod does not leave its node. That pod has its own time to end first, as long as its
termination grace lasts. A scheduler that is merely slow never runs the clock out. Only pods that the attempt begins with
count: helpers that come later (`dependsOn`) wait for as long as it takes, since a gang that runs, or has done its work, is
not ended for them.
A gang that began without nodes, for an autoscaler to see, has `provisioning.timeoutSeconds` instead, from when its
pods were created.
A gang of which the API server refuses a pod for good (a quota that filled up meanwhile) is not kept in part:
it goes at once. A gang that another scheduler or queue is to let in waits there as long as that takes: its clock runs
only while a part of it is bound, as may be where that scheduler turns out to know nothing of gangs; then also for pods
of which nobody says what they wait for.
"""

from __future__ import annotations

from dataclasses import replace

from drumline.api.backend import Backend
from drumline.api.reasons import Cause, ConditionType, Reason
from drumline.api.status import Avoidance
from drumline.core.gang.backends.native import GATES_ASKED
from drumline.core.gang.clock import rfc3339_millis, unix
from drumline.core.gang.types import Pod
from drumline.core.training.attempts import finished, released
from drumline.core.training.dependencies import dependent_indexes
from drumline.core.training.exclusions import avoid
from drumline.core.training.provisioning import patience
from drumline.core.training.view import View

BASE_SECONDS = 60.0
MAX_SECONDS = 3600.0


def gang_timeout(view: View) -> View:
    """Release an attempt that is stuck, avoid the nodes it was stuck on, and queue again with backoff."""
    if not view.live:
        return view
    later = dependent_indexes(view)
    current = {i: pod for i, pod in view.current().items() if i not in later}
    if view.obs.blocked:
        text = f"the API server refuses a pod of the gang: {view.obs.blocked}"
        return _requeue(view, {"": text}, Reason.CREATE_REFUSED, text)
    if view.obs.backend.foreign and not any(pod.bound for pod in current.values()):
        return view
    stuck = _stuck_nodes(view, current, later)
    if not stuck:
        return view
    latest = view.now - _seconds(view)
    over = {node: why for node, (since, why) in stuck.items() if since <= latest}
    if not over:
        return view.again_in(min(since for since, _ in stuck.values()) - latest)
    return _requeue(
        view, over, Reason.GANG_TIMEOUT, _text(view, current, view.roster.size - len(later), over)
    )


def _stuck_nodes(view: View, current: dict[int, Pod], later: frozenset[int]) -> dict[str, tuple[float, str]]:
    """Node → since when and why, for what stands in the way; "" is the node of a pod that is not pinned.

    `current` and `later` are the pods that the attempt begins with, and the indexes of those that it does not.
    """
    nodes = view.obs.placement.nodes if view.obs.placement is not None else ()
    progress, graces = _last_progress(view, current), _graces(view)
    leaving = max(graces.values(), default=0.0)
    stuck: dict[str, tuple[float, str]] = {}
    for index, pod in current.items():
        node = nodes[index] if index < len(nodes) else ""
        if pod.bound:
            continue
        if pod.rejected:
            # a pod that is pinned to no node may wait for any of those that an earlier attempt still has
            stuck[node] = progress if node else max(progress, leaving), pod.rejected
        elif node in view.obs.unhealthy:
            stuck[node] = progress, f"node {node} is gone or not ready"
    for index, node in enumerate(nodes[: view.roster.size]):
        if index not in current and index not in later and node in graces:
            why = f"a pod of an earlier attempt does not leave node {node}"
            stuck.setdefault(node, (max(progress, graces[node]), why))
    name = _left_out(current) if view.obs.backend.foreign else ""
    if name:
        stuck.setdefault("", (max(progress, leaving), f"pod {name} has no node, and nobody says why"))
    return stuck


def _left_out(current: dict[int, Pod]) -> str:
    """A pod that did not come along when another scheduler bound a part of the gang; "" = none."""
    return next((p.name for p in current.values() if not p.bound and not p.terminal), "")


def _graces(view: View) -> dict[str, float]:
    """Node → when the last pod of an earlier attempt there should have ended; 0 = not known yet."""
    graces: dict[str, float] = {}
    for pod in view.obs.pods.values():
        if _blocks(view, pod):
            graces[pod.node] = max(graces.get(pod.node, 0.0), pod.deleting_until)
    return graces


def _blocks(view: View, pod: Pod) -> bool:
    old = pod.member is not None and pod.member.attempt < view.status.attempt
    return old and not pod.terminal and bool(pod.node)


def _seconds(view: View) -> float:
    """How long something may stand in the way."""
    return patience(view) or float(view.spec.scheduling.gang_timeout_seconds)


def _last_progress(view: View, current: dict[int, Pod]) -> float:
    started = unix(view.status.attempts[-1].started_at)
    if patience(view) is not None:
        return max([started, *(p.created_at for p in current.values())])
    return max([started, *(max(p.created_at, p.bound_at) for p in current.values())])


def _text(view: View, current: dict[int, Pod], size: int, stuck: dict[str, str]) -> str:
    bound = sum(1 for p in current.values() if p.bound)
    node, why = next(iter(stuck.items()))
    if patience(view) is not None:
        return f"{bound} of {size} pods were bound within {_seconds(view):.0f} s: {why}"
    seconds = view.spec.scheduling.gang_timeout_seconds
    where = f" (node {node})" if node else ""
    text = f"{bound} of {size} pods were bound and none followed for {seconds} s{where}: {why}"
    return f"{text}; {GATES_ASKED}" if view.obs.backend.name == Backend.NATIVE else text


def _requeue(view: View, stuck: dict[str, str], reason: Reason, message: str) -> View:
    node = next(iter(stuck))
    delay = min(MAX_SECONDS, BASE_SECONDS * 2.0 ** min(view.status.requeues, 10))
    details = {"cause": Cause.GANG_TIMEOUT.value, "node": node or None, "message": message[:512]}
    status = released(finished(view.status, view.now, **details), view.now)
    view = replace(view, status=status, status_first=True).with_status(
        requeues=view.status.requeues + 1,
        queued_at=rfc3339_millis(view.now),
        next_attempt_at=rfc3339_millis(view.now + delay),
    )
    for name in sorted(filter(None, stuck)):
        view = avoid(view, name, Avoidance.IF_EVER_POSSIBLE, Cause.GANG_TIMEOUT.value)
    message = f"{message}; queued again, next try in {delay:.0f} s"
    for kind in (ConditionType.QUOTA_RESERVED, ConditionType.ADMITTED, ConditionType.PODS_READY):
        view = view.condition(kind, False, reason, message)
    view = view.clear(ConditionType.RESTARTING, reason, message)
    return view.event("Warning", reason, message)
