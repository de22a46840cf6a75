"""What the ledger is folded from. Times are integer Unix milliseconds of the operator's clock.

Pods and nodes say in which base state each lane is; reports say what a gang that is up did with its time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from drumline.api.goodput import State
from drumline.api.report import Report


@dataclass(frozen=True, slots=True)
class LanesChanged:
    """Lanes entered a base state. `state` None = up: ready, its time belongs to what reports say.

    `at` comes from the pods where they say it, so it may lie before events that were already folded: it is
    moved forward to where each lane's account stands.
    """

    at: int
    states: Mapping[int, State | None]  # lane → state; lanes that are not named stay as they are


@dataclass(frozen=True, slots=True)
class LanesResized:
    """The gang has so many lanes from now on; new ones begin in `state`, those beyond the end cease."""

    at: int
    lanes: int
    state: State


@dataclass(frozen=True, slots=True)
class AttemptBegan:
    """A new attempt, or a new epoch of it. `restart`: after a failure, so that its way back is recovery."""

    at: int
    attempt: int
    epoch: int
    restart: bool


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """The attempt's processes are over. What they did beyond the last durable step may be lost.

    `failed`: by a failure (what follows is recovery); false for a suspension, a success or a requeue.
    """

    at: int
    attempt: int
    failed: bool
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class Closed:
    """The job is over. `success` settles provisional time as productive, failure as lost."""

    at: int
    success: bool


@dataclass(frozen=True, slots=True)
class Reported:
    """A report arrived."""

    at: int
    report: Report


@dataclass(frozen=True, slots=True)
class Compared:
    """The workers of an attempt and epoch were compared: which are slow, and how long a step takes them, ms."""

    at: int
    attempt: int
    epoch: int
    slow: Mapping[str, int]  # by <slice>-<worker>


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time passed."""

    at: int


Event = LanesChanged | LanesResized | AttemptBegan | AttemptEnded | Closed | Reported | Compared | Ticked
