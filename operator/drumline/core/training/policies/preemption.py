"""Admission wants the gang to leave, since others go first: have a checkpoint saved, then give all nodes back.

Where the job says how, the program is asked for a checkpoint. The attempt ends, with cause Preempted, as soon as one is
durable that was committed after the request, or when its grace is over. It ends at once where nobody can be asked, before
all pods were ready, and while the gang hangs. A gang between two attempts gives back the nodes that it holds. A checkpoint
that was asked for on another account will do.

The job returns to the place in the queue that it had, with no delay. It is no failure: it costs no restart, and no rule
about failures is asked unless it names the cause. One that does may fail the job; nodes are given back in any case. So is a
budget of the cause itself honoured: whoever sets one says how often the job may be preempted.

What was asked, when and for whom stands in `status.order`: a successor goes on waiting where the leader before it
stopped, and as long as it may not know yet who has to leave (TAKEOVER_SECONDS). Should nobody need the gang's nodes
any more, it stays.
"""

from __future__ import annotations

from typing import Final

from drumline.api.failure import FailureAction
from drumline.api.meta import ROLE_WORKER
from drumline.api.orders import OrderKind
from drumline.api.reasons import Cause, Reason
from drumline.api.status import OrderStatus
from drumline.core.gang.clock import SKEW_SECONDS
from drumline.core.gang.queues import Eviction
from drumline.core.training.attempts import fail
from drumline.core.training.budgets import overspent
from drumline.core.training.departing import request as asked_how
from drumline.core.training.failure_rules import Facts, matching_rule
from drumline.core.training.recovery import Ended, recorded, requeued
from drumline.core.training.requests import (
    MAX_MESSAGE,
    ask,
    awaited,
    committed_after,
    dated,
    seconds_left,
    settle,
)
from drumline.core.training.view import View

LOOK_SECONDS: Final = 5.0  # between looks for a checkpoint; reports of one come at once as a rule
TAKEOVER_SECONDS: Final = 60.0  # after which a leader has looked at all that wait


def preemption(view: View) -> View:
    """Ask for a checkpoint when the gang is to leave, and end the attempt when it is there or can't be waited for."""
    view = dated(view)
    evicted, asked = view.obs.evicted, awaited(view)
    if evicted is None:
        return _stays(view, asked) if asked is not None and asked.preempted_by is not None else view
    if view.status.placement is None:
        return view
    if not view.live:
        return _given_back(view, f"{_told(evicted)}; it held its nodes between two attempts")
    if view.status.epoch != view.obs.status.epoch:  # begun by this decision: looked at when that is written
        return view.again_in(LOOK_SECONDS)
    return _dealt_with(view, evicted, asked)


def _dealt_with(view: View, evicted: Eviction, asked: OrderStatus | None) -> View:
    why = _at_once(view)
    if why:
        return _leave(view, evicted, why)
    if asked is None or asked.kind is not OrderKind.CHECKPOINT:
        return _ask(view, evicted)
    return _wait(*_taken_over(view, evicted, asked), evicted)


def _told(evicted: Eviction) -> str:
    return f"{Cause.PREEMPTED.value} by {evicted.by}: {evicted.message}"


def _at_once(view: View) -> str:
    """Why nothing is waited for; "" where a checkpoint is."""
    if view.status.attempts[-1].ready_at is None:
        return "before all of its pods were ready"
    if asked_how(view) is None:
        return "it has no launcher, or no checkpoint.onRequest, by which a checkpoint could be asked for"
    hangs = view.obs.pulse is not None and view.obs.pulse.hanging
    return "it hangs, so that no checkpoint is to be had" if hangs else ""


def _ask(view: View, evicted: Eviction) -> View:
    request = asked_how(view)
    if request is None:
        raise ValueError("nobody can be asked")
    limit = float(request.grace_seconds)
    text = (
        f"{_told(evicted)}; a checkpoint is asked for by {request.signal.value}, and the gang leaves once it is "
        f"durable, after {limit:.0f} s at the latest"
    )
    view = ask(view, OrderKind.CHECKPOINT, text, preempted_by=evicted.by)
    return view.event("Normal", Reason.CHECKPOINT_REQUESTED, text).again_in(min(limit, LOOK_SECONDS))


def _taken_over(view: View, evicted: Eviction, asked: OrderStatus) -> tuple[View, OrderStatus]:
    """A checkpoint that was asked for on another account, or for another gang, will do for this one."""
    if asked.preempted_by == evicted.by:
        return view, asked
    text = f"{_told(evicted)}; the gang leaves once the checkpoint that was asked for is durable"
    asked = asked.model_copy(update={"preempted_by": evicted.by, "message": text[:MAX_MESSAGE]})
    return view.with_status(order=asked).event("Normal", Reason.CHECKPOINT_REQUESTED, text), asked


def _wait(view: View, asked: OrderStatus, evicted: Eviction) -> View:
    if safe := committed_after(view, asked):
        return _leave(view, evicted, f"{safe} it was asked for")
    request = asked_how(view)
    limit = float(request.grace_seconds) if request is not None else 0.0
    left = seconds_left(view, asked, limit)
    if left > 0:
        return view.again_in(min(left, LOOK_SECONDS))
    return _leave(view, evicted, f"no checkpoint became durable within {limit:.0f} s")


def _stays(view: View, asked: OrderStatus) -> View:
    left = view.obs.crew_since + TAKEOVER_SECONDS - view.now
    if 0 < left <= TAKEOVER_SECONDS + SKEW_SECONDS:
        return view.again_in(left)
    text = f"{asked.preempted_by} does not need the nodes of this gang any more: it stays"
    if asked.node is None:
        view = settle(view)
    else:  # which is about to go all the same
        view = view.with_status(order=asked.model_copy(update={"preempted_by": None}))
    return view.event("Normal", Reason.PREEMPTION_WITHDRAWN, text)


def _leave(view: View, evicted: Eviction, how: str) -> View:
    """End the attempt and queue again; or fail the job, where it says so itself."""
    text = f"{_told(evicted)}; {how}"
    rule = _rule(view)
    view = recorded(settle(view), _ended(text), FailureAction.REQUEUE)
    if rule:
        text = f"{text}; rule {rule} of spec.failurePolicy.rules ends the job"
        return fail(view, Reason.FAILED_BY_RULE, text, preemption.__name__)
    over = overspent(view.status, Cause.PREEMPTED, view.spec.failure_policy, view.now)
    if over is not None:
        return fail(view, over[0], f"{text}; {over[1]}", preemption.__name__)
    return _given_back(view.with_status(next_attempt_at=None, stalled_since=None), text)


def _ended(text: str) -> Ended:
    return Ended(Cause.PREEMPTED, 0, text, nobody=True, leaves=True)


def _rule(view: View) -> str:
    """The name of the user's rule by which preemption ends the job; "" as a rule."""
    rules = tuple(r for r in view.spec.failure_policy.rules if Cause.PREEMPTED in r.on_cause)
    first = matching_rule(rules, Facts(Cause.PREEMPTED, None, None, ROLE_WORKER)) if rules else None
    return first.name if first is not None and first.action is FailureAction.FAIL else ""


def _given_back(view: View, text: str) -> View:
    joined = view.status.joined_at
    place = f"; queued again at its place of {joined}" if joined is not None else "; queued again"
    return requeued(view, f"{text}{place}", Reason.PREEMPTED, joined)
