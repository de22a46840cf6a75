"""TrainingJob v1alpha1: the spec a user writes.

Bounds and patterns here are the CRD's too. What needs the catalogue, the name or several fields together
is checked by `drumline.api.validation`, and as far as CEL reaches by `drumline.api.rules`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import Field, WithJsonSchema

from drumline.api.backend import SAYS, Backend
from drumline.api.base import ApiModel
from drumline.api.elastic import Elastic
from drumline.api.failure import Backoff as Backoff  # noqa: PLC0414 -- services take it from here
from drumline.api.failure import FailurePolicy
from drumline.api.meta import MANAGED_BY
from drumline.api.parallelism import Parallelism
from drumline.api.podtemplate import POD_TEMPLATE_SCHEMA
from drumline.api.progress import CheckpointSpec, ModelSpec, Progress
from drumline.api.provisioning import Provisioning
from drumline.api.topology import MAX_LENGTH, PATTERN

MAX_SECONDS: Final = 2**31 - 1
MAX_HELPERS: Final = 16
DNS_1035: Final = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"
DNS_1123: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
SUBDOMAIN: Final = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
MANAGER: Final = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9/._~%!$&'()*+,;=:-]+$"

LABEL_KEY: Final = (
    r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?"
    r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
)
LABEL_VALUE: Final = r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$"
MAX_CANDIDATES: Final = 8

NodeSelector = Annotated[
    dict[str, Annotated[str, Field(max_length=63, pattern=LABEL_VALUE)]], Field(max_length=8)
]
PodTemplate = Annotated[dict[str, Any], WithJsonSchema(POD_TEMPLATE_SCHEMA)]


class Framework(StrEnum):
    """Which environment is injected."""

    TORCH = "torch"
    JAX = "jax"
    NONE = "none"


class AcceleratorShape(ApiModel):
    """A type of accelerator, and how much of it."""

    type: str = Field(
        min_length=1,
        max_length=63,
        pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$",
        description="Key of the accelerator catalogue; `cpu` for no accelerator.",
        examples=["nvidia-h100-80gb", "tpu-v5p", "cpu"],
    )
    topology: str | None = Field(
        default=None,
        max_length=MAX_LENGTH,
        pattern=PATTERN,
        description="Shape of one slice in chips, AxB or AxBxC. Required on TPU, where the workers of a slice "
        "follow from it; not allowed elsewhere.",
        examples=["4x4x4"],
    )
    chips_per_worker: int | None = Field(
        default=None,
        ge=0,
        le=1024,
        description="Chips of one worker. Default: all chips of the type's usual host; 0 on CPU.",
        examples=[8],
    )


class Accelerator(AcceleratorShape):
    """What each worker computes on."""

    resource_claim: str | None = Field(
        default=None,
        min_length=1,
        max_length=63,
        pattern=DNS_1123,
        description="Name of the one of the template's `resourceClaims` that brings a worker's chips, by Dynamic "
        "Resource Allocation: its ResourceClaimTemplate has to ask for as many devices as a worker has chips. "
        "Default: none, an extended resource brings them.",
        examples=["gpu"],
    )


class Candidate(AcceleratorShape):
    """An accelerator to try when there is no room on those before it."""

    node_selector: NodeSelector = Field(
        default_factory=dict,
        description="Labels that the workers' nodes have to have, beside those that the template asks for: a "
        "reservation, on-demand, spot.",
        examples=[{"cloud.google.com/gke-spot": "true"}],
    )


class JobAccelerator(Accelerator):
    """What each worker computes on, and what it may be instead."""

    node_selector: NodeSelector = Field(
        default_factory=dict,
        description="Labels that the workers' nodes have to have while this accelerator is tried, beside those that "
        "the template asks for. Not those of `candidates`, which have their own.",
        examples=[{"cloud.google.com/reservation-name": "research"}],
    )
    candidates: tuple[Candidate, ...] = Field(
        default=(),
        max_length=MAX_CANDIDATES,
        description="Other accelerators to try, in this order, and then again from the first, when the gang was "
        "refused nodes, quota or power for `fallbackSeconds`. Each has as many chips a worker. A job that "
        "holds nodes stays on what it has, restarts included.",
    )
    fallback_seconds: int | None = Field(
        default=None,
        ge=1,
        le=86400,
        description="Seconds that the gang waits for an accelerator before the next of `candidates` is tried. "
        "Default: 600.",
        examples=[600],
    )


class SuccessPolicyType(StrEnum):
    """What counts as success."""

    ALL_WORKERS = "AllWorkers"
    RANK0 = "Rank0"
    ROLES = "Roles"


class SuccessPolicy(ApiModel):
    """What counts as success."""

    type: SuccessPolicyType = Field(
        default=SuccessPolicyType.ALL_WORKERS,
        description="`AllWorkers`: every worker exits 0. `Rank0`: rank 0 does. `Roles`: every worker and every "
        "helper does.",
    )


class PlacementPolicyType(StrEnum):
    """How strictly a gang keeps to one topology domain."""

    REQUIRED = "Required"
    PREFERRED = "Preferred"
    UNCONSTRAINED = "Unconstrained"


class PlacementSpec(ApiModel):
    """Topology wishes of the whole gang."""

    policy: PlacementPolicyType = Field(
        default=PlacementPolicyType.UNCONSTRAINED,
        description="`Required`: all workers in one domain of the level, or the job waits. `Preferred`: in as "
        "small a domain as there is, from the level up. `Unconstrained`: anywhere.",
    )
    level: str | None = Field(
        default=None,
        max_length=63,
        pattern=DNS_1123,
        description="Topology level, as the operator's configuration names it. Required unless the policy is "
        "Unconstrained.",
        examples=["block"],
    )


class Scheduling(ApiModel):
    """How the gang is admitted."""

    backend: Backend | None = Field(
        default=None,
        description=f"Who admits the gang. {SAYS} Default: that of its queue, else of the operator's configuration.",
        examples=["builtin"],
    )
    backend_queue: str | None = Field(
        default=None,
        min_length=1,
        max_length=63,
        pattern=SUBDOMAIN,
        description="Queue of the backend's own: a LocalQueue of Kueue, a queue of Volcano or KAI. Default: the one "
        "named like the job's queue, else the backend's own default. Not with backend builtin, which has none; where builtin "
        "admits because nobody names another one, it has no effect.",
        examples=["research"],
    )
    gang_timeout_seconds: int = Field(
        default=120,
        ge=10,
        le=86400,
        description="Seconds without a pod created or bound, while the scheduler rejects one or its node is "
        "gone, after which the attempt is released and the job queued again. Helpers with dependsOn have no part in it.",
        examples=[120],
    )
    placement: PlacementSpec = Field(
        default=PlacementSpec(), description="Topology wishes of the whole gang."
    )
    provisioning: Provisioning | None = Field(
        default=None,
        description="How the gang asks an autoscaler for nodes when those that there are can't hold it. Default: it "
        "does not.",
    )


class DependencyStatus(StrEnum):
    """What a dependency has to reach."""

    READY = "Ready"
    COMPLETE = "Complete"


class Dependency(ApiModel):
    """Wait for another helper, or for `workers`."""

    name: str = Field(
        max_length=40,
        pattern=DNS_1035,
        description="Name of another helper, or `workers`.",
        examples=["workers"],
    )
    status: DependencyStatus = Field(
        default=DependencyStatus.READY,
        description="`Ready`: all its pods are ready. `Complete`: all its pods have exited 0.",
    )


class Helper(ApiModel):
    """A CPU role beside the workers: data loaders, a parameter server, an evaluator."""

    name: str = Field(
        max_length=40,
        pattern=DNS_1035,
        description="Name within the job, part of its pods' names. `spare`, `worker` and `workers` are taken.",
        examples=["loader"],
    )
    replicas: int = Field(default=1, ge=1, le=1000, description="Pods of the role.", examples=[4])
    depends_on: tuple[Dependency, ...] = Field(
        default=(),
        max_length=MAX_HELPERS,
        description="What must be ready or complete before its pods are created.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    template: PodTemplate = Field(description="Its pods: a core/v1 PodTemplateSpec, without accelerators.")


class TrainingJobSpec(ApiModel):
    """Desired state of a TrainingJob: a gang of slices x workersPerSlice pods that start, run and restart as one."""

    framework: Framework = Field(
        default=Framework.NONE,
        description="Which environment is injected: `torch` (torchrun and env://), `jax` (coordinator), or "
        "`none`. TPU variables follow from the accelerator.",
    )
    accelerator: JobAccelerator = Field(description="What each worker computes on.")
    slices: int = Field(
        default=1,
        ge=1,
        le=10000,
        description="Slices of the gang: TPU slices, GPU scale-up domains or groups of nodes. It can be changed, "
        "also by `kubectl scale`, in a job with `elastic`.",
        examples=[2],
    )
    elastic: Elastic | None = Field(
        default=None,
        description="Lets the gang run with fewer slices than wanted, and `slices` change while it runs. Default: "
        "neither.",
    )
    workers_per_slice: int | None = Field(
        default=None,
        ge=1,
        le=10000,
        description="Worker pods of a slice. Default 1; on TPU it follows from the topology.",
        examples=[4],
    )
    processes_per_worker: int | None = Field(
        default=None,
        ge=1,
        le=256,
        description="Processes that each worker starts. Default: one a chip for torch, else 1.",
        examples=[8],
    )
    template: PodTemplate = Field(description="The worker pods: a core/v1 PodTemplateSpec.")
    queue: str | None = Field(
        default=None,
        max_length=63,
        pattern=DNS_1123,
        description="Queue the job waits in. Default: the default queue.",
        examples=["research"],
    )
    priority_class_name: str | None = Field(
        default=None,
        max_length=253,
        pattern=SUBDOMAIN,
        description="PriorityClass whose value orders the queue. The pods carry it only if it never preempts.",
        examples=["high"],
    )
    scheduling: Scheduling = Field(default=Scheduling(), description="How the gang is admitted.")
    suspend: bool = Field(
        default=False,
        description="True: no pods; a running attempt is stopped, and the job leaves the queue.",
    )
    active_deadline_seconds: int | None = Field(
        default=None,
        ge=1,
        le=MAX_SECONDS,
        description="Seconds of admitted time after which the job fails; waiting and suspension do not count.",
        examples=[86400],
    )
    ttl_seconds_after_finished: int | None = Field(
        default=None,
        ge=0,
        le=MAX_SECONDS,
        description="Seconds after its end when the job is deleted. Default: kept.",
        examples=[3600],
    )
    managed_by: str = Field(
        default=MANAGED_BY,
        max_length=63,
        pattern=MANAGER,
        description="Controller that runs the job, as domain/path. Any other value than the default makes the "
        "operator leave the job alone.",
    )
    success_policy: SuccessPolicy = Field(default=SuccessPolicy(), description="What counts as success.")
    failure_policy: FailurePolicy = Field(default=FailurePolicy(), description="When to stop trying.")
    checkpoint: CheckpointSpec | None = Field(default=None, description="What is known of its checkpoints.")
    progress: Progress = Field(default=Progress(), description="How the operator learns what the workers do.")
    model: ModelSpec | None = Field(default=None, description="The model, for MFU.")
    parallelism: Parallelism | None = Field(
        default=None,
        description="How the program lays out its chips, so that groups of them that talk most are placed together. "
        "Tells the program nothing. Default: nothing is known.",
    )
    spares: int = Field(
        default=0,
        ge=0,
        le=1000,
        description="Places held beside the gang, with the images pulled, that replace lost nodes at once: of one "
        "worker each, on TPU of one slice where a slice has several workers. The job begins with as many as there "
        "is room for.",
        examples=[1],
    )
    helpers: tuple[Helper, ...] = Field(
        default=(),
        max_length=MAX_HELPERS,
        description="CPU roles beside the workers.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
