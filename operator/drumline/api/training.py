"""TrainingJob v1alpha1: the spec a user writes."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import Field

from drumline.api.base import ApiModel
from drumline.api.meta import MANAGED_BY


class Framework(StrEnum):
    """Which environment is injected."""

    TORCH = "torch"
    JAX = "jax"
    NONE = "none"


class Accelerator(ApiModel):
    """What each worker computes on."""

    type: str
    topology: str | None = None  # TPU only: AxB or AxBxC chips of one slice
    chips_per_worker: int | None = Field(default=None, ge=0)


class Backoff(ApiModel):
    """Delay before a restart: initial · 2^(n-1), at most max."""

    initial_seconds: int = Field(default=10, ge=0, le=86400)
    max_seconds: int = Field(default=600, ge=0, le=86400)


class FailurePolicy(ApiModel):
    """When to stop trying."""

    max_restarts: int = Field(default=10, ge=0, le=10000)
    backoff: Backoff = Backoff()


class SuccessPolicyType(StrEnum):
    """What counts as success."""

    ALL_WORKERS = "AllWorkers"
    RANK0 = "Rank0"
    ROLES = "Roles"


class SuccessPolicy(ApiModel):
    """What counts as success."""

    type: SuccessPolicyType = SuccessPolicyType.ALL_WORKERS


class PlacementPolicyType(StrEnum):
    """How strictly a gang keeps to one topology domain."""

    REQUIRED = "Required"
    PREFERRED = "Preferred"
    UNCONSTRAINED = "Unconstrained"


class PlacementSpec(ApiModel):
    """Topology wishes of the whole gang."""

    policy: PlacementPolicyType = PlacementPolicyType.UNCONSTRAINED
    level: str | None = None


class Backend(StrEnum):
    """Who admits the gang."""

    BUILTIN = "builtin"


class Scheduling(ApiModel):
    """How the gang is admitted."""

    backend: Backend = Backend.BUILTIN
    gang_timeout_seconds: int = Field(default=120, ge=10, le=86400)
    placement: PlacementSpec = PlacementSpec()


class DependencyStatus(StrEnum):
    """What a dependency has to reach."""

    READY = "Ready"
    COMPLETE = "Complete"


class Dependency(ApiModel):
    """Wait for another helper, or for `workers`."""

    name: str
    status: DependencyStatus = DependencyStatus.READY


class Helper(ApiModel):
    """A CPU role beside the workers."""

    name: str
    replicas: int = Field(default=1, ge=1, le=1000)
    depends_on: tuple[Dependency, ...] = ()
    template: dict[str, Any]


class TrainingJobSpec(ApiModel):
    """Desired state of a TrainingJob."""

    framework: Framework = Framework.NONE
    accelerator: Accelerator
    slices: int = Field(default=1, ge=1, le=10000)
    workers_per_slice: int | None = Field(default=None, ge=1, le=10000)  # GPU/CPU; follows on TPU
    processes_per_worker: int | None = Field(default=None, ge=1, le=256)
    template: dict[str, Any]
    queue: str | None = None
    priority_class_name: str | None = None
    scheduling: Scheduling = Scheduling()
    suspend: bool = False
    active_deadline_seconds: int | None = Field(default=None, ge=1)
    ttl_seconds_after_finished: int | None = Field(default=None, ge=0)
    managed_by: str = MANAGED_BY
    success_policy: SuccessPolicy = SuccessPolicy()
    failure_policy: FailurePolicy = FailurePolicy()
    helpers: tuple[Helper, ...] = ()
