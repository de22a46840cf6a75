"""Decide what to do about one InferenceService: an ordered list of policies, from the weightiest down.

Each policy has its own file. The first ones may end the decision (a service that is deleted or invalid needs nothing
of the rest); those in the middle say which groups there are to be and which go; the later ones bring each group from
the queue to running pods and into service:

    leave alone → validity → revisions → name conflict → failure → gang timeout → evacuation → preemption
    → rollout → canary → scale → drain → retire → admission → children → discovery → in service → creation → summary
    → account

Of these only some count while the spec does not hold (`FROZEN`): the groups live on, and nothing else is changed.

Groups come into service before pods are created, which takes long and may be refused. Names that are somebody else's
are written by nobody, whichever policy would.
"""

from __future__ import annotations

from collections.abc import Sequence

from drumline.core.gang.plan import Action, Apply, Create, Plan
from drumline.core.inference.observation import Observation
from drumline.core.inference.policies.account import account
from drumline.core.inference.policies.admission import admission
from drumline.core.inference.policies.canary import canary
from drumline.core.inference.policies.children import children
from drumline.core.inference.policies.creation import creation
from drumline.core.inference.policies.discovery import discovery
from drumline.core.inference.policies.drain import drain
from drumline.core.inference.policies.evacuation import evacuation
from drumline.core.inference.policies.failure import failure
from drumline.core.inference.policies.gang_timeout import gang_timeout
from drumline.core.inference.policies.in_service import in_service
from drumline.core.inference.policies.leave_alone import leave_alone
from drumline.core.inference.policies.name_conflict import name_conflict
from drumline.core.inference.policies.preemption import preemption
from drumline.core.inference.policies.retire import retire
from drumline.core.inference.policies.revisions import revisions
from drumline.core.inference.policies.rollout import rollout
from drumline.core.inference.policies.scale import scale
from drumline.core.inference.policies.summary import counts, summary
from drumline.core.inference.policies.validity import validity
from drumline.core.inference.view import Policy, View

POLICIES: tuple[Policy, ...] = (
    leave_alone,
    validity,
    revisions,
    name_conflict,
    failure,
    gang_timeout,
    evacuation,
    preemption,
    rollout,
    canary,
    scale,
    drain,
    retire,
    admission,
    children,
    discovery,
    in_service,
    creation,
    summary,
    account,
)


FROZEN: tuple[Policy, ...] = (
    leave_alone,
    validity,
    failure,
    gang_timeout,
    evacuation,
    preemption,
    scale,
    drain,
    retire,
    admission,
    discovery,
    in_service,
    creation,
    counts,
    account,
)


def decide(obs: Observation, now: float, policies: Sequence[Policy] | None = None) -> Plan:
    """The plan for one service. Pure: the same observation and `now` (Unix seconds) give the same plan."""
    if policies is None:
        policies = FROZEN if obs.errors else POLICIES
    status = obs.status.model_copy(update={"observed_generation": obs.service.generation})
    view = View(obs, now, status)
    for policy in policies:
        view = policy(view)
        if view.ended:
            break
    return _plan(view)


def _plan(view: View) -> Plan:
    changed = view.status != view.obs.status and view.ended != leave_alone.__name__
    status = view.status.to_json() if changed else None
    stages = (tuple(a for a in stage if not _is_hopeless(view, a)) for stage in view.actions)
    return Plan(
        prepare=view.prepare,
        intent=status if view.status_first else None,
        actions=tuple(stage for stage in stages if stage),
        status=None if view.status_first else status,
        events=view.events,
        requeue_after=view.requeue_after,
        queue=view.queue,
        metadata={"policy": view.ended} if view.ended else {},
    )


def _is_hopeless(view: View, action: Action) -> bool:
    """Whether an action would write what can't be written: a name that is somebody else's, a route that was refused just now.

    Pods have their own way to fail.
    """
    if action.resource == "pods" or not (view.obs.foreign or view.obs.withheld):
        return False
    if isinstance(action, Create | Apply):
        name = action.manifest["metadata"]["name"]
        return f"{action.resource}/{name}" in view.obs.foreign | view.obs.withheld
    return f"{action.resource}/{action.name}" in view.obs.withheld
