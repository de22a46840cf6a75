"""Decide what to do about one TrainingJob: an ordered list of policies, from the weightiest down.

Each policy has its own file. The first ones may end the decision (a finished, invalid or suspended job needs
nothing of the rest); the later ones bring an attempt from the queue to running pods:

    leave alone → requests → finished → validity → name conflict → suspension → deadline → success → failure → in place
    → hang → departure → preemption → stall → gang timeout → resize → retire old pods → termination → provisioning → admission → discovery → creation → spares → readiness → orders
"""

from __future__ import annotations

from drumline.api.status import TrainingJobStatus
from drumline.core.gang.plan import Plan
from drumline.core.training import conditions
from drumline.core.training.observation import Observation
from drumline.core.training.policies.admission import admission
from drumline.core.training.policies.creation import creation
from drumline.core.training.policies.deadline import deadline
from drumline.core.training.policies.departure import departure
from drumline.core.training.policies.discovery import discovery
from drumline.core.training.policies.failure import failure
from drumline.core.training.policies.finished import finished
from drumline.core.training.policies.gang_timeout import gang_timeout
from drumline.core.training.policies.hang import hang
from drumline.core.training.policies.in_place import in_place
from drumline.core.training.policies.leave_alone import leave_alone
from drumline.core.training.policies.name_conflict import name_conflict
from drumline.core.training.policies.orders import orders
from drumline.core.training.policies.preemption import preemption
from drumline.core.training.policies.provisioning import provisioning
from drumline.core.training.policies.readiness import readiness
from drumline.core.training.policies.requests import requests
from drumline.core.training.policies.resize import resize
from drumline.core.training.policies.retire import retire
from drumline.core.training.policies.spares import spares
from drumline.core.training.policies.stall import stall
from drumline.core.training.policies.success import success
from drumline.core.training.policies.suspension import suspension
from drumline.core.training.policies.termination import termination
from drumline.core.training.policies.validity import validity
from drumline.core.training.provisioned import holds_quota
from drumline.core.training.view import Policy, View

POLICIES: tuple[Policy, ...] = (
    leave_alone,
    requests,
    finished,
    validity,
    name_conflict,
    suspension,
    deadline,
    success,
    failure,
    in_place,
    hang,
    departure,
    preemption,
    stall,
    gang_timeout,
    resize,
    retire,
    termination,
    provisioning,
    admission,
    discovery,
    creation,
    spares,
    readiness,
    orders,
)


def decide(obs: Observation, now: float) -> Plan:
    """The plan for one job. Pure: the same observation and `now` (Unix seconds) give the same plan."""
    status = obs.status.model_copy(update={"observed_generation": obs.job.generation})
    view = View(obs, now, status)
    for policy in POLICIES:
        view = policy(view)
        if view.ended:
            break
    return _plan(view)


def _plan(view: View) -> Plan:
    status = _with_phase(_out_of_queue(view))
    intent = _with_phase(view.intent) if view.intent is not None else None
    if intent is None and view.status_first and status != view.obs.status:
        intent = status
    before = view.obs.status if intent is None else intent
    untouched = view.silent or view.ended == leave_alone.__name__
    return Plan(
        prepare=view.prepare,
        intent=intent.to_json() if intent is not None else None,
        actions=view.actions,
        status=None if untouched or status == before else status.to_json(),
        events=view.events,
        requeue_after=view.requeue_after,
        delete_self=view.delete_self,
        waiting=view.waiting,
        asks=view.asks,
        orders=view.orders,
        metadata={"policy": view.ended} if view.ended else {},
    )


def _out_of_queue(view: View) -> TrainingJobStatus:
    """The status of a gang that counts in its queue until the last of its pods is gone, or while it asks for nodes."""
    status = view.status
    if status.queue is None or status.placement is not None or holds_quota(status) is not None:
        return status
    there = any(not pod.terminal for pod in view.obs.pods.values())
    return status if there else status.model_copy(update={"queue": None})


def _with_phase(status: TrainingJobStatus) -> TrainingJobStatus:
    """The status with its phase; no worker counts as ready where no attempt runs, whichever policy had the last word."""
    phase = conditions.phase_of(status).value
    last = status.attempts[-1] if status.attempts else None
    runs = status.placement is not None and last is not None and last.finished_at is None
    if runs or not status.workers.ready:
        return status.model_copy(update={"phase": phase})
    return status.model_copy(
        update={"phase": phase, "workers": status.workers.model_copy(update={"ready": 0})}
    )
