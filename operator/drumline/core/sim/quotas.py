"""Queues in a simulation: who uses what of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from drumline.core.gang.queue_quota import QueueQuotas
from drumline.core.gang.queues import NO_QUEUES, Queue, Queues, RunningGang
from drumline.core.sim.gangs import Gang
from drumline.core.sim.model import Rules, SimJob


def queues_now(queues: Mapping[str, Queue], holding: Iterable[Gang], now: float, rules: Rules) -> Queues:
    """The queues with all gangs that hold nodes."""
    if not queues:
        return NO_QUEUES
    return Queues(queues, {gang.job.uid: _running(gang, now, rules) for gang in holding})


def beyond_quota(job: SimJob, queues: Mapping[str, Queue]) -> str:
    """Why a job's queue could never have as many chips; "" = it could."""
    request = job.request
    if not queues or not request.queue:
        return ""
    most = QueueQuotas(Queues(queues)).most(request.queue, request.accelerator)
    if most >= job.chips:
        return ""
    return f"needs {job.chips} × {request.accelerator}; queue {request.queue} can have {most:g} at most"


def exceeded(queues: Mapping[str, Queue], used: Mapping[tuple[str, str], int]) -> Iterator[str]:
    """Quotas that are exceeded; `used` = chips by queue and accelerator type."""
    beyond: dict[tuple[str, str], int] = {}  # of what a queue lends to nobody, by cohort and type
    lendable: dict[tuple[str, str], int] = {}
    for name, queue in queues.items():
        for kind, quota in queue.quotas.items():
            held = used.get((name, kind), 0)
            limit = quota.nominal if not queue.cohort else None
            if queue.cohort and quota.borrowing_limit is not None:
                limit = quota.nominal + quota.borrowing_limit
            if limit is not None and held > limit:
                yield f"queue {name} holds {held} of {limit} × {kind}"
            key, own = (queue.cohort, kind), quota.nominal - quota.lendable
            beyond[key] = beyond.get(key, 0) + max(0, held - own)
            lendable[key] = lendable.get(key, 0) + quota.lendable
    for (cohort, kind), amount in beyond.items():
        if cohort and amount > lendable[cohort, kind]:
            yield f"cohort {cohort} holds {amount} of {lendable[cohort, kind]} × {kind} that it lends"


def _running(gang: Gang, now: float, rules: Rules) -> RunningGang:
    request = gang.request
    return RunningGang(
        gang.job.uid,
        request.queue,
        request.accelerator,
        gang.job.chips,
        request.priority,
        admitted_at=gang.admitted_at,
        saved_at=gang.saved_at(now, rules),
    )
