"""What the launchers of a gang say of their processes, and what they are told: ``POST /v1/orders``.

A launcher asks; the answer comes as soon as there is something else to do than what it knows (`digest`), or after
`HOLD_SECONDS`. So the operator reaches every process of a gang within a moment, and nothing in the cluster has to
be written for it. Both sides are levels, not events: a launcher says all that is true of it each time, and orders
hold until others replace them, so that a lost message, or another leader, changes nothing.

An *epoch* is a generation of processes within an attempt. Orders of a later epoch than a launcher's end its
process; with `go` the process of that epoch starts, without it the launcher waits: that is the barrier.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from pydantic import Field

from drumline.api.base import StatusModel
from drumline.api.report import MAX_NUMBER, JobRef

ORDERS_PATH: Final = "/v1/orders"
HOLD_SECONDS: Final = 50.0
MAX_TEXT: Final = 4096
MAX_STACKS: Final = 32_768


class ProcessState(StrEnum):
    """What a launcher's process does."""

    RUNNING = "Running"
    ENDED = "Ended"  # by itself; the launcher waits to be told what follows
    HELD = "Held"  # none runs: the launcher is at the barrier


class OrderKind(StrEnum):
    """Something that is to be done once."""

    NONE = ""
    STACKS = "Stacks"  # collect the stacks of all processes and tell them
    CHECKPOINT = "Checkpoint"  # send the process the signal by which it saves a checkpoint


class Muster(StatusModel):
    """What a launcher says."""

    version: int = Field(ge=1, le=1)
    job: JobRef
    attempt: int = Field(ge=1, le=MAX_NUMBER)
    slice: int = Field(default=0, ge=0, le=MAX_NUMBER)
    worker: int = Field(default=0, ge=0, le=MAX_NUMBER)
    origin: str = Field(max_length=64, description="Unique to one life of the launcher.")
    epoch: int = Field(
        default=0, ge=0, le=MAX_NUMBER, description="Of the process; where none runs, of the one to come."
    )
    state: ProcessState
    exit_code: int = Field(default=0, ge=0, le=255, description="Of a process that ended; 128 + a signal.")
    reason: str = Field(
        default="", max_length=64, description="Why it ended, where the kernel says so: OOMKilled."
    )
    text: str = Field(default="", max_length=MAX_TEXT, description="How it ended, and its last lines.")
    seen: int = Field(default=0, ge=0, le=MAX_NUMBER, description="Number of the last order carried out.")
    stacks: str = Field(default="", max_length=MAX_STACKS, description="The answer to that order.")
    digest: str = Field(default="", max_length=64, description="Of the orders it knows; empty: of none.")


class Orders(StatusModel):
    """What all launchers of an attempt are told."""

    epoch: int = Field(default=0, ge=0, le=MAX_NUMBER)
    go: bool = Field(default=True, description="Whether processes of that epoch may start.")
    grace_seconds: float = Field(default=10.0, ge=0, description="Between SIGTERM and SIGKILL.")
    number: int = Field(default=0, ge=0, le=MAX_NUMBER, description="Of the order below.")
    kind: OrderKind = OrderKind.NONE
    signal: str = Field(default="", max_length=16, description="For Checkpoint, such as SIGUSR1.")

    @property
    def digest(self) -> str:
        """The same for equal orders."""
        parts = (self.epoch, self.go, self.grace_seconds, self.number, self.kind, self.signal)
        return ".".join(str(part) for part in parts)[:64]
