"""Who has to leave for whom: told from the round that named it until it has left, or is needed no more.

A victim is forgotten when it gives its nodes back, when it is gone, or when nothing is kept any more for the gang it was
to leave for: because that began, stopped asking, or finds a place without. A victim that is admitted again meanwhile is
none any more, so no claim waits for it. A successor starts with none; its first rounds name victims anew.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

from drumline.core.gang.admission import AdmissionRound
from drumline.core.gang.preemption import Claim
from drumline.core.gang.queues import Eviction, RunningGang
from drumline.core.gang.types import GangRequest

Running = Mapping[str, RunningGang]
Targets = Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class _Told:
    by: str  # uid
    eviction: Eviction


class Evictions:
    """`changed` is called with the uid of a gang that has something new to hear."""

    def __init__(self, changed: Callable[[str], None]) -> None:
        self.named: dict[str, int] = {}  # by queue: victims in all
        self._changed = changed
        self._told: dict[str, _Told] = {}  # by victim

    def __len__(self) -> int:
        return len(self._told)

    def of(self, uid: str) -> Eviction | None:
        """Why a gang has to leave; None: it may stay."""
        told = self._told.get(uid)
        return told.eviction if told is not None else None

    def left(self, uid: str) -> None:
        """A gang has given its nodes back."""
        self._told.pop(uid, None)

    def marked(self, running: Running) -> Running:
        """The running gangs, with those marked that were told to leave."""
        marks = {uid: replace(running[uid], leaving=True) for uid in self._told if uid in running}
        return {**running, **marks} if marks else running

    def decided(
        self, result: AdmissionRound, targets: Targets, asking: Mapping[str, GangRequest], running: Running
    ) -> None:
        """Take a round in. `targets` are all that are kept now; `asking` is who was asked about, by uid."""
        for uid, told in list(self._told.items()):
            if uid not in running:
                del self._told[uid]
            elif not _needed(uid, targets.get(told.by)):
                self._withdraw(uid)
        for by, uids in result.victims.items():
            for uid in uids:
                self._tell(asking[by], uid, running[uid])

    def forget_for(self, by: str) -> None:
        """A gang asks no more: nobody has to leave for it."""
        for uid in [uid for uid, told in self._told.items() if told.by == by]:
            self._withdraw(uid)

    def _tell(self, by: GangRequest, uid: str, victim: RunningGang) -> None:
        eviction = Eviction(f"{by.namespace}/{by.name}", _message(by, victim))
        self._told[uid] = _Told(by.uid, eviction)
        self.named[victim.queue] = self.named.get(victim.queue, 0) + 1
        self._changed(uid)

    def _withdraw(self, uid: str) -> None:
        del self._told[uid]
        self._changed(uid)


def relieved(targets: Targets, admitted: Collection[str]) -> Targets:
    """The targets, waiting no more for victims that have been admitted again."""
    return {
        uid: Claim.of(kept, kept.victims.difference(admitted), kept.chips)
        if isinstance(kept, Claim) and not kept.victims.isdisjoint(admitted)
        else kept
        for uid, kept in targets.items()
    }


def _message(by: GangRequest, victim: RunningGang) -> str:
    if by.queue == victim.queue:
        return f"it has a higher priority in queue {by.queue}, {by.priority} over {victim.priority}"
    return f"it is of queue {by.queue}, whose cohort's quota queue {victim.queue} borrows"


def _needed(uid: str, claim: frozenset[str] | None) -> bool:
    return isinstance(claim, Claim) and uid in claim.victims
