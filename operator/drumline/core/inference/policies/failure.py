"""One failed pod ends the attempt of its whole group: one cause, one count, one delay. The other groups go on.

A pod of the running attempt has failed when it ended, however well (a server has no end), when somebody else is
deleting it, or when it is gone after all pods of the attempt had been created. The cause is that of the pod that
failed first.

Budget. `restarts` of a group counts failures that are no fault of the infrastructure. A group that was in service
for `windowSeconds` when it fails begins with a fresh budget. With more than `maxRestarts` the group is Failed: it
gives its nodes back and begins again when the spec changes, or after `windowSeconds`.

Delay. `initial · 2^(restarts-1)` seconds, at most `max`. The nodes are kept meanwhile. A node that failed the group
twice running, or whose devices are at fault, is avoided from then on.
"""

from __future__ import annotations

from dataclasses import dataclass

from drumline.api.inference_status import GroupPhase, GroupStatus
from drumline.api.reasons import Cause, Reason
from drumline.api.training import Backoff
from drumline.core.gang.clock import rfc3339_millis, unix
from drumline.core.gang.failures import INFRASTRUCTURE, cause_of, describe, first_failure
from drumline.core.gang.types import Pod, PodPhase
from drumline.core.inference import names
from drumline.core.inference.groups import count_restart, ended, every, excluding, finish, live
from drumline.core.inference.view import View, is_going

MAX_DOUBLINGS = 20  # 2^20 s are more than any maxSeconds
LEADER = 0


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt ended."""

    cause: Cause
    text: str
    node: str = ""
    reason: Reason = Reason.GROUP_RESTARTING
    keeps_nodes: bool = True


def failure(view: View) -> View:
    """End the attempts that failed, and let groups whose budget was spent begin again when their time has come."""
    for role, group in every(view):
        if live(group):
            found = _failure(view, role, group)
            view = _end(view, role, group, found) if found is not None else view
        elif group.phase is GroupPhase.FAILED:
            view = _begin_again(view, role, group)
    return view


def has_failed(pod: Pod) -> bool:
    """Whether a pod of the running attempt, which nobody of us deletes, has failed."""
    return pod.terminal or pod.deleting


def _failure(view: View, role: str, group: GroupStatus) -> Failure | None:
    pods = view.pods(role, group)
    broken = [p for p in pods.values() if has_failed(p)]
    if broken:
        return _of_pod(first_failure(broken))
    refused = view.obs.blocked.get(view.uid_of(role, group.id))
    if refused:
        text = f"the API server refuses a part of the group: {refused}"
        return Failure(Cause.CONFIG_ERROR, text, "", Reason.CREATE_REFUSED, keeps_nodes=False)
    missing = [w for w in range(len(group.nodes)) if w not in pods]
    taken = _taken(view, role, group, missing) if view.obs.foreign else ""
    if taken:
        text = f"{taken} is there already and does not belong to this service"
        return Failure(Cause.CONFIG_ERROR, text, "", Reason.NAME_CONFLICT)
    headless = LEADER in missing and bool(pods) and _leader_was_there(view, role, group)
    if missing and (group.created or headless):
        text = f"pod of worker {missing[0]} is gone, and nobody saw how"
        return Failure(Cause.UNKNOWN, text, group.nodes[missing[0]])
    return None


def _taken(view: View, role: str, group: GroupStatus, missing: list[int]) -> str:
    """A name of a pod to be created that is somebody else's."""
    service = view.obs.service.name
    wanted = (f"pods/{names.pod(service, role, group.attempt, group.id, w)}" for w in missing)
    return next((name for name in wanted if name in view.obs.foreign), "")


def _of_pod(pod: Pod) -> Failure:
    if pod.phase is PodPhase.SUCCEEDED and not pod.deleting:
        text = f"pod {pod.name} ended with code 0; a server must go on"
        return Failure(Cause.APPLICATION_EXIT, text, pod.node)
    return Failure(cause_of(pod), describe(pod), pod.node)


def _leader_was_there(view: View, role: str, group: GroupStatus) -> bool:
    """With start policy LeaderFirst a worker is the proof."""
    found = view.role_spec_of(role, group)
    return found is not None and found.start_policy.value == "LeaderFirst"


def _end(view: View, role: str, group: GroupStatus, found: Failure) -> View:
    if is_going(group):
        return finish(view, role, group)
    policy = view.spec.failure_policy
    fresh = group.ready_at is not None and view.now - unix(group.ready_at) >= policy.window_seconds
    counted = (0 if fresh else group.restarts) + (0 if found.cause in INFRASTRUCTURE else 1)
    avoided = () if fresh else group.excluded
    over = ended(group, found.cause, found.text[:1024], restarts=counted, failed_node=found.node or None)
    over = over.model_copy(
        update={"excluded": _excluded(group.model_copy(update={"excluded": avoided}), found)}
    )
    view = count_restart(view, found.cause).first()
    if counted > policy.max_restarts:
        return _give_up(view, role, over)
    delay = restart_delay(counted, policy.backoff)
    over = over.model_copy(
        update={
            "phase": GroupPhase.BACKOFF,
            "nodes": over.nodes if found.keeps_nodes and group.backend is None else (),
            "next_attempt_at": rfc3339_millis(view.now + delay),
        }
    )
    text = f"group {role}/{group.id}: {found.text}; it starts again in {delay:.0f} s"
    return view.put(role, over).event("Warning", found.reason, text).again_in(delay)


def _give_up(view: View, role: str, group: GroupStatus) -> View:
    policy = view.spec.failure_policy
    text = f"{group.message}; {policy.max_restarts} restarts are allowed by spec.failurePolicy.maxRestarts"
    later = rfc3339_millis(view.now + policy.window_seconds)
    gone = {"phase": GroupPhase.FAILED, "nodes": (), "message": text[:1024], "next_attempt_at": later}
    view = view.put(role, group.model_copy(update=gone)).again_in(policy.window_seconds)
    return view.event("Warning", Reason.MAX_RESTARTS, f"group {role}/{group.id}: {text}")


def _excluded(group: GroupStatus, found: Failure) -> tuple[str, ...]:
    again = bool(found.node) and found.node == group.failed_node
    return excluding(group, [found.node]) if again or found.cause is Cause.DEVICE_FAULT else group.excluded


def restart_delay(restarts: int, backoff: Backoff) -> float:
    """Seconds before the attempt that follows the restarts-th counted failure."""
    doublings = min(MAX_DOUBLINGS, max(0, restarts - 1))
    return float(min(backoff.max_seconds, backoff.initial_seconds * 2**doublings))


def _begin_again(view: View, role: str, group: GroupStatus) -> View:
    """A group that had failed for good waits for a place again, with a fresh budget."""
    left = unix(group.next_attempt_at) - view.now
    changed = view.obs.status.observed_generation != view.obs.service.generation
    if is_going(group) or (left > 0 and not changed):
        return view if is_going(group) else view.again_in(left)
    fresh = {"phase": GroupPhase.WAITING, "restarts": 0, "next_attempt_at": None, "excluded": ()}
    return view.put(role, group.model_copy(update=fresh))
