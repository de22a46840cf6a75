"""Which gangs have to leave so that one that waits can begin. Nobody is named before it is known to be enough.

1. A queue's policy says who may have to: gangs of lower priority in the queue itself; and, while the queue is within
   its own quota with the gang, gangs of other queues of its cohort that borrow. Nobody who has not run for
   `min_run_seconds` of the gang's queue, nobody who is leaving already, nobody of another accelerator type.
2. Those that are leaving are taken to be gone. If the gang fits then, it waits for them and nobody else goes. Who
   was told to leave for this very gang is waited for in any case.
3. Else candidates, lower priority first, then by least loss: the shortest beginning whose end lets the gang in, by
   quota and by nodes together; then each is kept that need not go, the costliest first (`fewest`). A queue
   is not pushed below its own quota: the last of its victims goes while it still borrows. Candidates are first
   taken in turn so that this holds; if those do not help, from all, and what was found must hold.

What is found for a gang is kept for it: nodes as a `Claim`, and the quota. Who has a claim is first in line in the
next rounds, so that a victim that is queued again can't take back what it left. A bounded number of searches is made
in a round; of gangs that ask for the same, one. Where that does not reach everybody, those that were searched for in
vain are passed over in the next rounds (`tried`) until all others have had their turn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

from drumline.api.queue import Reclaim, WithinQueue
from drumline.core.gang.capacity import Capacity
from drumline.core.gang.fewest import needed, shortest_beginning
from drumline.core.gang.placement_elastic import fewest
from drumline.core.gang.placement_memo import needs
from drumline.core.gang.queue_fit import chips_placed, fit
from drumline.core.gang.queue_quota import QueueQuotas, chips_of
from drumline.core.gang.queues import Queue, Queues, RunningGang
from drumline.core.gang.types import GangRequest, Placement, Refusal

MAX_SEARCHES: Final = 8  # in a round
MAX_DROPS: Final = 64  # of more victims than that only the costliest are asked for whether they could stay


class Claim(frozenset[str]):
    """Nodes kept for a gang for which others were told to leave."""

    victims: frozenset[str]
    chips: int

    @classmethod
    def of(cls, nodes: Iterable[str], victims: Iterable[str], chips: int) -> Claim:
        """Keep `nodes` and `chips` of the queue's quota; `victims` are uids."""
        claim = cls(nodes)
        claim.chips = chips
        claim.victims = frozenset(victims)
        return claim


@dataclass(frozen=True, slots=True)
class Way:
    """How a gang can begin: when these have left, on these nodes."""

    request: GangRequest  # as it would begin
    nodes: frozenset[str]
    chips: int  # that it would take, those of its spares included
    victims: tuple[RunningGang, ...] = ()  # to be told now
    told: frozenset[str] = frozenset()  # uids, for this gang, before


