"""The metrics of AcceleratorQueues: what their statuses say, at each scrape and not only when a status is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from drumline.core.gang.queue_quota import QueueQuotas
from drumline.core.gang.queue_report import Facts
from drumline.core.gang.queues import Queue
from drumline.core.gang.types import GangRequest
from drumline.runtime.metrics_text import Family

_QUEUE: Final = ("queue",)
_KIND: Final = ("queue", "accelerator")

PENDING: Final = Family("drumline_queue_pending_gangs", "gauge", "Gangs that wait in a queue.", _QUEUE)
ADMITTED: Final = Family("drumline_queue_admitted_gangs", "gauge", "Gangs that count in a queue.", _QUEUE)
ACTIVE: Final = Family(
    "drumline_queue_active",
    "gauge",
    "1 while a queue can be used as it stands (its condition Active), else 0.",
    _QUEUE,
)
HEAD: Final = Family(
    "drumline_queue_head_since_timestamp_seconds",
    "gauge",
    "Since when the first gang of a queue waits, Unix time; absent while nobody does.",
    _QUEUE,
)
SHARE: Final = Family(
    "drumline_queue_weighted_share", "gauge", "Weighted dominant share of what the cohort lends.", _QUEUE
)
PREEMPTED: Final = Family(
    "drumline_queue_preempted_gangs_total",
    "counter",
    "Gangs of a queue that were told to leave, since this process began.",
    _QUEUE,
)
NOMINAL: Final = Family(
    "drumline_queue_nominal_accelerators", "gauge", "Chips of a queue's own quota.", _KIND
)
USED: Final = Family("drumline_queue_used_accelerators", "gauge", "Chips that count in a queue.", _KIND)
BORROWED: Final = Family(
    "drumline_queue_borrowed_accelerators", "gauge", "Of these, chips beyond the queue's own quota.", _KIND
)
LENT: Final = Family(
    "drumline_queue_lent_accelerators", "gauge", "Chips of its own that others of the cohort use.", _KIND
)
OF_QUEUES: Final = (ACTIVE, PENDING, ADMITTED, HEAD, SHARE, PREEMPTED, NOMINAL, USED, BORROWED, LENT)


@dataclass(frozen=True, slots=True)
class QueueSight:
    """All queues at one moment."""

    queues: Mapping[str, Queue]
    facts: Facts
    pending: Mapping[str, int]
    first: Mapping[str, GangRequest]  # in line, by queue
    preempted: Mapping[str, int] = field(default_factory=dict)
    faulty: frozenset[str] = frozenset()  # queues that are not active


def queue_lines(look: Callable[[], QueueSight]) -> Iterator[str]:
    """The text of all families; `look` is called once."""
    sight = look()
    names = sorted(sight.queues)
    for family, value in _of_queues(sight):
        yield family.head
        for name in names:
            if (found := value(name)) is not None:
                yield family.line((name,), found)
    for family, of_kind in _of_kinds(sight):
        yield family.head
        for name in names:
            for kind in sorted(sight.queues[name].quotas):
                yield family.line((name, kind), of_kind(name, kind))


def _of_queues(sight: QueueSight) -> tuple[tuple[Family, Callable[[str], float | str | None]], ...]:
    def since(name: str) -> str | None:
        head = sight.first.get(name)
        return f"{head.queued_at:.3f}" if head is not None else None

    def share(name: str) -> str:
        found = sight.facts.quotas.share(name)
        return "+Inf" if found == float("inf") else f"{found:.6g}"

    return (
        (ACTIVE, lambda name: int(name not in sight.faulty)),
        (PENDING, lambda name: sight.pending.get(name, 0)),
        (ADMITTED, lambda name: sight.facts.admitted.get(name, 0)),
        (HEAD, since),
        (SHARE, share),
        (PREEMPTED, lambda name: sight.preempted.get(name, 0)),
    )


def _of_kinds(sight: QueueSight) -> tuple[tuple[Family, Callable[[str, str], int]], ...]:
    quotas: QueueQuotas = sight.facts.quotas
    return (
        (NOMINAL, quotas.nominal),
        (USED, quotas.used),
        (BORROWED, quotas.borrowed),
        (LENT, lambda name, kind: sight.facts.lent.get((name, kind), 0)),
    )
