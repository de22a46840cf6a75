"""What follows when an attempt fails: the action, its budget, and the delay.

1. The first of the user's rules that holds gives the action, and may name the cause.
2. Without one, a failure that no restart cures ends the job at once, with advice (`hopeless`).
3. The restart is counted under its cause; one too many ends the job (`budgets`).
4. Else the cause's own action: a node whose device is at fault is replaced, a gang that was preempted asks
   for other nodes, every other restarts on the nodes it has, in place where the strategy says so for such a cause.
5. Where an autoscaler has revoked the capacity of the gang's nodes, no restart waits for them: the gang gives all of them
   back, avoids them, and asks for others.
6. A restart in place begins another epoch of the same attempt. Where it can't be, the gang restarts with new pods,
   and the attempt's message says why.

The cause is that of the first failed rank; pods that fell because of it are not counted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from drumline.api.failure import FailureAction, FailureRule, RestartStrategy
from drumline.api.meta import ROLE_WORKER
from drumline.api.reasons import Cause, ConditionType, Reason
from drumline.api.status import Avoidance, DetectionTime
from drumline.core.gang.clock import rfc3339_millis, unix
from drumline.core.gang.detection import Moment, detection, failed_at
from drumline.core.gang.failure_table import SANDBOX_WAITS, VOLUME_WAITS
from drumline.core.gang.types import Pod
from drumline.core.training.attempts import begun_in_place, fail, finished, released, restart_delay
from drumline.core.training.budgets import count_restart, overspent
from drumline.core.training.epochs import CURABLE, refusal
from drumline.core.training.exclusions import MAX_EXCLUDED, after_failure, avoid, slow_nodes
from drumline.core.training.failure_rules import Facts, matching_rule
from drumline.core.training.hopeless import hopeless, others_have_it
from drumline.core.training.provisioned import CAPACITY_REVOKED, revoked
from drumline.core.training.spares import make_up
from drumline.core.training.view import View
from drumline.core.training.whereabouts import nodes_of

MAX_TEXT: Final = 512  # characters of a message that go into the status
_ACTIONS: Final = {
    Cause.DEVICE_FAULT: FailureAction.REPLACE_NODE,
    Cause.PREEMPTED: FailureAction.REQUEUE,
}


@dataclass(frozen=True, slots=True)
class Ended:
    """How the running attempt failed."""

    cause: Cause
    index: int  # of the pod that failed first
    text: str
    pod: Pod | None = None  # None: gone, unseen
    lost_node: str = ""  # where a pod that is gone was; "" = not known
    last_lines: str = ""  # where the pod has not said any
    nobody: bool = False  # no pod failed before the others
    leaves: bool = False  # its node is about to go: nothing has failed yet
    happened: Moment | None = None  # None: as the pod or its node tells

    @property
    def node(self) -> str:
        """Where the pod is or was; "" = not known."""
        return self.pod.node if self.pod is not None else self.lost_node


def rule_for(view: View, cause: Cause, index: int, pod: Pod | None) -> FailureRule | None:
    """The user's rule for the failure of one pod."""
    rules = view.spec.failure_policy.rules
    if not rules:
        return None
    node = view.obs.nodes.get(pod.node) if pod is not None else None
    return matching_rule(rules, Facts(cause, pod, node, _role(view, index)))


def end_attempt(view: View, ended: Ended, policy: str) -> View:
    """End the running attempt: fail the job, or put its next attempt on its way. `policy`: who decides."""
    rule = rule_for(view, ended.cause, ended.index, ended.pod)
    cause = rule.cause or ended.cause if rule is not None else ended.cause
    lost = hopeless(view, ended.index, cause, ended.pod) if rule is None else None
    text = f"{ended.text}; rule {rule.name}" if rule is not None else ended.text
    action, why = _in_place_or_not(
        view, ended, cause, _action(view, rule, cause, ended), by_rule=rule is not None
    )
    text = f"{text}; not in place: {why}" if why else text
    view = recorded(view, replace(ended, cause=cause, text=text), FailureAction.FAIL if lost else action)
    if rule is not None and action is FailureAction.FAIL:
        text = f"{text} of spec.failurePolicy.rules ends the job"
        return fail(view, Reason.FAILED_BY_RULE, text, policy)
    if lost is not None:
        return fail(view, lost.reason, f"{text}. {lost.advice}", policy)
    over = overspent(view.status, cause, view.spec.failure_policy, view.now)
    if over is not None:
        return fail(_with_action(view, FailureAction.FAIL), over[0], f"{text}; {over[1]}", policy)
    if action is FailureAction.RESTART_IN_PLACE:
        return _another_epoch(view, text)
    view = _exclude(view, ended, cause, action, by_rule=rule is not None)
    if revoked(view.status, view.obs.provisioner) is not None:
        action = FailureAction.REQUEUE
        view = _with_action(_avoid_all(view), action)
    return _again(view, ended, text, action)


def _action(view: View, rule: FailureRule | None, cause: Cause, ended: Ended) -> FailureAction:
    """What is done if no budget is overspent."""
    if rule is not None and rule.action is not FailureAction.IGNORE:
        return rule.action
    if ended.leaves:
        return FailureAction.REPLACE_NODE
    pod = ended.pod
    if pod is not None and pod.waiting in SANDBOX_WAITS:
        return FailureAction.REPLACE_NODE
    of_place = cause is Cause.IMAGE_ERROR or (pod is not None and pod.waiting in VOLUME_WAITS)
    if of_place and pod is not None and others_have_it(view, ended.index, pod):
        return FailureAction.REPLACE_NODE
    return _ACTIONS.get(cause, FailureAction.RESTART_GANG)


