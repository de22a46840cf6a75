"""Builders for jobs that ask for nodes by a ProvisioningRequest, and for what the cluster says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from drumline.api.status import TrainingJobStatus
from drumline.core.gang.discovery import ObservedDiscovery, ObservedService
from drumline.core.gang.lazy import rendered
from drumline.core.gang.plan import Create, Delete, Plan
from drumline.core.gang.types import Placement, Refusal
from drumline.core.training.decide import decide
from drumline.core.training.observation import Granted, Observation
from drumline.core.training.provisioned import REQUESTS, Owned, Provisioner, Said
from tests.unit.core.training import jobs
from tests.unit.core.training.jobs import NOW

CLASS: Final = "queued-provisioning.gke.io"
AFTER, TIMEOUT = 30, 900
ASKED: Final = NOW + AFTER  # when the request is made
NO: Final = Refusal("InsufficientAccelerators", "needs 4 nodes")
ANYWHERE: Final = Placement(("",) * 4)
NAME: Final = "job-nodes-1"


def refused(wish: Mapping[str, Any] | None = None, served: bool = True, **changes: Any) -> Observation:
    """A job that was refused nodes at NOW."""
    provisioning = {"mode": "ProvisioningRequest", "className": CLASS, **(wish or {})}
    chosen = {"accelerator": {"type": "nvidia-h100-80gb"}, "scheduling": {"provisioning": provisioning}}
    obs = jobs.job(jobs.spec(**{**chosen, **changes}))
    obs = replace(obs, provisioner=Provisioner(served))
    return jobs.settled(replace(jobs.settled(obs), admission=NO), NOW)


def asking(queue: str = "", **changes: Any) -> tuple[Observation, Plan]:
    """The same job after admission gave it its quota, and the plan by which it asked."""
    obs = replace(refused(**changes), queue=queue)
    plan = decide(replace(obs, admission=Granted(ANYWHERE, queue=queue)), ASKED)
    status = TrainingJobStatus.model_validate(jobs.written(plan))
    return seen(replace(obs, status=status, admission=None)), plan


def seen(obs: Observation, **conditions: bool | str) -> Observation:
    """The observation with the request in the cluster, and the conditions it has: a text is a False one's."""
    said = tuple(
        Said(kind, value is True, f"{kind} is said" if value is True else str(value))
        for kind, value in conditions.items()
    )
    asked = obs.status.provisioning
    name = asked.request if asked is not None else NAME
    found = Owned(REQUESTS, "ns", name, "uid-request", jobs.UID, said=said)
    template = Owned("podtemplates", "ns", f"{name}-worker", "uid-template", jobs.UID)
    return replace(obs, provisioner=Provisioner(True, (template, found)))


def provisioned(**changes: Any) -> Observation:
    """The same job once its request is provisioned, at ASKED + 100."""
    return jobs.settled(seen(asking(**changes)[0], Provisioned=True), ASKED + 100)


def begun(**changes: Any) -> tuple[Observation, Plan]:
    """The same job once it was placed on what came, and the plan by which it was; its pods are there."""
    obs = provisioned(**changes)
    given = jobs.placement(obs)
    queue = obs.status.queue or ""
    plan = decide(replace(obs, admission=Granted(given, queue=queue)), ASKED + 101)
    status = TrainingJobStatus.model_validate(jobs.written(plan))
    service = ObservedDiscovery(service=ObservedService(ours=True))
    obs = replace(obs, status=status, placement=given, discovery=service)
    return replace(obs, pods={p.name: p for p in jobs.pods(obs, created_at=ASKED + 101)}), plan


def running(**changes: Any) -> Observation:
    """The same job with all pods ready."""
    obs = begun(**changes)[0]
    up = {n: jobs.up(p, ASKED + 110) for n, p in obs.pods.items()}
    return jobs.settled(jobs.published(replace(obs, pods=up)), ASKED + 110)


def creates(plan: Plan, resource: str) -> list[Mapping[str, Any]]:
    """The manifests of that resource that a plan creates, in order."""
    stages = (a for stage in plan.actions for a in stage)
    return [rendered(a.manifest) for a in stages if isinstance(a, Create) and a.resource == resource]


def deletes(plan: Plan) -> set[str]:
    """What a plan deletes: resource/name."""
    stages = (a for stage in plan.actions for a in stage)
    return {f"{a.resource.partition('.')[0]}/{a.name}" for a in stages if isinstance(a, Delete)}


def after(obs: Observation, now: float) -> TrainingJobStatus:
    """The status that the next decision writes, or the one there is."""
    return jobs.settled(obs, now).status


def reasons(plan: Plan) -> list[str]:
    """Reasons of a plan's events."""
    return [e.reason for e in plan.events]
