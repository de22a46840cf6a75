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

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from drumline.core.gang.admission_turn import Allowed, Turn
from drumline.core.gang.capacity import Capacity
from drumline.core.gang.fairness import Line
from drumline.core.gang.preemption import Claim
from drumline.core.gang.queues import NO_QUEUES, Queues
from drumline.core.gang.types import GangRequest, Placement, Refusal


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
    turn = Turn(capacity, now, head_wait_seconds, kept, queues, tried)
    try:
        undecided = _served(turn, asking, allowed)
    finally:
        turn.end()
    return AdmissionRound(
        tuple(turn.granted),
        turn.refused,
        turn.wait(asking),
        turn.targets,
        undecided,
        turn.sizes,
        turn.victims,
        turn.preemption.tried,
        turn.errors,
    )


def _served(turn: Turn, asking: list[GangRequest], allowed: Allowed) -> tuple[GangRequest, ...]:
    """Decide about one after the other; who is left, in order, where the round ends early."""
    kept = turn.kept
    claimed = {r.uid for r in asking if isinstance(kept.get(r.uid), Claim)}
    waiting = [r.uid for r in asking if r.uid in kept] if claimed else []
    line = Line(asking, turn.queues.queues, turn.quotas.share, claimed)
    for asked in line:
        first = asked.uid in claimed and asked.uid not in turn.demoted
        turn.guard([kept[uid] - kept[asked.uid] for uid in waiting] if first else ())
        try:
            turn.decide(line, asked, allowed)
        except Undecided:
            turn.preemption.unreached = True
            return (asked, *line)
        except Exception as error:  # noqa: BLE001 - one odd gang keeps no other waiting
            turn.failed(asked, error)
    return ()


def _told_apart(request: GangRequest, capacity: Capacity) -> GangRequest:
    """The request with the nodes whose pods keep it off."""
    repelled = capacity.repelling(request)
    return request if repelled == request.repelled else replace(request, repelled=repelled)
