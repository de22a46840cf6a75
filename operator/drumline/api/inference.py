"""InferenceService v1alpha1: the spec a user writes, and the InferenceRole that the operator generates.

A role is `replicas` groups; a group is `groupSize` pods (a leader, worker 0, and workers) that are placed,
restarted and counted as one. Bounds and patterns here are the CRD's too.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from drumline.api.backend import SAYS, Backend
from drumline.api.base import ApiModel
from drumline.api.inference_model import Engine, KvTransfer, Model, Routing, Speculative
from drumline.api.inference_parallelism import ServiceParallelism
from drumline.api.inference_rollout import Drain, Rollout, ServiceFailurePolicy
from drumline.api.inference_scaling import MAX_REPLICAS, Autoscaling, Slo, keyed_by
from drumline.api.meta import MANAGED_BY
from drumline.api.training import (
    DNS_1035,
    DNS_1123,
    MANAGER,
    SUBDOMAIN,
    Accelerator,
    PlacementSpec,
    PodTemplate,
)

MAX_ROLES: Final = 8
MAX_GROUP: Final = 1024
RoleName = Annotated[str, Field(max_length=20, pattern=DNS_1035)]


class Profile(StrEnum):
    """What the service is made for."""

    STANDARD = "standard"
    EDGE = "edge"


class StartPolicy(StrEnum):
    """In what order a group's pods start."""

    PARALLEL = "Parallel"
    LEADER_FIRST = "LeaderFirst"


class Variant(ApiModel):
    """Another accelerator that a group of the role may run on."""

    accelerator: Accelerator = Field(description="What each pod computes on.")
    capacity: float = Field(
        default=1.0,
        gt=0,
        le=1000,
        description="Load that a group takes, against one on the role's accelerator.",
    )
    max_replicas: int | None = Field(default=None, ge=0, le=MAX_REPLICAS, description="Most groups on it.")


class InferenceRoleSpec(ApiModel):
    """One role: groups of pods that do the same."""

    name: str = Field(
        max_length=20,
        pattern=DNS_1035,
        description="`serve`, or `prefill` and `decode`, or a name of your own.",
        examples=["serve"],
    )
    replicas: int = Field(
        default=1,
        ge=0,
        le=MAX_REPLICAS,
        description="Groups. With autoscaling: the number to begin with.",
        examples=[4],
    )
    group_size: int | None = Field(
        default=None,
        ge=1,
        le=MAX_GROUP,
        description="Pods of a group. Default 1; on TPU it follows from the topology.",
        examples=[2],
    )
    accelerator: Accelerator = Field(description="What each pod computes on.")
    variants: tuple[Variant, ...] = Field(
        default=(),
        max_length=8,
        description="Other accelerators that may serve too; the cheapest for its capacity comes first, by the "
        "catalogue's prices.",
    )
    template: PodTemplate = Field(
        description="The pods: a core/v1 PodTemplateSpec. The first container is the engine."
    )
    leader_template: PodTemplate | None = Field(
        default=None, description="The leader's pod; default: template."
    )
    port: int | None = Field(
        default=None, ge=1, le=65535, description="Port the leader serves on; default: the engine's."
    )
    parallelism: ServiceParallelism | None = Field(
        default=None,
        description="How the engine divides the model over a group's chips. Default: as the engine's preset or its "
        "arguments have it, and no chips are kept inside a scale-up domain.",
    )
    start_policy: StartPolicy = Field(
        default=StartPolicy.PARALLEL,
        description="`Parallel`: all pods of a group at once. `LeaderFirst`: the workers once the leader is ready "
        "or, if it can't be without them, runs.",
    )
    start_after: tuple[RoleName, ...] = Field(
        default=(),
        max_length=MAX_ROLES,
        description="Roles that must have a group in service before this one begins.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    autoscaling: Autoscaling | None = Field(
        default=None, description="How `replicas` follows the load; default: it stays."
    )


