"""What each queue uses of each accelerator type, and what it may still take. Quantities are chips.

A queue's own quota is in two parts: what it lends to nobody (nominal - lendable), and what lies in its cohort's
pool (lendable). A queue uses its own part first, then the pool; so

    pool taken = sum over the cohort's queues of max(0, used - own part)
    may take   = max(0, own part - used) + max(0, pool - pool taken), at most nominal + borrowing limit - used

and what is lent of a queue can never exceed its lending limit, whoever borrows. A queue of no cohort has no pool.
All of it is kept as running sums: an answer costs nothing that grows with the number of queues or gangs.

What is *claimed* is kept for a gang that waits. Nobody else may take it, but it is not used: it makes no queue a
borrower.

Share: the dominant one, max over types of (used - nominal) / what the cohort's queues lend, by weight. 0 for a queue
that borrows nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from math import inf
from typing import Final

from drumline.api.reasons import Reason
from drumline.core.gang.queues import NO_QUEUES, Queue, QueueQuota, Queues
from drumline.core.gang.types import GangRequest, Refusal

NONE: Final = QueueQuota(0)

Key = tuple[str, str]  # (queue or cohort, accelerator type)
Held = tuple[str, str, int]  # queue, accelerator type, chips


class QueueQuotas:
    """The usage of all queues, kept up while a round goes on."""

    def __init__(self, queues: Queues) -> None:
        self._queues = queues.queues
        self._open = queues is NO_QUEUES
        self._pool: Counter[Key] = Counter()
        self._taken: Counter[Key] = Counter()  # of the pools, by what is used and claimed
        self._used: Counter[Key] = Counter()
        self._claimed: Counter[Key] = Counter()
        self._held: dict[str, Held | None] = {}  # what changed since the beginning; None = nothing
        self._shares: dict[str, tuple[int, float]] = {}  # by queue, with the version that they are of
        self._claims: dict[str, Held] = {}
        for queue in self._queues.values():
            for kind, quota in queue.quotas.items():
                if queue.cohort:
                    self._pool[queue.cohort, kind] += quota.lendable
        self.version = 0  # of what is to be had; `without` leaves it as it is
        self._running = queues.running
        sums: dict[Key, int] = {}
        for gang in queues.running.values():
            key = gang.queue, gang.accelerator
            sums[key] = sums.get(key, 0) + gang.chips
        self._used.update(sums)
        for (name, kind), used in sums.items():
            if cohort := self._cohort(name):
                self._taken[cohort, kind] += max(0, used - self._own(name, kind))

    def queue_of(self, request: GangRequest) -> Queue | None:
        """The queue whose quota a gang needs; None: it needs none, or there is no such queue."""
        return self._queues.get(request.queue) if request.queue and chips_of(request) else None

    def unknown(self, request: GangRequest) -> bool:
        """Whether a gang names a queue that there is not."""
        return bool(request.queue) and not self._open and request.queue not in self._queues

    def counts(self, uid: str) -> bool:
        """Whether a gang holds chips or has some kept for it."""
        return uid in self._running or uid in self._held or uid in self._claims

    def used(self, queue: str, kind: str) -> int:
        """Chips that its gangs hold."""
        return self._used[queue, kind]

    def borrowed(self, queue: str, kind: str) -> int:
        """Chips that its gangs hold beyond its own quota."""
        return max(0, self._used[queue, kind] - self._quota(queue, kind).nominal)

    def claimed(self, queue: str, kind: str) -> int:
        """Chips that are kept for gangs of its that wait."""
        return self._claimed[queue, kind]

    def available(self, queue: str, kind: str) -> int:
        """Chips that a queue may still take."""
        quota, taken = self._quota(queue, kind), self._used[queue, kind] + self._claimed[queue, kind]
        room = max(0, self._own(queue, kind) - taken) + self.pool_left(queue, kind)
        if quota.borrowing_limit is not None:
            room = min(room, quota.nominal + quota.borrowing_limit - taken)
        return max(0, room)

    def pool_left(self, queue: str, kind: str) -> int:
        """Chips that the cohort's queues lend and nobody uses; 0 without a cohort."""
        cohort = self._cohort(queue)
        return max(0, self._pool[cohort, kind] - self._taken[cohort, kind]) if cohort else 0

    def pool(self, queue: str, kind: str) -> int:
        """Chips that the cohort's queues lend in all; 0 without a cohort."""
        cohort = self._cohort(queue)
        return self._pool[cohort, kind] if cohort else 0

    def most(self, queue: str, kind: str) -> int:
        """Chips that a queue could have if nobody else of the cohort used any."""
        quota, cohort = self._quota(queue, kind), self._cohort(queue)
        room = self._own(queue, kind) + (self._pool[cohort, kind] if cohort else 0)
        return room if quota.borrowing_limit is None else min(room, quota.nominal + quota.borrowing_limit)

    def nominal(self, queue: str, kind: str) -> int:
        """A queue's own quota."""
        return self._quota(queue, kind).nominal

    def share(self, name: str) -> float:
        """A queue's weighted dominant share; 0 for none and for what is no queue."""
        version, share = self._shares.get(name, (-1, 0.0))
        if version != self.version:
            share = self._share(name)
            self._shares[name] = self.version, share
        return share

    def _share(self, name: str) -> float:
        queue = self._queues.get(name)
        if queue is None or not queue.cohort:
            return 0.0
        shares = (
            self.borrowed(name, kind) / pool if (pool := self._pool[queue.cohort, kind]) else 0.0
            for kind in queue.quotas
        )
        dominant = max(shares, default=0.0)
        return dominant / queue.weight if queue.weight else (inf if dominant else 0.0)

    def grant(self, request: GangRequest, chips: int) -> None:
        """A gang begins with so many chips, in place of what it held or claimed."""
        self.version += 1
        self.unclaim(request.uid)
        self._let_go(request.uid)
        if self.queue_of(request) is not None:
            self._hold(request.uid, (request.queue, request.accelerator, chips))

    def claim(self, request: GangRequest, chips: int) -> None:
        """Keep so many chips for a gang, in place of what was kept for it before."""
        self.version += 1
        self.unclaim(request.uid)
        if self.queue_of(request) is not None:
            held = self._claims[request.uid] = (request.queue, request.accelerator, chips)
            self._shift(held, self._claimed, 1)

    def unclaim(self, uid: str) -> None:
        """Keep nothing for a gang any more."""
        held = self._claims.pop(uid, None)
        if held is not None:
            self.version += 1
            self._shift(held, self._claimed, -1)

    @contextmanager
    def without(self, uids: Iterable[str]) -> Iterator[None]:
        """Inside the block these gangs hold nothing and nothing is kept for them."""
        those = set(uids)
        held = {uid: holding for uid in those if (holding := self._holding(uid)) is not None}
        claims = {uid: self._claims[uid] for uid in those & self._claims.keys()}
        for table, counter in ((held, self._used), (claims, self._claimed)):
            for each in table.values():
                self._shift(each, counter, -1)
        try:
            yield
        finally:
            for table, counter in ((held, self._used), (claims, self._claimed)):
                for each in table.values():
                    self._shift(each, counter, 1)

    def _hold(self, uid: str, held: Held) -> None:
        self._held[uid] = held
        self._shift(held, self._used, 1)

    def _let_go(self, uid: str) -> None:
        held = self._holding(uid)
        if held is not None:
            self._held[uid] = None
            self._shift(held, self._used, -1)

    def _holding(self, uid: str) -> Held | None:
        if uid in self._held:
            return self._held[uid]
        gang = self._running.get(uid)
        return None if gang is None else (gang.queue, gang.accelerator, gang.chips)

    def _shift(self, held: Held, counter: Counter[Key], sign: int) -> None:
        queue, kind, chips = held
        own, cohort = self._own(queue, kind), self._cohort(queue)
        before = self._used[queue, kind] + self._claimed[queue, kind]
        counter[queue, kind] += sign * chips
        after = before + sign * chips
        if cohort:
            self._taken[cohort, kind] += max(0, after - own) - max(0, before - own)

    def _quota(self, name: str, kind: str) -> QueueQuota:
        queue = self._queues.get(name)
        return NONE if queue is None else queue.quotas.get(kind, NONE)

    def _cohort(self, name: str) -> str:
        queue = self._queues.get(name)
        return "" if queue is None else queue.cohort

    def _own(self, name: str, kind: str) -> int:
        """What a queue lends to nobody."""
        quota = self._quota(name, kind)
        return quota.nominal - quota.lendable if self._cohort(name) else quota.nominal


