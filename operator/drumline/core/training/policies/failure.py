"""One failed pod ends the attempt of the whole gang: one cause, one count, one delay.

A pod of the running attempt has failed when it is Failed, when somebody else is deleting it before it
succeeded, or when it is gone without having been seen to succeed (only if it is on record that its role was
created: before that an absent pod is one that is still to be created). The cause is that of the first failed
rank; pods that fell because of it are not counted. What follows is `recovery`'s to say.

A helper's failure that a rule of the user's ignores is recorded as its end, like a success, and changes nothing.
"""

from __future__ import annotations

from drumline.api.failure import FailureAction
from drumline.api.meta import ROLE_WORKER
from drumline.api.reasons import Cause, ConditionType, Reason
from drumline.core.gang.failures import cause_of, describe, first_failure
from drumline.core.gang.types import Pod, PodPhase
from drumline.core.training import bitmap, conditions
from drumline.core.training.recovery import Ended, end_attempt, rule_for
from drumline.core.training.view import View
from drumline.core.training.whereabouts import nodes_of


def failure(view: View) -> View:
    """End a failed attempt: back off and start the next, or fail the job when no other may or can be."""
    if not view.live:
        return view
    current = view.current()
    view = _ignoring(view, _broken(view, current))
    broken = _broken(view, current)
    if broken:
        pod = first_failure(list(broken.values()), view.obs.nodes)
        index = next(i for i, p in broken.items() if p is pod)
        node = view.obs.nodes.get(pod.node)
        ended = Ended(cause_of(pod, node), index, describe(pod, node), pod)
        return end_attempt(view, ended, failure.__name__)
    vanished = _vanished(view, current)
    return end_attempt(view, _unseen(view, vanished), failure.__name__) if vanished is not None else view


def has_failed(pod: Pod) -> bool:
    """Whether a pod of the running attempt, which nobody of us deletes, has failed."""
    return pod.phase is PodPhase.FAILED or (pod.deleting and pod.phase is not PodPhase.SUCCEEDED)


def _broken(view: View, current: dict[int, Pod]) -> dict[int, Pod]:
    """The pods that failed, but for those whose end is on record."""
    succeeded = view.succeeded()
    return {i: p for i, p in current.items() if has_failed(p) and i not in succeeded}


def _ignoring(view: View, broken: dict[int, Pod]) -> View:
    """The view with failures that rules ignore on record as ends."""
    ignored = {i: p for i, p in broken.items() if i >= view.roster.workers and _is_ignored(view, i, p)}
    if not ignored:
        return view
    for pod in ignored.values():
        text = f"{describe(pod, view.obs.nodes.get(pod.node))}; a rule of spec.failurePolicy ignores it"
        view = view.event("Normal", Reason.FAILURE_IGNORED, text)
    view = view.with_status(succeeded=bitmap.encode(view.succeeded() | ignored.keys()))
    return view.again_in(0.0)


def _is_ignored(view: View, index: int, pod: Pod) -> bool:
    rule = rule_for(view, cause_of(pod, view.obs.nodes.get(pod.node)), index, pod)
    return rule is not None and rule.action is FailureAction.IGNORE


def _unseen(view: View, index: int) -> Ended:
    """A pod that is gone: with its node, if that is gone as well; else nobody knows."""
    name = view.roster.name_of(index, view.status.attempt)
    nodes = nodes_of(view.obs)
    node = nodes[index] if index < len(nodes) else ""
    if node and node in view.obs.unhealthy:
        text = f"pod {name} is gone, and node {node} is gone, not ready or cordoned"
        return Ended(Cause.NODE_LOST, index, f"{Cause.NODE_LOST.value}: {text}", lost_node=node)
    return Ended(Cause.UNKNOWN, index, f"pod {name} is gone and was not seen to succeed", lost_node=node)


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