def _in_place_or_not(
    view: View, ended: Ended, cause: Cause, action: FailureAction, *, by_rule: bool
) -> tuple[FailureAction, str]:
    """The action; in place where a rule or the strategy says so and it can be, and if it can't be why."""
    usual = action is FailureAction.RESTART_GANG and not by_rule
    strategy = view.spec.failure_policy.restart_strategy
    if usual and strategy is RestartStrategy.IN_PLACE and cause in CURABLE:
        action = FailureAction.RESTART_IN_PLACE
    if action is not FailureAction.RESTART_IN_PLACE:
        return action, ""
    why = refusal(view, ended.index)
    return (FailureAction.RESTART_GANG, why) if why else (action, "")


def _role(view: View, index: int) -> str:
    if index < view.roster.workers:
        return ROLE_WORKER
    return next(n for n, _ in view.roster.helpers if index in view.roster.role_range(n))


def recorded(view: View, ended: Ended, action: FailureAction) -> View:
    """The view with the attempt's end in its status, and counted."""
    pod = ended.pod
    end = pod.termination if pod is not None else None
    status = finished(
        view.status,
        view.now,
        cause=ended.cause.value,
        pod=pod.name if pod is not None else _name(view, ended),
        rank=ended.index if ended.index < view.roster.workers and not ended.nobody else None,
        node=ended.node or None,
        exit_code=end.exit_code if end is not None else None,
        message=ended.text[:MAX_TEXT],
        last_lines=(end.message.strip() if end is not None else "") or ended.last_lines or None,
        action=action.value,
        detection=_detection(view, ended),
        slow_nodes=slow_nodes(view),
    )
    counted = count_restart(status, ended.cause, view.spec.failure_policy, view.now)
    return replace(view, status=counted, status_first=True)


def _detection(view: View, ended: Ended) -> DetectionTime | None:
    """How long the failure was not acted upon; None where there was none yet, or nothing tells when it was."""
    node = view.obs.nodes.get(ended.node)
    happened = ended.happened or failed_at(ended.pod, node, ended.cause)
    if happened is None or ended.leaves or not view.status.attempts:
        return None
    found = detection(happened, unix(view.status.attempts[-1].started_at, view.now), view.now)
    return DetectionTime(ms=found.ms, source=found.source)


def _name(view: View, ended: Ended) -> str | None:
    return None if ended.nobody else view.roster.name_of(ended.index, view.status.attempt)


def _with_action(view: View, action: FailureAction) -> View:
    *before, last = view.status.attempts
    return view.with_status(attempts=(*before, last.model_copy(update={"action": action.value})))


def _again(view: View, ended: Ended, text: str, action: FailureAction) -> View:
    backoff = view.spec.failure_policy.backoff
    delay = restart_delay(view.status, backoff)
    if action is not FailureAction.REQUEUE and delay <= backoff.initial_seconds and make_up(view):
        delay = 0.0  # for the first in a row there is nothing to wait for
    view = view.with_status(next_attempt_at=rfc3339_millis(view.now + delay), stalled_since=None)
    if action is FailureAction.REQUEUE:
        return requeued(view, f"{text}; queued again, next try in {delay:.0f} s")
    message = f"{text}; attempt {view.status.attempt + 1} starts in {delay:.0f} s"
    view = view.condition(ConditionType.RESTARTING, True, Reason.RESTARTING, message)
    view = view.condition(ConditionType.PODS_READY, False, Reason.RESTARTING, message)
    return view.event("Warning", Reason.RESTARTING, message)


def _another_epoch(view: View, text: str) -> View:
    """The pods stay, and are as ready as they are: only processes start again."""
    delay = restart_delay(view.status, view.spec.failure_policy.backoff)
    view = replace(view, status=begun_in_place(view.status, view.now))
    view = view.with_status(next_attempt_at=rfc3339_millis(view.now + delay), stalled_since=None)
    message = f"{text}; {view.status.attempts[-1].label} starts in the same pods in {delay:.0f} s"
    view = view.condition(ConditionType.RESTARTING, True, Reason.RESTARTING_IN_PLACE, message)
    return view.event("Warning", Reason.RESTARTING_IN_PLACE, message)


def requeued(
    view: View, message: str, reason: Reason = Reason.REQUEUED, joined_at: str | None = None
) -> View:
    """All nodes are given back; the gang asks for a place as any other, or as one that joined the queue earlier."""
    view = replace(view, status=released(view.status, view.now))
    view = view.with_status(queued_at=joined_at or rfc3339_millis(view.now))
    for kind in (ConditionType.QUOTA_RESERVED, ConditionType.ADMITTED, ConditionType.PODS_READY):
        view = view.condition(kind, False, reason, message)
    view = view.clear(ConditionType.RESTARTING, reason, message)
    return view.event("Warning", reason, message)


def _avoid_all(view: View) -> View:
    """The view in which the job avoids the nodes that the gang is on, as many as its status has room for."""
    for node in list(dict.fromkeys(filter(None, nodes_of(view.obs))))[:MAX_EXCLUDED]:
        view = avoid(view, node, Avoidance.IF_EVER_POSSIBLE, CAPACITY_REVOKED)
    return view


def _exclude(view: View, ended: Ended, cause: Cause, action: FailureAction, *, by_rule: bool) -> View:
    replaced = None
    if action is FailureAction.REPLACE_NODE:
        final = by_rule or cause is Cause.DEVICE_FAULT
        replaced = Avoidance.ALWAYS if final else Avoidance.IF_EVER_POSSIBLE
    return after_failure(view, ended.node, cause, replaced, seen=ended.pod is not None)
