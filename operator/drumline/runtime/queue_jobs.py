"""Queues and TrainingJobs: which one a job waits in, and what it counts for there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import inf

from drumline.api.meta import LABEL_QUEUE, ROLE_SPARE, ROLE_WORKER
from drumline.core.gang.clock import unix
from drumline.core.gang.queues import RunningGang
from drumline.core.gang.types import Pod, Refusal
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
        chips = self._left(obs) if leaving else _held(obs)
        known = self._book.gang(uid)
        if known is not None and (leaving or not chips):
            chips = known.chips
        if obs.spec is None and known is None:
            return
        gang = RunningGang(
            uid,
            queue,
            _kind(obs, known, leaving=leaving),
            chips,
            obs.priority or 0,
            # a gang whose spec does not hold any more is left alone: nobody can have it leave
            unix(obs.status.admitted_at or (asked.since if asked is not None else _began(obs)))
            if obs.spec is not None
            else inf,
            checkpoint_of(obs) or 0.0,
            leaving=leaving,
        )
        if gang != known:
            self._book.hold(uid, gang)

    @staticmethod
    def _left(obs: Observation) -> int:
        """Chips of a gang that gave its nodes back while nobody led who remembers it: what its pods take."""
        if obs.shape is None:
            return 0
        return obs.shape.chips_per_worker * sum(map(_computes, obs.pods.values()))


def _kind(obs: Observation, known: RunningGang | None, *, leaving: bool) -> str:
    """The accelerators that it has: not those that it asks for while it has pods on others."""
    if known is not None and (leaving or obs.spec is None):
        return known.accelerator
    return obs.spec.accelerator.type if obs.spec is not None else ""


def _began(obs: Observation) -> str | None:
    """When the latest attempt began: since then one that waits for its first node has its quota."""
    return obs.status.attempts[-1].started_at if obs.status.attempts else None


def _held(obs: Observation) -> int:
    """Chips of a gang with its spares, by the placement that its status names, or the nodes that it asks for."""
    asked = holds_quota(obs.status)
    if asked is not None:
        return asked.chips
    if obs.shape is None:
        return 0
    return obs.shape.chips + spare_places_held(obs) * obs.shape.chips_per_worker


def _computes(pod: Pod) -> bool:
    """Whether a pod holds accelerators of the gang."""
    return not pod.terminal and pod.member is not None and pod.member.role in (ROLE_WORKER, ROLE_SPARE)
