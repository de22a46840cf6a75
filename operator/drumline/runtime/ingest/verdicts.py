"""What the operator says of a report or a muster, and whose it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from drumline.api.orders import Muster, Orders
from drumline.api.report import Receipt, Report


class Outcome(StrEnum):
    """What became of a report: label `outcome` of `drumline_reports_total`."""

    ACCEPTED = "accepted"
    STALE = "stale"  # of an attempt or epoch that is over
    INVALID = "invalid"  # malformed, too large, or too slow to arrive
    FORBIDDEN = "forbidden"  # nobody's, or not this pod's to send
    LIMITED = "limited"  # more than its share
    NOT_LEADER = "not_leader"  # another replica takes it
    UNAVAILABLE = "unavailable"  # the operator or the API server did not answer


@dataclass(frozen=True, slots=True)
class Reporter:
    """The pod that a report's token was issued to, as the API server says."""

    namespace: str
    pod: str
    uid: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """The report counts. `held_ms`: what ends before, on the reporter's clock, need not reach the operator again.

    The operator holds it, though it may not be on record yet; should it lose it, it says `Unavailable`.
    """

    receipt: Receipt
    held_ms: int = 0


@dataclass(frozen=True, slots=True)
class Stale:
    """It is of an attempt or epoch that is over: its reporter may stop."""

    message: str = "this attempt is over"


@dataclass(frozen=True, slots=True)
class Forbidden:
    """It is not this pod's to send. `gone`: there is no such pod (any more), so forget its token too."""

    message: str
    gone: bool = False


@dataclass(frozen=True, slots=True)
class NotLeader:
    """Another replica takes reports. `retry_after`: seconds until a new connection may find it."""

    retry_after: float = 2.0


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Nobody could say. `retry_after` in seconds."""

    message: str = "the operator is not there"
    retry_after: float = 2.0


@dataclass(frozen=True, slots=True)
class Heard:
    """The muster is its pod's, of an attempt that runs: the pod may wait for orders."""


@dataclass(frozen=True, slots=True)
class Told:
    """What all launchers of an attempt are told; `over`: nothing more, ever."""

    uid: str  # of the job
    attempt: int
    orders: Orders | None
    over: bool = False


Verdict = Accepted | Stale | Forbidden | NotLeader | Unavailable
MusterVerdict = Heard | Stale | Forbidden | NotLeader | Unavailable
Deliver = Callable[[Report, Reporter, int], Verdict]  # spans that end before so many ms were left out
Hear = Callable[[Muster, Reporter], MusterVerdict]
Count = Callable[[str, int], None]  # outcome, how many more


def not_leading(_report: Report, _reporter: Reporter, _since: int) -> Verdict:
    """The answer of a replica that does not lead."""
    return NotLeader()


def deaf(_muster: Muster, _reporter: Reporter) -> MusterVerdict:
    """The same to a muster."""
    return NotLeader()