def chips_of(request: GangRequest, slices: int | None = None) -> int:
    """Chips of a gang, or of so many of its slices, spares left out."""
    if not request.accelerator:
        return 0
    count = request.slices if slices is None else slices
    return count * request.workers_per_slice * request.chips_per_worker


def over_quota(request: GangRequest, quotas: QueueQuotas, chips: int) -> Refusal:
    """Why a queue has no room for so many chips of a gang, in numbers."""
    name, kind = request.queue, request.accelerator
    queue = quotas.queue_of(request)
    if queue is None:
        return Refusal(Reason.QUEUE_QUOTA, f"there is no AcceleratorQueue {name}")
    quota = queue.quotas.get(kind)
    if quota is None:
        known = ", ".join(sorted(queue.quotas)) or "none"
        return Refusal(Reason.QUEUE_QUOTA, f"queue {name} has no quota of {kind}; it has: {known}")
    most = quotas.most(name, kind)
    if chips > most:
        return Refusal(Reason.QUEUE_QUOTA, _beyond(chips, kind, queue, most))
    text = f"needs {chips} × {kind}; queue {name} may take {quotas.available(name, kind)} more: quota {quota.nominal}, "
    text += f"{quotas.used(name, kind)} used, {quotas.borrowed(name, kind)} of them borrowed"
    if kept := quotas.claimed(name, kind):
        text += f", {kept} kept for gangs that go first"
    if queue.cohort:
        text += f"; cohort {queue.cohort} has {quotas.pool_left(name, kind)} of {quotas.pool(name, kind)} left to lend"
        if quota.borrowing_limit is not None:
            text += f", of which the queue may borrow {quota.borrowing_limit} in all"
    return Refusal(Reason.QUEUE_QUOTA, text)


def _beyond(chips: int, kind: str, queue: Queue, most: int) -> str:
    """That a queue can never take so many chips, and what limits it."""
    quota = queue.quotas[kind]
    text = f"needs {chips} × {kind}; queue {queue.name} may have {most} at most: quota {quota.nominal}"
    if not queue.cohort:
        return f"{text}, no cohort to borrow from"
    limited = quota.borrowing_limit is not None and most == quota.nominal + quota.borrowing_limit
    return (
        f"{text}, {'borrowing limit' if limited else f'cohort {queue.cohort} lends'} {most - quota.nominal}"
    )