class Preemption:
    """The searches of one round."""

    def __init__(
        self,
        queues: Queues,
        quotas: QueueQuotas,
        capacity: Capacity,
        now: float,
        kept: Mapping[str, frozenset[str]],
        tried: frozenset[Hashable] = frozenset(),
    ) -> None:
        self.unreached = False  # whether somebody had no turn
        self.soonest = inf  # seconds until another gang will have run long enough to be preempted
        self._queues = queues
        self._quotas = quotas
        self._capacity = capacity
        self._now = now
        self._claims = {
            uid: (claim, claim.victims & queues.running.keys())
            for uid, claim in kept.items()
            if isinstance(claim, Claim)
        }
        leaving = {gang.uid for gang in queues.running.values() if gang.leaving}
        leaving.update(*(told for _, told in self._claims.values()))
        self._leaving = {uid: queues.running[uid].accelerator for uid in leaving}
        self._running: dict[tuple[str, str], list[RunningGang]] | None = None
        self._searches = MAX_SEARCHES
        self._in_vain: set[Hashable] = set()
        self._tried = tried
        self._failed: set[Hashable] = set()

    @property
    def tried(self) -> frozenset[Hashable]:
        """Whom to pass over in the next round, since there are others that no round has reached."""
        return self._tried | self._failed if self.unreached else frozenset()

    def find(self, request: GangRequest) -> Way | None:
        """A way for a gang that can't begin now; None if there is none, or it may not preempt."""
        queue = self._quotas.queue_of(request)
        if queue is None or (queue.within_queue is WithinQueue.NEVER and queue.reclaim is Reclaim.NEVER):
            return None
        if request.uid in self._claims:
            claim, own = self._claims[request.uid]
            way = self._after(request, (), claim.chips)
            told = own or frozenset(self._gone(request))  # what its own left another one may have taken
            if own or (told and way is not None):
                nodes, chips = (way.nodes, way.chips) if way is not None else (claim, claim.chips)
                return Way(request, nodes, chips, told=told)
        return self._search(request, queue)

    def tell(self, victims: Iterable[RunningGang]) -> None:
        """They are leaving from now on."""
        self._leaving.update((victim.uid, victim.accelerator) for victim in victims)

    def _search(self, request: GangRequest, queue: Queue) -> Way | None:
        key = (queue.name, request.priority, needs(request, self._now))
        fresh = not request.preferred_nodes
        turn = key if fresh else request.uid
        if fresh and key in self._in_vain:
            return None
        if turn in self._tried:
            return None
        if self._searches <= 0:
            self.unreached = True
            return None
        candidates = self._candidates(request, queue)
        leaving = request.accelerator in self._leaving.values()
        self._searches -= bool(candidates) or leaving
        way = self._after(request, ()) if leaving else None
        if way is None and (victims := self._choose(request, candidates)):
            way = self._after(request, victims)
        if way is None:
            self._in_vain.add(key)
            self._failed.add(turn)
        return way

    def _after(self, request: GangRequest, victims: Sequence[RunningGang], most: float = inf) -> Way | None:
        """The way that is open when these and all that are leaving are gone."""
        fitted, answer = self._fit(request, victims, most)
        if isinstance(answer, Refusal):
            return None
        nodes = frozenset(filter(None, answer.nodes))
        return Way(fitted, nodes, chips_placed(fitted, answer), tuple(victims))

    def _fit(
        self, request: GangRequest, victims: Sequence[RunningGang], most: float = inf
    ) -> tuple[GangRequest, Placement | Refusal]:
        gone = self._gone(request) | {victim.uid for victim in victims}
        return fit(request, self._capacity, self._quotas, self._now, gone, most)

    def _gone(self, request: GangRequest) -> set[str]:
        kind = request.accelerator
        return {uid for uid, each in self._leaving.items() if each == kind and uid != request.uid}

    def _choose(self, request: GangRequest, candidates: list[RunningGang]) -> list[RunningGang] | None:
        def fits(victims: Sequence[RunningGang]) -> bool:
            return isinstance(self._fit(request, victims)[1], Placement)

        excess = self._excess(request, candidates)
        in_turn = self._in_turn(request.queue, candidates, excess)
        for some in (in_turn, candidates) if len(in_turn) < len(candidates) else (candidates,):
            beginning = shortest_beginning(some, fits)
            victims = needed(beginning, fits, MAX_DROPS) if beginning else []
            if victims and _lawful(request.queue, victims, excess):
                return victims
        return None

    def _candidates(self, request: GangRequest, queue: Queue) -> list[RunningGang]:
        """Who may have to leave, the one with the least loss first."""
        found = []
        for gang in self._allowed(request, queue):
            if gang.uid == request.uid or gang.uid in self._leaving:
                continue
            wait = gang.admitted_at + queue.min_run_seconds - self._now
            if wait > 0:
                self.soonest = min(self.soonest, wait)
            else:
                found.append(gang)
        return sorted(found, key=lambda g: (g.priority, g.loss(self._now), g.uid))

    def _allowed(self, request: GangRequest, queue: Queue) -> list[RunningGang]:
        """Whom the queue's policy lets it preempt, if they have run long enough."""
        kind, found = request.accelerator, []
        if queue.within_queue is WithinQueue.LOWER_PRIORITY:
            found += [g for g in self._of(queue.name, kind) if g.priority < request.priority]
        if not queue.cohort or queue.reclaim is Reclaim.NEVER or not self._within_nominal(request):
            return found
        for other in self._queues.queues.values():
            if other.name != queue.name and other.cohort == queue.cohort:
                every = queue.reclaim is Reclaim.ANY
                gangs = self._of(other.name, kind) if self._quotas.borrowed(other.name, kind) else ()
                found += [g for g in gangs if every or g.priority < request.priority]
        return found

    def _within_nominal(self, request: GangRequest) -> bool:
        """Whether the queue uses no more than its own quota with the gang."""
        chips = chips_of(fewest(request, self._now))
        with self._quotas.without([*self._leaving, request.uid]):
            used = self._quotas.used(request.queue, request.accelerator)
        return used + chips <= self._quotas.nominal(request.queue, request.accelerator)

    def _of(self, queue: str, kind: str) -> Sequence[RunningGang]:
        if self._running is None:
            self._running = {}
            for gang in self._queues.running.values():
                self._running.setdefault((gang.queue, gang.accelerator), []).append(gang)
        return self._running.get((queue, kind), ())

    def _excess(self, request: GangRequest, candidates: Iterable[RunningGang]) -> dict[str, int]:
        """Chips that each queue borrows when all that are leaving are gone."""
        with self._quotas.without(self._leaving):
            names = {gang.queue for gang in candidates}
            return {name: self._quotas.borrowed(name, request.accelerator) for name in names}

    def _in_turn(
        self, queue: str, candidates: Iterable[RunningGang], excess: Mapping[str, int]
    ) -> list[RunningGang]:
        """Those of the candidates that are still allowed when those before them are gone."""
        left, found = dict(excess), []
        for gang in candidates:
            if gang.queue == queue or left[gang.queue] > 0:
                found.append(gang)
                left[gang.queue] -= gang.chips
        return found


def _lawful(queue: str, victims: Iterable[RunningGang], excess: Mapping[str, int]) -> bool:
    """Whether there is an order in which each other queue still borrows when one of its gangs goes."""
    chips: Counter[str] = Counter()
    largest: Counter[str] = Counter()
    for gang in victims:
        chips[gang.queue] += gang.chips
        largest[gang.queue] = max(largest[gang.queue], gang.chips)
    return all(chips[n] - largest[n] < excess[n] for n in chips if n != queue)
