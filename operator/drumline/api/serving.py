"""`status.serving` of an InferenceService: where its accelerator time went and what came of it.

Unit: accelerator-milliseconds, integers: milliseconds of a group times its chips (a CPU pod counts as one). A
group counts from when it is wanted to when it is gone; at each instant it is in exactly one state. The sum over
`states` is `elapsedMs`, exactly. Counters never fall.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from drumline.api.base import StatusModel
from drumline.api.goodput import StateTime

MAX_RESUME: Final = 262144

Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


class ServingState(StrEnum):
    """What a group's time went into."""

    QUEUED = "queued"  # waits for a place, nothing is held
    BINDING = "binding"  # a place is held, not all pods are bound to it
    IMAGE_PULL = "image_pull"
    POD_INIT = "pod_init"
    LOADING = "loading"  # containers run, the group is not in service: weights, compilation
    SERVING = "serving"  # in service with requests
    IDLE = "idle"  # in service without any
    DRAINING = "draining"  # out of service for good, or being deleted
    UNKNOWN = "unknown"


NOT_HELD: Final = frozenset({ServingState.QUEUED})


class RoleServing(StatusModel):
    """One role's account."""

    role: str = Field(max_length=63, description="Role.")
    states: tuple[StateTime, ...] = Field(default=(), description="Settled time by state.")
    prompt_tokens: int = Field(default=0, description="Prompt tokens of its engines' counters.")
    generation_tokens: int = Field(default=0, description="Tokens put out, by its engines' counters.")
    requests: int = Field(default=0, description="Requests answered.")
    failed_requests: int = Field(default=0, description="Requests that failed.")
    ttft_met: int = Field(default=0, description="First tokens within the SLO, of those measured.")
    ttft_measured: int = Field(default=0, description="First tokens measured against the SLO.")
    tpot_met: int = Field(default=0, description="Tokens within the SLO, of those measured.")
    tpot_measured: int = Field(default=0, description="Tokens measured against the SLO.")
    draft_tokens: int = Field(default=0, description="Tokens guessed by speculation.")
    accepted_tokens: int = Field(default=0, description="Guessed tokens that were right.")


class ServingStatus(StatusModel):
    """The account of a service."""

    at: Time | None = Field(default=None, description="Moment it speaks of.")
    elapsed_ms: int = Field(default=0, description="Accelerator-milliseconds in all.")
    held_ms: int = Field(default=0, description="Of these with a place held.")
    roles: tuple[RoleServing, ...] = Field(
        default=(),
        description="By role.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["role"]},
    )
    tokens_per_accelerator_second: float | None = Field(
        default=None, description="Tokens put out for a second of one held accelerator."
    )
    requests_per_accelerator_second: float | None = Field(
        default=None, description="Requests answered for a second of one held accelerator."
    )
    slo_attainment: float | None = Field(
        default=None, description="Share of latencies within the SLO: of TTFT or of TPOT, whichever is less."
    )
    acceptance_rate: float | None = Field(
        default=None, description="Share of guessed tokens that were right."
    )
    cost_usd: float | None = Field(default=None, description="At the catalogue's prices; never falls.")
    resume: str = Field(default="", max_length=MAX_RESUME, description="What the account goes on from.")
