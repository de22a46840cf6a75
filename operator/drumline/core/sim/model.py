"""What a simulation is made of. Times are seconds since the trace's beginning, quantities chips."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from drumline.core.gang.power import NO_POWER, Power
from drumline.core.gang.queues import Queue
from drumline.core.gang.types import GangRequest
from drumline.core.training.observation import Settings

HOUR: Final = 3600.0
DAY: Final = 86400.0

Draw = Callable[[], float]  # the next of independent numbers, uniform in [0, 1)


@dataclass(frozen=True, slots=True)
class SimJob:
    """A job of the trace. Gangs of the same `kind` ask for the same and differ in name, age and priority alone."""

    request: GangRequest
    duration: float  # productive seconds that it needs
    kind: int
    failures: tuple[
        float, ...
    ] = ()  # seconds of running, all attempts together, after which its program fails

    @property
    def uid(self) -> str:
        """What it is known by."""
        return self.request.uid

    @property
    def chips(self) -> int:
        """Of the whole gang."""
        return self.request.workers * self.request.chips_per_worker


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds during a simulation. 0 = no such failures, no checkpoints, no start-up time."""

    head_wait: float = 300.0
    startup: float = 0.0  # from the begin of an attempt until it makes progress
    checkpoint_interval: float = 0.0  # of progress; 0: a failure loses everything
    node_mtbf: float = 0.0  # mean time between failures of one node
    repair: float = HOUR
    gang_timeout: float = 120.0  # for how long a gang that seeks other nodes keeps those it has
    exclude: float = Settings().exclude_seconds
    horizon: float = 365 * DAY  # after the last arrival; whoever has not ended by then is cut off
    weights: Mapping[str, float] = field(default_factory=dict)  # by queue, for fairness; else 1
    queues: Mapping[str, Queue] = field(default_factory=dict)  # by name; without any there are no quotas
    power: Power = NO_POWER


class End(StrEnum):
    """How it went."""

    COMPLETED = "completed"
    IMPOSSIBLE = "impossible"  # more than the whole cluster could ever hold
    UNFINISHED = "unfinished"  # cut off


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a job."""

    job: SimJob
    end: End
    first_start: float | None = None
    finished: float | None = None
    attempts: int = 0
    held: float = 0.0  # chip-seconds
    lost: float = 0.0  # chip-seconds of progress that failures undid
    productive: float = 0.0  # chip-seconds of progress that counts
    why: str = ""  # it is impossible

    @property
    def wait(self) -> float | None:
        """Seconds from submission to its first start; None when it never started."""
        return None if self.first_start is None else self.first_start - self.job.request.queued_at


@dataclass(frozen=True, slots=True)
class Sample:
    """The cluster from `at` on."""

    at: float
    held: int
    free: int  # on nodes that are well
    down: int  # on nodes that failed, held by nobody
    waiting: int  # gangs
    running: int  # gangs that hold nodes
    stranded: int  # free chips that no waiting gang could use; 0 while nobody waits
