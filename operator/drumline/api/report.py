"""A progress report: what one reporter says of its job's time. One format for all four ways of reporting.

A reporter stands for one attempt and epoch of a job (or of one slice). Its clock is monotonic, in
milliseconds since it began; nothing in a report is wall time. A report is cumulative: it holds every span
that the operator has not said it has on record (`durableMs` of the last answer), so that a lost report loses
nothing and a repeated one adds nothing. Spans are in order and do not overlap.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from drumline.api.base import StatusModel

REPORT_VERSION: Final = 1
MAX_REPORT_BYTES: Final = 262_144
MAX_SPANS: Final = 2000
MAX_MS: Final = 10**12  # thirty years
MAX_STEP: Final = 2**53
MAX_NUMBER: Final = 2**31 - 1
MAX_LANE: Final = 32  # characters
AUDIENCE: Final = "drumline"
REPORT_PATH: Final = "/v1/report"


class SpanKind(StrEnum):
    """What the gang did for a while."""

    DEVICE_INIT = "device_init"
    CHECKPOINT_RESTORE = "checkpoint_restore"
    COMPILE = "compile"
    CHECKPOINT_SAVE = "checkpoint_save"  # the blocking part, outside a step
    EVAL = "eval"
    DATA_WAIT = "data_wait"  # outside a step
    STEP = "step"


class Span(StatusModel):
    """One phase, or `count` steps in a row that end with `step`. Parts lie within the duration."""

    kind: SpanKind
    start_ms: int = Field(ge=0, le=MAX_MS)
    duration_ms: int = Field(ge=0, le=MAX_MS)
    step: int = Field(default=-1, ge=-1, le=MAX_STEP)
    count: int = Field(default=1, ge=1, le=10**9)
    stall_ms: int = Field(default=0, ge=0, le=MAX_MS, description="Of which waiting for input.")
    save_ms: int = Field(default=0, ge=0, le=MAX_MS, description="Of which blocked by saving a checkpoint.")
    eval_ms: int = Field(default=0, ge=0, le=MAX_MS, description="Of which evaluation.")
    compute_ms: int = Field(
        default=0,
        ge=0,
        le=MAX_MS,
        description="Of which this worker's own work, waiting neither for input nor a peer.",
    )
    tokens: int = Field(default=0, ge=0, le=2**62, description="Of all chips together.")
    flops: float = Field(default=0.0, ge=0, le=1e30, description="Model FLOPs of all chips together.")


class OpenSpan(StatusModel):
    """What is under way: a phase that has no end yet."""

    kind: SpanKind
    start_ms: int = Field(ge=0, le=MAX_MS)


class Commit(StatusModel):
    """A checkpoint that became durable and covers every step up to `step`."""

    step: int = Field(ge=-1, le=MAX_STEP)
    at_ms: int = Field(ge=0, le=MAX_MS)


class JobRef(StatusModel):
    """Whose report it is."""

    namespace: str = Field(min_length=1, max_length=63)
    name: str = Field(min_length=1, max_length=63)
    uid: str = Field(min_length=1, max_length=64)


class ReportSource(StrEnum):
    """Which of the ways it came."""

    REPORT = "report"  # the worker library
    LAUNCHER = "launcher"
    LOG = "log"
    SCRAPE = "scrape"


class Report(StatusModel):
    """One report."""

    version: int = Field(ge=1, le=REPORT_VERSION)
    job: JobRef
    attempt: int = Field(ge=1, le=MAX_NUMBER)
    epoch: int = Field(default=0, ge=0, le=MAX_NUMBER)
    slice: int = Field(default=0, ge=0, le=MAX_NUMBER)
    worker: int = Field(default=0, ge=0, le=MAX_NUMBER)
    source: ReportSource = ReportSource.REPORT
    origin: str = Field(
        default="",
        max_length=64,
        description="Unique to one life of the reporter: another one begins a new clock.",
    )
    sequence: int = Field(default=0, ge=0, le=2**53)
    sent_ms: int = Field(ge=0, le=MAX_MS, description="The reporter's clock when it sent this.")
    resumed_step: int | None = Field(
        default=None,
        ge=-1,
        le=MAX_STEP,
        description="The step that training went on from, when the reporter knows.",
    )
    spans: tuple[Span, ...] = Field(default=(), max_length=MAX_SPANS)
    open: OpenSpan | None = None
    commits: tuple[Commit, ...] = Field(default=(), max_length=MAX_SPANS)
    slow: dict[Annotated[str, Field(max_length=MAX_LANE)], Annotated[int, Field(ge=0, le=MAX_MS)]] = Field(
        default_factory=dict,
        max_length=4096,
        description="Median step time of workers, ms, by <slice>-<worker>, when the reporter knows them.",
    )
    exit: str = Field(default="", max_length=4096, description="How the process ended, and its last lines.")
    old_python: str = Field(
        default="",
        max_length=64,
        description="Version of a Python that is too old for the launcher: the command runs without it.",
    )
    final: bool = False


class Receipt(StatusModel):
    """The answer: everything up to `durable_ms` of the reporter's clock is on record and need not come again."""

    durable_ms: int = 0
    interval_seconds: float = 10.0  # until the next report is welcome
