"""One round of admission: who of those that wait begins now, in one serial pass.

Order: priority (high first), then time of queueing, then uid. Each gang is placed whole against what is free,
and what it gets is reserved before the next one is looked at: two gangs never get the same accelerator.
A gang that can be placed may still be refused for what no node knows of, such as its namespace's quota
(`allowed`). Where that can't be told yet the round ends, so that nobody passes a gang that is being looked up.

Queues (`queues`): `fairness` says whose turn it is, `queue_quota` what a gang's queue may still take; with none, or for
a gang of none, nothing of what follows applies. A gang that can't begin may have others leave for it
(`preemption`): what they leave is kept for it, nodes and quota, and over rounds. The first gang of a queue that
its quota keeps waiting becomes a head too: once it has waited `head_wait_seconds`, and could begin if all others
ended, what comes free of the quota is kept for it. In a StrictFIFO queue nobody passes a gang that
waits, unless the queue's quotas could never hold that gang.

Backfill: a gang that does not fit lets those behind it pass, until it is the *head* of its kind and has waited
`head_wait_seconds`. Head of a kind (the accelerator asked for; without one, "") is the first gang in order
that cannot be placed now but could be if all other gangs ended. A gang that could not even then is no head: it
is refused with the numbers and keeps nobody waiting.

Once a head has waited its time, a *target* is kept for it: nodes that together hold it once they are empty, of
all such sets the one with most free already. Gangs behind the head get nothing on the target in this round.

Nobody starves: no gang behind the head takes from its target, so what is free of the target only grows while
gangs on it end; a later round keeps that target (`kept`) unless another one has more free, which can be so
only as often as the head needs nodes; and before anything else every round asks whether the head fits. Only gangs
ahead of it in the order, a finite number, can be served first.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import inf
from types import MappingProxyType
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
from drumline.core.gang.queues import NO_QUEUES, Queues
from drumline.core.gang.standing import kept_nodes, kept_quota, waits_for
from drumline.core.gang.targets import target_of
from drumline.core.gang.types import GangRequest, Placement, Refusal

Allowed = Callable[[GangRequest], Refusal | None]


@dataclass(frozen=True, slots=True)
class AdmissionRound:
    """What one round decided. What was granted is reserved in the capacity."""

    granted: tuple[tuple[str, Placement], ...]  # by uid, in the order of the decisions
    refused: Mapping[str, Refusal]  # by uid
    requeue_after: float | None  # seconds until a head has waited its time; None = wait for a change
    targets: Mapping[str, frozenset[str]] = field(default_factory=dict)  # head's uid → nodes kept for it
    undecided: tuple[GangRequest, ...] = ()  # in order, when the round ended early
    sizes: Mapping[str, int] = field(default_factory=dict)  # by uid, of elastic gangs granted: their slices
    victims: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # who has to leave, by for whom
    tried: frozenset[Hashable] = frozenset()  # for the next round; see `preemption`
    errors: Mapping[str, Exception] = field(default_factory=dict)  # of ours, by the uid of whom they refuse


NO_TARGETS: Final[Mapping[str, frozenset[str]]] = MappingProxyType({})
MAX_ERROR: Final = 1024  # characters
NEVER: Final = ", even if every other gang ended"


class Undecided(Exception):  # noqa: N818 - it is no error: it ends a round
    """Raised by `allowed`: whether this gang may begin can't be told before something is looked up."""


def _always(_: GangRequest) -> Refusal | None:
    return None


def admit(
    pending: Iterable[GangRequest],
    capacity: Capacity,
    now: float,
    head_wait_seconds: float,
    allowed: Allowed = _always,
    kept: Mapping[str, frozenset[str]] = NO_TARGETS,
    queues: Queues = NO_QUEUES,
    tried: frozenset[Hashable] = frozenset(),
) -> AdmissionRound:
    """Decide about every gang that waits; `now` and `queued_at` are seconds of one clock.

    `allowed` has the last word on a gang that can be placed, or for which others would leave; when it returns None
    the gang is granted, or they are named. `kept` are the targets of the round before, as they were; `tried` is its own.
    """
    asking = [_told_apart(request, capacity) for request in pending]
    turn = _Turn(capacity, now, head_wait_seconds, kept, queues, tried)
    claimed = {r.uid for r in asking if isinstance(kept.get(r.uid), Claim)}
    waiting = [r.uid for r in asking if r.uid in kept] if claimed else []
    line = Line(asking, queues.queues, turn.quotas.share, claimed)
    undecided: tuple[GangRequest, ...] = ()
    try:
        for asked in line:
            first = asked.uid in claimed and asked.uid not in turn.demoted
            turn.guard([kept[uid] - kept[asked.uid] for uid in waiting] if first else ())
            try:
                turn.decide(line, asked, allowed)
            except Undecided:
                undecided = (asked, *line)
                turn.preemption.unreached = True
                break
            except Exception as error:  # noqa: BLE001 - one odd gang keeps no other waiting
                turn.failed(asked, error)
    finally:
        capacity.now.withhold(())
        capacity.now.unclaim()
    waits = [wait for wait in (*turn.heads.values(), *turn.quota_heads.values()) if wait > 0]
    waits += [r.patient_until - now for r in asking if r.patient_until > now and r.uid in turn.refused]
    waits += [turn.preemption.soonest] if turn.preemption.soonest < inf else []
    return AdmissionRound(
        tuple(turn.granted),
        turn.refused,
        min(waits, default=None),
        turn.targets,
        undecided,
        turn.sizes,
        turn.victims,
        turn.preemption.tried,
        turn.errors,
    )


class _Turn:
    """A round in the making."""

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


def _told_apart(request: GangRequest, capacity: Capacity) -> GangRequest:
    """The request with the nodes whose pods keep it off."""
    repelled = capacity.repelling(request)
    return request if repelled == request.repelled else replace(request, repelled=repelled)
