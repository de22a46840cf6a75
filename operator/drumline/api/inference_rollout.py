"""How an InferenceService changes, fails and gives way: rollout, drain, failure policy."""

from __future__ import annotations

from pydantic import Field

from drumline.api.base import ApiModel
from drumline.api.inference_scaling import MAX_REPLICAS
from drumline.api.training import Backoff


class CanaryAnalysis(ApiModel):
    """What a canary must show before it is promoted. What can't be measured is not held against it."""

    min_seconds: int = Field(default=300, ge=0, le=604800, description="Shortest observation, seconds.")
    min_requests: int = Field(
        default=0, ge=0, le=10**9, description="Requests it must have answered before it is promoted."
    )
    max_error_rate: float = Field(
        default=0.01, ge=0, le=1, description="Failed requests of all, at most.", examples=[0.01]
    )
    max_latency_ratio: float = Field(
        default=1.25,
        ge=1,
        le=100,
        description="TTFT and TPOT (quantile 0.9) against the stable groups', at most.",
    )
    ready_seconds: int = Field(
        default=1800, ge=10, le=86400, description="Its groups must be ready within so many seconds."
    )


class Canary(ApiModel):
    """A few groups of a new revision go first."""

    replicas: int = Field(default=1, ge=1, le=MAX_REPLICAS, description="Groups of each role.")
    weight: int = Field(
        default=5,
        ge=0,
        le=100,
        description="Percent of requests sent to them. Exact with a Gateway; a Service alone spreads requests "
        "over all groups that are in service.",
    )
    automatic: bool = Field(
        default=True,
        description="Promote or roll back by `analysis`. False: wait for `kubectl drumline promote` or `rollback`.",
    )
    analysis: CanaryAnalysis = Field(default=CanaryAnalysis(), description="What it must show.")


class Rollout(ApiModel):
    """How groups of an old revision give way to new ones: whole groups, all roles in step."""

    max_surge: int = Field(
        default=1, ge=0, le=MAX_REPLICAS, description="Groups of a role beyond its replicas, at most."
    )
    max_unavailable: int = Field(
        default=0,
        ge=0,
        le=MAX_REPLICAS,
        description="Groups of a role out of service, at most; maxSurge and maxUnavailable are not both 0.",
    )
    partition: int = Field(
        default=0, ge=0, le=MAX_REPLICAS, description="Groups of each role that keep the old revision."
    )
    paused: bool = Field(default=False, description="True: no group is replaced for a new revision.")
    canary: Canary | None = Field(default=None, description="A few groups of a new revision go first.")
    revision_history_limit: int = Field(
        default=10, ge=1, le=100, description="Revisions kept to roll back to, beside those in use."
    )


class Drain(ApiModel):
    """How a group goes without dropping a request."""

    timeout_seconds: int = Field(
        default=300,
        ge=0,
        le=86400,
        description="Longest wait for requests in flight (and KV hand-off) after a group was taken out of service.",
    )
    settle_seconds: int = Field(
        default=5,
        ge=0,
        le=600,
        description="Wait at least so long: until every proxy has heard that the group is out of service.",
    )


class ServiceFailurePolicy(ApiModel):
    """When to stop restarting a group."""

    max_restarts: int = Field(
        default=10, ge=0, le=10000, description="Restarts of a group within windowSeconds, at most."
    )
    window_seconds: int = Field(
        default=3600,
        ge=60,
        le=604800,
        description="A group that ran so long begins with a fresh budget, seconds.",
    )
    backoff: Backoff = Field(default=Backoff(), description="Delay before a restart.")
