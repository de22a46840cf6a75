"""How a role of an InferenceService is scaled: `spec.roles[].autoscaling`, `spec.slo`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import Field

from drumline.api.base import ApiModel

MAX_REPLICAS: Final = 500  # groups of a role; each stands in the service's status
DNS_1035: Final = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"


def keyed_by(key: str) -> dict[str, Any]:
    """A list that is a map for server-side apply."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}


class ScalingMode(StrEnum):
    """Who sets the number of groups."""

    BUILTIN = "Builtin"
    EXTERNAL = "External"


class ScalingMetric(StrEnum):
    """What the engines' own metrics say, in one vocabulary."""

    WAITING = "waiting"
    RUNNING = "running"
    KV_CACHE_USAGE = "kvCacheUsage"
    TTFT = "ttft"
    TPOT = "tpot"
    TOKENS_PER_SECOND = "tokensPerSecond"


class MetricTarget(ApiModel):
    """A metric and the value that a group should have of it."""

    name: ScalingMetric = Field(
        description="`waiting` and `running`: requests of a group. `kvCacheUsage`: 0 to 1. `ttft` (time to first "
        "token) and `tpot` (time per output token): a quantile in seconds. `tokensPerSecond`: output of a group."
    )
    target: float | None = Field(
        default=None, gt=0, le=1e9, description="Value of one group; not for ttft and tpot.", examples=[0.8]
    )
    target_seconds: float | None = Field(
        default=None, gt=0, le=3600, description="For ttft and tpot, seconds.", examples=[0.05]
    )
    quantile: float | None = Field(
        default=None, gt=0, lt=1, description="For ttft and tpot. Default 0.9.", examples=[0.9]
    )


class ScalingRules(ApiModel):
    """How fast the number of groups may change in one direction."""

    stabilization_seconds: int | None = Field(
        default=None,
        ge=0,
        le=3600,
        description="The most cautious recommendation of so many seconds counts. Default: 0 up, 300 down.",
    )
    groups: int | None = Field(
        default=None, ge=1, le=MAX_REPLICAS, description="At most so many groups in periodSeconds."
    )
    percent: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="At most so much of the number of groups in periodSeconds; with `groups` the larger counts. "
        "Default: 100 each way.",
    )
    period_seconds: int = Field(default=60, ge=1, le=3600, description="Window of the limits, seconds.")


class ScalingBehavior(ApiModel):
    """Limits on change, as a HorizontalPodAutoscaler has them."""

    scale_up: ScalingRules = Field(default=ScalingRules(), description="Towards more groups.")
    scale_down: ScalingRules = Field(default=ScalingRules(), description="Towards fewer groups.")


class ScaleToZero(ApiModel):
    """When the last group may go too."""

    idle_seconds: int = Field(
        default=600, ge=10, le=604800, description="Seconds without any request after which no group is kept."
    )


class Ratio(ApiModel):
    """Keeps a role's groups in proportion to another's."""

    role: Annotated[str, Field(max_length=20, pattern=DNS_1035)] = Field(
        description="The other role.", examples=["decode"]
    )
    min: float = Field(
        gt=0, le=1000, description="At least so many groups of this role for one of the other."
    )
    max: float = Field(gt=0, le=1000, description="At most so many groups of this role for one of the other.")


class Autoscaling(ApiModel):
    """How a role's number of groups follows its load."""

    mode: ScalingMode = Field(
        default=ScalingMode.BUILTIN,
        description="`Builtin`: the operator reads the engines' metrics. `External`: a HorizontalPodAutoscaler, "
        "KEDA or a person sets `spec.replicas` of the InferenceRole, through its scale subresource.",
    )
    min_replicas: int = Field(
        default=1, ge=0, le=MAX_REPLICAS, description="Fewest groups; 0 needs scaleToZero."
    )
    max_replicas: int = Field(ge=1, le=MAX_REPLICAS, description="Most groups.", examples=[8])
    metrics: tuple[MetricTarget, ...] = Field(
        default=(),
        max_length=6,
        description="Targets; the one that asks for most groups counts. Default: `slo` if there is one, else "
        "2 waiting requests and 0.8 of the KV cache.",
        json_schema_extra=keyed_by("name"),
    )
    behavior: ScalingBehavior = Field(default=ScalingBehavior(), description="Limits on change.")
    scale_to_zero: ScaleToZero | None = Field(default=None, description="When the last group may go too.")
    ratio: Ratio | None = Field(default=None, description="Proportion to another role's groups.")


class Slo(ApiModel):
    """What users are promised; the share of requests within is reported, and roles without targets scale on it."""

    ttft_seconds: float | None = Field(
        default=None, gt=0, le=3600, description="Time to first token, seconds."
    )
    tpot_seconds: float | None = Field(
        default=None, gt=0, le=3600, description="Time per output token, seconds."
    )
    quantile: float = Field(default=0.9, gt=0, lt=1, description="Share of requests that must be within.")
