"""`status.goodput`: where a job's accelerator time went.

Unit: accelerator-milliseconds, integers: milliseconds of a lane times its chips (a CPU worker counts as one).
A lane is one worker's place, from the job's creation to its end; at each instant it is in exactly one state.
The sum over `states` and `provisionalMs` is `elapsedMs`, exactly.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from drumline.api.base import StatusModel

MAX_TIMELINE: Final = 128
MAX_RESUME: Final = 16384  # characters of the resume point
MAX_STRAGGLERS: Final = 16

Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


class State(StrEnum):
    """What a lane's time went into. Order is precedence: the first that applies."""

    SUSPENDED = "suspended"
    QUEUED = "queued"
    PROVISIONING = "provisioning"  # admitted, not bound to a node: nothing is held
    BINDING = "binding"  # a place is held, the pod is not bound to it yet
    DRAINING = "draining"  # the pod failed or is being deleted, until it is gone
    IMAGE_PULL = "image_pull"
    POD_INIT = "pod_init"
    GANG_WAIT = "gang_wait"  # own containers up, a peer's not
    DEVICE_INIT = "device_init"
    CHECKPOINT_RESTORE = "checkpoint_restore"
    COMPILE = "compile"
    HANG = "hang"
    CHECKPOINT_SAVE = "checkpoint_save"
    DATA_STALL = "data_stall"
    EVAL = "eval"
    STRAGGLER = "straggler"
    PRODUCTIVE = "productive"
    LOST_PROGRESS = "lost_progress"
    IDLE_TAIL = "idle_tail"  # own work done, peers running
    SPARE = "spare"
    UNKNOWN = "unknown"


NOT_HELD: Final = frozenset({State.SUSPENDED, State.QUEUED, State.PROVISIONING})
RECOVERY: Final = frozenset(  # states whose time after a failure is the price of a restart
    {
        State.QUEUED,
        State.PROVISIONING,
        State.BINDING,
        State.DRAINING,
        State.IMAGE_PULL,
        State.POD_INIT,
        State.GANG_WAIT,
        State.DEVICE_INIT,
        State.CHECKPOINT_RESTORE,
        State.COMPILE,
    }
)


class Source(StrEnum):
    """How a figure was come by: seen by the operator, told by the workers, or worked out from assumptions."""

    OBSERVED = "observed"
    REPORTED = "reported"
    ESTIMATED = "estimated"


class StateTime(StatusModel):
    """Settled time of one state. Never falls."""

    state: str = Field(max_length=32, description="One of the ledger's states.")
    ms: int = Field(description="Accelerator-milliseconds.")
    restart_ms: int = Field(default=0, description="The part of `ms` that a restart cost.")


class Ratio(StatusModel):
    """One derived figure."""

    name: str = Field(
        max_length=32,
        description="scheduling, runtime, program, ettr, ettr_predicted, mfu, mpg, held, data_stall.",
    )
    value: str = Field(max_length=16, description="Decimal; 0 to 1, four places.")
    source: str = Field(max_length=16, description="observed, reported or estimated.")


class StepTimes(StatusModel):
    """Distribution of step times since the job began."""

    count: int = Field(default=0, description="Steps seen.")
    sum_ms: int = Field(default=0, description="Their wall time.")
    median_ms: int = Field(default=0, description="Median of the latest steps.")
    mad_ms: int = Field(default=0, description="Median absolute deviation of the latest steps.")
    p90_ms: int = Field(default=0, description="90th percentile of the latest steps.")
    p99_ms: int = Field(default=0, description="99th percentile of the latest steps.")
    buckets: tuple[int, ...] = Field(
        default=(), description="Steps by duration; not cumulative; bounds are the step histogram's."
    )


STEP_BUCKETS_MS: Final = (
    10,
    25,
    50,
    100,
    250,
    500,
    1000,
    2500,
    5000,
    10_000,
    30_000,
    60_000,
    300_000,
)  # + more


class Straggler(StatusModel):
    """A worker that takes longer for its own part of every step than median + 3·MAD of all."""

    lane: str = Field(max_length=32, description="<slice>-<worker>.")
    median_ms: int = Field(description="Median of what it takes.")
    since: Time | None = Field(default=None, description="Since when it is.")


class GoodputStatus(StatusModel):
    """The ledger of a job as of `at`. Everything in it only grows, but for provisional time and ratios."""

    at: Time = Field(description="Up to when it accounts.")
    started_at: Time = Field(description="From when: the creation of the job.")
    lanes: int = Field(default=0, description="Workers.")
    chips_per_lane: int = Field(default=1, description="Chips of one worker; 1 for a CPU worker.")
    source: str = Field(
        default="observed",
        max_length=16,
        description="reported: workers told what they did. observed: pods and nodes alone. estimated: part of "
        "the split rests on assumptions.",
    )
    elapsed_ms: int = Field(default=0, description="Accelerator-milliseconds in all.")
    held_ms: int = Field(default=0, description="Those in which accelerators were held.")
    gang_ready_ms: int = Field(default=0, description="Those in which every worker was ready.")
    provisional_ms: int = Field(
        default=0, description="Those not settled yet: done since the last durable checkpoint."
    )
    states: tuple[StateTime, ...] = Field(
        default=(),
        description="Settled time by state.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["state"]},
    )
    step: int = Field(default=-1, description="Latest step; -1 = none yet.")
    committed_step: int = Field(default=-1, description="Latest step that a durable checkpoint covers.")
    lost_steps: int = Field(default=0, description="Steps that were run again.")
    tokens: int = Field(default=0, description="Tokens of settled productive steps.")
    last_progress_at: Time | None = Field(default=None, description="When the latest step ended.")
    last_checkpoint_at: Time | None = Field(
        default=None, description="When the latest checkpoint became durable."
    )
    hangs: int = Field(default=0, description="Times without progress for too long.")
    step_times: StepTimes = Field(default=StepTimes(), description="Distribution of step times.")
    checkpoint_saves: int = Field(default=0, description="Blocking saves seen.")
    checkpoint_restores: int = Field(default=0, description="Restores seen.")
    stragglers: tuple[Straggler, ...] = Field(
        default=(), max_length=MAX_STRAGGLERS, description="Slow workers, the slowest first."
    )
    tokens_per_second: str | None = Field(
        default=None, max_length=24, description="Of the latest steps; decimal."
    )
    ratios: tuple[Ratio, ...] = Field(
        default=(),
        description="Derived figures.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    cost_dollars: str | None = Field(
        default=None, max_length=24, description="Held time at the catalogue's price; decimal."
    )
    badput_dollars: str | None = Field(
        default=None, max_length=24, description="The part of it that was not productive; decimal."
    )
    energy_joules: int | None = Field(
        default=None, description="Held time at the catalogue's watts: an estimate."
    )
    timeline: tuple[Annotated[str, Field(max_length=64)], ...] = Field(
        default=(),
        max_length=MAX_TIMELINE,
        description="What most lanes did, from `startedAt` on: `<state>:<wall milliseconds>:<attempt>`, oldest "
        "first; provisional time is shown as `provisional`. Short spans are merged when it grows too long.",
    )
    resume: str = Field(
        default="",
        max_length=MAX_RESUME,
        description="For the operator: where to go on after a restart. Base64 of zlib of JSON.",
    )
