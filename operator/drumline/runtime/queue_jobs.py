"""Queues and TrainingJobs: which one a job waits in, and what it counts for there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import inf

from drumline.api.meta import LABEL_QUEUE, ROLE_SPARE, ROLE_WORKER
from drumline.api.shape import GangShape
from drumline.core.gang.charges import added_up
from drumline.core.gang.clock import unix
from drumline.core.gang.queues import RunningGang
from drumline.core.gang.types import Charge, Pod, Refusal
from drumline.core.training.observation import Observation
from drumline.core.training.provisioned import holds_quota
from drumline.core.training.spares import spare_places_held
from drumline.runtime.queue_book import QueueBook


class JobQueues:
    """Tells decisions about jobs what the book says, and the book what the jobs' statuses say."""

    def __init__(self, book: QueueBook) -> None:
        self._book = book

    def told(self, obs: Observation) -> Observation:
        """The observation with its queue; the very same where there is none."""
        held, book = obs.status.queue, self._book
        if not book.entries and held is None:
            return obs
        eviction = book.evictions.of(obs.job.uid)
        if held is not None:
            entry = book.entries.get(held)
            most = entry.spec.max_run_seconds if entry is not None and entry.spec is not None else None
            return replace(obs, queue=held, queue_max_run_seconds=most, evicted=eviction)
        if obs.status.placement is not None or obs.spec is None:
            return obs  # it was admitted without, or waits for nothing
        chosen = book.choose(obs.spec.queue, obs.job.labels.get(LABEL_QUEUE), obs.job.namespace)
        if isinstance(chosen, Refusal):
            return replace(obs, queue_refused=chosen)
        return replace(obs, queue=chosen)

    def hold(self, obs: Observation, checkpoint_of: Callable[[Observation], float | None]) -> None:
        """Have the job count for what its status says it holds; `checkpoint_of`: when its latest was durable."""
        uid, queue = obs.job.uid, obs.status.queue
        if queue is None:
            self._book.hold(uid, None)
            return
        asked = holds_quota(obs.status)
        leaving = (obs.status.placement is None and asked is None) or obs.job.deleting
        known = self._book.gang(uid)
        unknown = known is None and (
            leaving or obs.spec is None
        )  # its spec, if there is one, may be another by now
        said = added_up(filter(_computes, obs.pods.values())) if unknown else None
        if obs.spec is None and known is None and said is None:
            return
        chips = _left(obs, said) if leaving or obs.spec is None else _held(obs)
        if known is not None and (leaving or not chips):
            chips = known.chips
        began, saved = _at_stake(obs, checkpoint_of(obs) or 0.0)
        gang = RunningGang(
            uid,
            queue,
            _kind(obs, known, said, leaving=leaving),
            chips,
            obs.priority or 0,
            began,
            saved,
            leaving=leaving,
        )
        if gang != known:
            self._book.hold(uid, gang)


def _left(obs: Observation, said: Charge | None) -> int:
    """Chips of a gang of which the status says too little: what its pods take."""
    if said is not None or obs.shape is None:
        return said.chips if said is not None else 0
    return obs.shape.chips_per_worker * sum(map(_computes, obs.pods.values()))


def _kind(obs: Observation, known: RunningGang | None, said: Charge | None, *, leaving: bool) -> str:
    """The accelerators that it has: not those that it asks for while it has pods on others."""
    if known is not None and (leaving or obs.spec is None):
        return known.accelerator
    if said is not None and (leaving or obs.spec is None):
        return said.accelerator
    return obs.spec.accelerator.type if obs.spec is not None else ""


def _at_stake(obs: Observation, saved: float) -> tuple[float, float]:
    """Since when the gang works, and up to when that is saved: of one that waits for its request there is nothing to lose.

    One whose spec does not hold any more is left alone: nobody can have it leave.
    """
    if obs.spec is None:
        return inf, saved
    if holds_quota(obs.status) is not None:
        return 0.0, inf
    return unix(obs.status.admitted_at or _began(obs)), saved


def _began(obs: Observation) -> str | None:
    """When the latest attempt began: since then one that waits for its first node has its quota."""
    return obs.status.attempts[-1].started_at if obs.status.attempts else None


def _held(obs: Observation) -> int:
    """Chips of a gang with its spares, by the placement that its status names, or the nodes that it asks for."""
    asked = holds_quota(obs.status)
    if asked is not None:
        return asked.chips
    if obs.shape is None or not obs.shape.chips_per_worker:
        return 0
    workers = obs.shape.chips // obs.shape.chips_per_worker
    return (workers + spare_places_held(obs)) * _per_worker(obs, obs.shape)


def _per_worker(obs: Observation, shape: GangShape) -> int:
    """Chips of a worker that the attempt began with: who may write to its pods can't have it count for less.

    The most that a pod says or that the catalogue in force has, but no more than a pod asks for: that nobody can change.
    """
    mine = [(p, p.member) for p in obs.pods.values() if p.member and p.member.attempt == obs.status.attempt]
    said = max((m.charge.chips for _, m in mine if m.charge is not None), default=0)
    asks = max((count for p, _ in mine for name, count in p.requests if name == shape.resource), default=0)
    chips = max(said, shape.chips_per_worker)
    return min(chips, asks) if asks else chips


def _computes(pod: Pod) -> bool:
    """Whether a pod holds accelerators of the gang."""
    return not pod.terminal and pod.member is not None and pod.member.role in (ROLE_WORKER, ROLE_SPARE)
