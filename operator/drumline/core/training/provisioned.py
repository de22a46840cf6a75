"""A job's request for nodes: what its status says of it, and what there is of it in the cluster.

    Requested ──→ Provisioned ──→ Ended
        └───────────────────────────↑

The names are those of autoscaling.x-k8s.io/v1. A request that has not ended holds its queue's quota while no attempt runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from drumline.api.provisioning import Provisioning
from drumline.api.status import ProvisioningPhase, ProvisioningStatus, TrainingJobStatus
from drumline.api.training import Helper
from drumline.core.gang.backends.base import Need
from drumline.core.gang.clock import rfc3339_millis, unix
from drumline.core.gang.plan import GroupResource, Resource
from drumline.core.gang.projection import shape_of

NEED: Final = Need("autoscaling.x-k8s.io", "v1", "provisioningrequests", "ProvisioningRequest")
REQUESTS: Final = GroupResource(f"{NEED.plural}.{NEED.version}.{NEED.group}")
TEMPLATES: Final = "podtemplates"
CONSUMES: Final = "autoscaling.x-k8s.io/consume-provisioning-request"  # annotations of pods
CLASS: Final = "autoscaling.x-k8s.io/provisioning-class-name"

ACCEPTED: Final = "Accepted"  # conditions of a request
PROVISIONED: Final = "Provisioned"
FAILED: Final = "Failed"
BOOKING_EXPIRED: Final = "BookingExpired"
CAPACITY_REVOKED: Final = "CapacityRevoked"

BOOKING_SECONDS: Final = 600.0  # that the cluster-autoscaler keeps nodes for the pods of a request
FEWER_SECONDS: Final = 60.0  # the last of these, in which an elastic gang begins with what came


@dataclass(frozen=True, slots=True)
class Said:
    """A condition of a request."""

    kind: str
    holds: bool
    text: str  # for people


@dataclass(frozen=True, slots=True)
class Owned:
    """A request of the job's, or a pod template of one."""

    resource: Resource  # REQUESTS or TEMPLATES
    namespace: str
    name: str
    uid: str
    owner: str  # the job's uid
    deleting: bool = False
    said: tuple[Said, ...] = ()

    def holds(self, kind: str) -> Said | None:
        """The condition of that type, if it is True."""
        return next((s for s in self.said if s.kind == kind and s.holds), None)

    def text(self, kind: str) -> str:
        """What the condition of that type says, True or not; "" when it is not there."""
        return next((s.text for s in self.said if s.kind == kind), "")


@dataclass(frozen=True, slots=True)
class Provisioner:
    """What the cluster has to do with requests for nodes."""

    served: bool = False  # whether it knows the kind
    objects: tuple[Owned, ...] = ()  # of the job
    listed: bool = True  # whether these are all
    denied: bool = False  # whether the operator lacks the right to requests or their templates

    def request(self, name: str) -> Owned | None:
        """The job's request of that name."""
        return next((o for o in self.objects if o.resource == REQUESTS and o.name == name), None)


NOTHING: Final = Provisioner()


def open_request(status: TrainingJobStatus) -> ProvisioningStatus | None:
    """The request that has not ended."""
    asked = status.provisioning
    return asked if asked is not None and asked.phase is not ProvisioningPhase.ENDED else None


def holds_quota(status: TrainingJobStatus) -> ProvisioningStatus | None:
    """The request by which a job that has no attempt yet holds quota."""
    return open_request(status) if status.placement is None else None


def until_fewer(status: TrainingJobStatus, now: float) -> float:
    """Seconds in which fewer slices than nodes were asked for won't do, since they are on their way; else 0."""
    asked = holds_quota(status)
    if asked is None or asked.phase is not ProvisioningPhase.PROVISIONED:
        return 0.0
    return max(0.0, unix(asked.since) + BOOKING_SECONDS - FEWER_SECONDS - now)


def revoked(status: TrainingJobStatus, provisioner: Provisioner) -> Said | None:
    """That the capacity which the open request brought is taken back."""
    asked = open_request(status)
    request = provisioner.request(asked.request) if asked is not None else None
    return request.holds(CAPACITY_REVOKED) if request is not None else None


def ended(
    status: TrainingJobStatus, now: float, *, failed: bool = False, message: str | None = None
) -> ProvisioningStatus | None:
    """What the status says of the request from `now` on; a request that has ended stays as it is."""
    asked = open_request(status)
    if asked is None:
        return status.provisioning
    told = {"failed": failed, "message": message, "since": rfc3339_millis(now)}
    return asked.model_copy(update={"phase": ProvisioningPhase.ENDED, **told})


def brought(helper: Helper, wish: Provisioning | None) -> bool:
    """Whether a request asks nodes for that helper: an attempt begins with it, and the class brings what it needs."""
    if wish is None or helper.depends_on:
        return False
    managed = wish.managed_resources
    asked = {name for name, _ in shape_of(helper.template["spec"]).requests}
    return managed is None or not asked.isdisjoint(managed)


def consumed(status: TrainingJobStatus) -> Mapping[str, str]:
    """Annotations of the pods that a request asked nodes for, once they are there; none else."""
    asked = open_request(status)
    if asked is None or asked.phase is not ProvisioningPhase.PROVISIONED:
        return {}
    return {CONSUMES: asked.request, CLASS: asked.class_name}
