"""What the operator knows of queues: which there are, which one a gang waits in, and what is used of each.

    granted in memory ──→ written in the status ──→ given back, its pods still there ──→ gone

A gang counts in its queue from the grant until the last of its pods is gone that holds a node or may come to hold one,
whoever deletes them. What it counts for is read off its owner's status at each look at that; a leader that takes over
reads all of them before its first round, and counts pods that no status speaks of by their own word. Without any queue nothing of this is kept for admission, and gangs that were
admitted then count in none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from drumline.core.gang.admission import AdmissionRound
from drumline.core.gang.charges import added_up
from drumline.core.gang.queue_choice import QueueEntry, choose
from drumline.core.gang.queue_fit import chips_placed
from drumline.core.gang.queue_quota import QueueQuotas, chips_of
from drumline.core.gang.queues import NO_QUEUES, Queue, Queues, RunningGang
from drumline.core.gang.types import GangRequest, Placement, Pod, Refusal
from drumline.runtime.queue_evictions import Evictions


class QueueBook:
    """What the module says.

    `gone` says of a gang's uid whether none of its pods is left; `changed` is told whom to look at, by uid; `freed` is
    called when quota may have come free that no pod's end told of.
    """

    def __init__(
        self,
        gone: Callable[[str], bool],
        changed: Callable[[str], None],
        clock: Callable[[], float],
        freed: Callable[[], None] = lambda: None,
    ) -> None:
        self.entries: dict[str, QueueEntry] = {}
        self.queues: dict[str, Queue] = {}
        self.namespaces: dict[str, Mapping[str, str]] = {}  # labels by name
        self.unseen = ""  # why namespaces are not known; "" = they are, or need not be
        self.settling = False  # there are queues that are not taken in yet: nobody is let in
        self.version = 0  # of the queues that are taken in
        self.evictions = Evictions(changed)
        self.is_gone = gone
        self._clock = clock
        self._freed = freed
        self.changes = 0  # of anything that a queue's status tells
        self._running: dict[str, RunningGang] = {}
        self._going: set[str] = set()  # of these only pods are left

    def __len__(self) -> int:
        return len(self._running)

    def choose(self, field: str | None, label: str | None, namespace: str) -> str | Refusal:
        """The queue of a gang that holds nothing; "" for none."""
        if not self.entries:
            return ""
        return choose(field, label, namespace, self.namespaces.get(namespace), self.entries, self.unseen)

    def take_in(self, entries: Mapping[str, QueueEntry], queues: Mapping[str, Queue]) -> None:
        """These are the queues from now on. Who is in none has to be asked for again: it may be in one of these."""
        self.entries, self.queues = dict(entries), dict(queues)
        self.settling = False
        self.version += 1
        self.changes += 1

    def is_settled(self, request: GangRequest, asked: int) -> bool:
        """Whether a gang may be let in that was asked for when the queues had the version `asked`."""
        return not self.settling and (bool(request.queue) or asked == self.version)

    def gang(self, uid: str) -> RunningGang | None:
        """What a gang counts for."""
        return self._running.get(uid)

    def hold(self, uid: str, gang: RunningGang | None) -> None:
        """A gang counts for that, by its owner's status; None: it has given all back, or never had any."""
        if gang is None or gang.leaving:
            self.evictions.left(uid)
        known = self._running.get(uid)
        if gang is not None:
            self._running[uid] = gang
            self._going.discard(uid)
            if known is not None and gang.chips < known.chips:
                self._freed()
        elif known is not None and uid not in self._going:
            self._going.add(uid)
            self._running[uid] = replace(known, leaving=True)
            self._freed()  # its last pod may be gone already
        else:
            return
        self.changes += 1

    def inherit(self, pods: Iterable[Pod]) -> None:
        """As a new leader: pods of gangs that no status speaks of count until they are gone, by what they say."""
        gangs: dict[str, list[Pod]] = {}
        for pod in pods:
            if pod.member is not None and pod.member.charge is not None and not pod.terminal:
                gangs.setdefault(pod.member.gang, []).append(pod)
        for uid in gangs.keys() - self._running.keys():
            charge = added_up(gangs[uid])
            if charge is not None:
                self.hold(uid, RunningGang(uid, charge.queue, charge.accelerator, charge.chips, leaving=True))
                self.hold(uid, None)

    def now(self) -> Queues:
        """The queues with all gangs that count in them."""
        self.prune()
        if not self.queues:
            return NO_QUEUES
        return Queues(self.queues, self.evictions.marked(self._running))

    def granted(self, request: GangRequest, placement: Placement) -> None:
        """A gang has got a place in this round, `request` being for the slices that it got."""
        if not request.queue or not chips_of(request):
            return
        known = self._running.get(request.uid)
        chips = max(chips_placed(request, placement), known.chips if known is not None else 0)
        self.hold(
            request.uid,
            RunningGang(
                request.uid, request.queue, request.accelerator, chips, request.priority, self._clock()
            ),
        )

    def decided(
        self,
        result: AdmissionRound,
        targets: Mapping[str, frozenset[str]],
        asking: Mapping[str, GangRequest],
    ) -> None:
        """Take a round in: who was named as a victim, and who need not leave any more."""
        if result.victims or self.evictions:
            self.evictions.decided(result, targets, asking, self._running)

    def slices(self, request: GangRequest) -> int:
        """How many slices of an elastic gang its queue has room for, what it holds included."""
        queues = self.now()
        quotas = QueueQuotas(queues)
        if quotas.queue_of(request) is None:
            return request.slices
        with quotas.without((request.uid,)):
            room = quotas.available(request.queue, request.accelerator)
        return min(request.slices, room // chips_of(request, 1))

    def prune(self) -> bool:
        """Count those no more of which the last pod is gone; whether there were any."""
        gone = [uid for uid in self._going if self.is_gone(uid)]
        for uid in gone:
            self.changes += 1
            self._going.discard(uid)
            self._running.pop(uid, None)
        return bool(gone)