class InferenceScheduling(ApiModel):
    """How groups are placed."""

    backend: Backend | None = Field(
        default=None,
        description=f"Who admits the groups. {SAYS} Default: that of the service's queue, else that of the operator's "
        "configuration.",
        examples=["builtin"],
    )
    backend_queue: str | None = Field(
        default=None,
        min_length=1,
        max_length=63,
        pattern=SUBDOMAIN,
        description="Queue of the backend's own: a LocalQueue of Kueue, a queue of Volcano or KAI. Default: the one "
        "named like the service's queue, else the backend's own default. Not with backend builtin, which has none; where builtin "
        "admits because nobody names another one, it has no effect.",
        examples=["serving"],
    )
    gang_timeout_seconds: int = Field(
        default=300,
        ge=10,
        le=86400,
        description="Seconds without a pod created or bound, while the scheduler rejects one or its node is gone, "
        "after which a group gives its place back.",
    )
    placement: PlacementSpec = Field(default=PlacementSpec(), description="Topology wishes of each group.")
    together: str | None = Field(
        default=None,
        max_length=63,
        pattern=DNS_1123,
        description="Topology level that groups of different roles share if possible, so that the KV cache has a "
        "short way.",
        examples=["block"],
    )


class InferenceServiceSpec(ApiModel):
    """Desired state of an InferenceService: a model served by one or more roles."""

    engine: Engine = Field(default=Engine.CUSTOM, description="Which server runs; `custom` presets nothing.")
    model: Model | None = Field(default=None, description="What is served; required but for `custom`.")
    profile: Profile = Field(
        default=Profile.STANDARD,
        description="`edge`: one small pod a group, restarted by its kubelet and kept while the control plane is "
        "away; no gang, no admission.",
    )
    roles: tuple[InferenceRoleSpec, ...] = Field(
        min_length=1,
        max_length=MAX_ROLES,
        description="What the service consists of.",
        json_schema_extra=keyed_by("name"),
    )
    queue: str | None = Field(
        default=None, max_length=63, pattern=DNS_1123, description="Queue the groups wait in."
    )
    priority_class_name: str | None = Field(
        default=None,
        max_length=253,
        pattern=SUBDOMAIN,
        description="PriorityClass whose value orders the queue. The pods carry it only if it never preempts.",
    )
    scheduling: InferenceScheduling = Field(
        default=InferenceScheduling(), description="How groups are placed."
    )
    rollout: Rollout = Field(default=Rollout(), description="How a change reaches the groups.")
    drain: Drain = Field(default=Drain(), description="How a group goes without dropping a request.")
    failure_policy: ServiceFailurePolicy = Field(
        default=ServiceFailurePolicy(), description="When to stop restarting a group."
    )
    speculative: Speculative | None = Field(default=None, description="Speculative decoding.")
    kv_transfer: KvTransfer | None = Field(
        default=None, description="How prefill hands the KV cache to decode."
    )
    slo: Slo | None = Field(default=None, description="What users are promised.")
    routing: Routing = Field(default=Routing(), description="How requests come in.")
    suspend: bool = Field(default=False, description="True: no groups; those there are drained.")
    managed_by: str = Field(
        default=MANAGED_BY,
        max_length=63,
        pattern=MANAGER,
        description="Controller that runs the service, as domain/path. Any other value than the default makes the "
        "operator leave it alone.",
    )


class InferenceRoleScaleSpec(ApiModel):
    """Desired state of an InferenceRole, the generated child that has the scale subresource."""

    service: str = Field(max_length=63, description="InferenceService it belongs to.")
    role: str = Field(max_length=20, description="Its role.")
    replicas: int = Field(default=1, ge=0, le=MAX_REPLICAS, description="Groups.")


class InferenceRoleStatus(ApiModel):
    """Observed state of an InferenceRole, for the scale subresource."""

    replicas: int = Field(default=0, description="Groups that exist.")
    ready_replicas: int = Field(default=0, description="Groups in service.")
    selector: str = Field(default="", description="Selects the leaders: one pod a group.")
    observed_generation: int = Field(default=0, description="Generation of the spec that this speaks of.")
