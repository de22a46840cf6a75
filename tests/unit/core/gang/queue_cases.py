"""What tests of queues share: short ways to queues, running gangs and rounds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from drumline.core.gang.admission import AdmissionRound, admit
from drumline.core.gang.capacity import Capacity
from drumline.core.gang.queues import Queue, QueueQuota, Queues, RunningGang
from drumline.core.gang.types import GangRequest, Placement
from tests.builders import H100, gang

WAIT = 300.0
NOW = 1000.0


def queue(
    name: str, nominal: int = 16, borrow: int | None = None, lend: int | None = None, **more: Any
) -> Queue:
    """A queue with a quota of one type, of cohort `all` unless told otherwise."""
    quotas = {H100: QueueQuota(nominal, borrow, lend)}
    return Queue(name, **{"cohort": "all", "quotas": quotas, **more})


def runs(uid: str, of: str, chips: int = 8, **more: Any) -> RunningGang:
    """A gang that runs since the beginning of time."""
    return RunningGang(uid, of, H100, chips, **more)


def queues(*every: Queue, running: Iterable[RunningGang] = ()) -> Queues:
    """Queues and what runs in them."""
    return Queues({q.name: q for q in every}, {r.uid: r for r in running})


def hold(state: Capacity, uid: str, *nodes: str) -> None:
    """Let a gang hold whole nodes."""
    state.reserve(gang(uid, len(nodes)), Placement(nodes))


def decide(
    state: Capacity, known: Queues, *pending: GangRequest, now: float = NOW, **more: Any
) -> AdmissionRound:
    """A round; nobody has waited long unless told so."""
    return admit(pending, state, now, more.pop("wait", 1e9), queues=known, **more)


def names(result: AdmissionRound) -> list[str]:
    """Who was granted, in order."""
    return [uid for uid, _ in result.granted]
