"""One round of admission in the making: what is granted, refused and kept so far. The rules are `admission`'s."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from math import inf
from typing import Final

from drumline.api.queue import QueueingStrategy
from drumline.api.reasons import Reason
from drumline.core.gang.capacity import Capacity
from drumline.core.gang.fairness import Line
from drumline.core.gang.placement_elastic import hope_for, place_most
from drumline.core.gang.placement_memo import RefusalMemo
from drumline.core.gang.placement_power import claim_for
from drumline.core.gang.preemption import Claim, Preemption, Way
from drumline.core.gang.queue_fit import chips_placed, within_quota
from drumline.core.gang.queue_quota import QueueQuotas, chips_of
from drumline.core.gang.queues import Queues
from drumline.core.gang.standing import kept_nodes, kept_quota, waits_for
from drumline.core.gang.targets import target_of
from drumline.core.gang.types import GangRequest, Placement, Refusal

Allowed = Callable[[GangRequest], Refusal | None]

MAX_ERROR: Final = 1024  # characters
NEVER: Final = ", even if every other gang ended"


class Turn:
    """A round of admission in the making."""

    def __init__(
        self,
        capacity: Capacity,
        now: float,
        head_wait: float,
        kept: Mapping[str, frozenset[str]],
        queues: Queues,
        tried: frozenset[Hashable],
    ) -> None:
        self.capacity = capacity
        self.now = now
        self.head_wait = head_wait
        self.kept = kept
        self.queues = queues
        self.quotas = QueueQuotas(queues)
        self.preemption = Preemption(queues, self.quotas, capacity, now, kept, tried)
        self.memo = RefusalMemo(capacity, now)
        self.most: dict[tuple[str, str], int] = {}  # that a queue could ever have of a kind
        self.over: dict[tuple[str, str, int, int], Refusal] = {}  # quota's answers, by what was asked when
        self.granted: list[tuple[str, Placement]] = []
        self.refused: dict[str, Refusal] = {}
        self.heads: dict[str, float] = {}  # kind → seconds the head has still to wait
        self.quota_heads: dict[tuple[str, str], float] = {}  # … by queue and kind
        self.targets: dict[str, frozenset[str]] = {}
        self.sizes: dict[str, int] = {}
        self.victims: dict[str, tuple[str, ...]] = {}
        self.demoted: set[str] = set()  # had a claim that is of no use any more
        self.errors: dict[str, Exception] = {}
        self._guarded: frozenset[str] = frozenset()

    def failed(self, asked: GangRequest, error: Exception) -> None:
        """Refuse a gang over which an error of ours came up."""
        text = f"admission can't decide about it ({type(error).__name__}: {error}); please report it"
        self.errors[asked.uid] = error
        self.refused[asked.uid] = Refusal(Reason.INTERNAL_ERROR, text[:MAX_ERROR])

    def wait(self, asking: Iterable[GangRequest]) -> float | None:
        """Seconds until something is due by time alone; None = nothing is."""
        waits = [wait for wait in (*self.heads.values(), *self.quota_heads.values()) if wait > 0]
        waits += [
            r.patient_until - self.now for r in asking if r.patient_until > self.now and r.uid in self.refused
        ]
        waits += [self.preemption.soonest] if self.preemption.soonest < inf else []
        return min(waits, default=None)

    def end(self) -> None:
        """Withhold nothing any more: what is kept is in the targets."""
        self.capacity.now.withhold(())
        self.capacity.now.unclaim()

    def guard(self, targets: Iterable[frozenset[str]]) -> None:
        """Keep these too, other targets of before, while a gang is served for which others left."""
        nodes = frozenset[str]().union(*targets)
        if nodes != self._guarded:
            self._guarded = nodes
            self._withhold()

    def decide(self, line: Line, asked: GangRequest, allowed: Allowed) -> None:
        """Grant a gang, have others leave for it, or say why it waits."""
        request, answer = self._answer(asked)
        if isinstance(answer, Placement):
            self._grant(request, answer, allowed(request))
        elif not asked.stays and (way := self.preemption.find(asked)) is not None:
            self._clear(way, answer, allowed)
        elif line.demote(asked):
            self.demoted.add(asked.uid)
            return
        elif answer.reason == Reason.QUEUE_QUOTA:
            self._refuse_by_quota(request, answer)
        else:
            self._refuse(request, answer)
        if asked.uid in self.refused and self._strict(asked):
            text = f"queue {asked.queue} is StrictFIFO; {asked.namespace}/{asked.name} is ahead and waits"
            behind = Refusal(Reason.HEAD_OF_QUEUE_RESERVED, text)
            self.refused.update((other.uid, behind) for other in line.rest(asked.queue))

    def _answer(self, asked: GangRequest) -> tuple[GangRequest, Placement | Refusal]:
        within = self._within_quota(asked)
        if isinstance(within, Refusal):
            return asked, within
        known = self.memo.get(within)
        if known is not None:
            return within, known
        request, answer = place_most(within, self.capacity, self.now)
        if isinstance(answer, Refusal):
            self.memo.put(within, answer)
        return request, answer

    def _within_quota(self, asked: GangRequest) -> GangRequest | Refusal:
        """Of many that ask for as much of a queue, one is looked at while nothing changes.

        Whoever has a claim gets what it claims: what is beyond may be what another one claims.
        """
        claim = self.kept.get(asked.uid)
        if isinstance(claim, Claim) and asked.uid not in self.demoted:
            return within_quota(asked, self.quotas, self.now, claim.chips)
        if asked.min_slices or self.quotas.queue_of(asked) is None or self.quotas.counts(asked.uid):
            return within_quota(asked, self.quotas, self.now)
        key = (asked.queue, asked.accelerator, chips_of(asked), self.quotas.version)
        known = self.over.get(key)
        if known is not None:
            return known
        within = within_quota(asked, self.quotas, self.now)
        if isinstance(within, Refusal):
            self.over[key] = within
        return within

    def _grant(self, request: GangRequest, placement: Placement, veto: Refusal | None) -> None:
        """Reserve a placement, unless something else forbids it."""
        if veto is not None:
            self.refused[request.uid] = veto
            return
        if request.stays and request.moved_by(placement):
            # what it has stays reserved for it: a grant would let others have that
            text = "there is no placement with spares in which the gang stays where it is"
            self.refused[request.uid] = Refusal(Reason.NO_FEASIBLE_NODE, text)
            return
        self.capacity.reserve_too(request, placement)
        self.quotas.grant(request, chips_placed(request, placement))
        self.granted.append((request.uid, placement))
        if request.min_slices:
            self.sizes[request.uid] = request.slices

    def _clear(self, way: Way, answer: Refusal, allowed: Allowed) -> None:
        """Keep what others leave for a gang, and name them if they were not before."""
        request, uids = way.request, tuple(victim.uid for victim in way.victims)
        veto = allowed(request) if uids else None
        if veto is not None:
            self.refused[request.uid] = veto
            return
        self.preemption.tell(way.victims)
        told = way.told.union(uids)
        self.targets[request.uid] = Claim.of(way.nodes, told, way.chips) if told else way.nodes
        claim_for(way.request, way.nodes, self.capacity.now)
        if uids:
            self.victims[request.uid] = uids
        self._withhold()
        self.quotas.claim(request, way.chips)
        self.refused[request.uid] = Refusal(answer.reason, waits_for(answer.message, len(told)))

    def _refuse(self, request: GangRequest, answer: Refusal) -> None:
        """Note why a gang waits; the first of its kind becomes the head if there is hope for it."""
        self.refused[request.uid] = answer
        if request.accelerator in self.heads:
            return
        request, hope = hope_for(request, self.capacity, self.now)
        if isinstance(hope, Refusal):
            self.refused[request.uid] = Refusal(hope.reason, f"{hope.message}{NEVER}")
            return
        self.heads[request.accelerator] = wait = request.queued_at + self.head_wait - self.now
        if wait <= 0:
            self._keep_for(request, answer, hope)

    def _keep_for(self, request: GangRequest, answer: Refusal, hope: Placement) -> None:
        kept = self.kept.get(request.uid, frozenset())
        target = self.targets[request.uid] = target_of(request, self.capacity, hope, kept)
        claim_for(request, target, self.capacity.now)
        self.refused[request.uid] = Refusal(answer.reason, kept_nodes(answer.message, len(target)))
        self._withhold()
        self.quotas.claim(request, chips_of(request))

    def _refuse_by_quota(self, request: GangRequest, answer: Refusal) -> None:
        """Note why a gang waits; the first of its queue and kind becomes the head.

        Whether there is hope for it is asked once it has waited: until then nothing is kept for it.
        """
        self.refused[request.uid] = answer
        if self._beyond_quota(request):
            if self.quotas.queue_of(request) is not None:
                self.refused[request.uid] = Refusal(answer.reason, f"{answer.message}{NEVER}")
            return
        key = request.queue, request.accelerator
        if key in self.quota_heads:
            return
        wait = request.queued_at + self.head_wait - self.now
        if wait <= 0:
            request, hope = hope_for(request, self.capacity, self.now)
            if isinstance(hope, Refusal):
                self.refused[request.uid] = Refusal(hope.reason, f"{hope.message}{NEVER}")
                return
            self.quotas.claim(request, chips_of(request))
            self.refused[request.uid] = Refusal(answer.reason, kept_quota(answer.message))
        self.quota_heads[key] = wait

    def _beyond_quota(self, request: GangRequest) -> bool:
        """Whether its queue could never take the gang, whoever ends."""
        if self.quotas.unknown(request):
            return True
        if self.quotas.queue_of(request) is None:
            return False
        least = chips_of(request, request.min_slices or None)
        return least > self._most(request.queue, request.accelerator)

    def _most(self, queue: str, kind: str) -> int:
        most = self.most.get((queue, kind))
        if most is None:
            most = self.most[queue, kind] = self.quotas.most(queue, kind)
        return most

    def _strict(self, request: GangRequest) -> bool:
        """Whether nobody of its queue may pass the gang."""
        queue = self.queues.queues.get(request.queue)
        strict = queue is not None and queue.strategy is QueueingStrategy.STRICT_FIFO
        return strict and not self._beyond_quota(request)

    def _withhold(self) -> None:
        self.capacity.now.withhold(self._guarded.union(*self.targets.values()))
