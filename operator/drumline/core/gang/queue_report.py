"""What a queue's status says: who waits and who runs, what is used, borrowed and lent, and why the first one waits.

Lent is told by the pool as a whole, since no chip that is borrowed has an owner: what the cohort's queues hold beyond
their own quotas is shared out over those that leave some of theirs to the pool, in proportion to what each leaves there;
what is left over by rounding goes to the first of them by name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from drumline.api.errors import FieldError
from drumline.api.queue import AcceleratorQueueStatus, QueueHead, QueueUsage
from drumline.api.reasons import QueueCondition, Reason
from drumline.core.gang import conditions
from drumline.core.gang.clock import rfc3339
from drumline.core.gang.fairness import precedence
from drumline.core.gang.queue_choice import QueueEntry
from drumline.core.gang.queue_quota import QueueQuotas
from drumline.core.gang.queues import Queue, Queues
from drumline.core.gang.types import GangRequest, Refusal

MAX_REASON: Final = 1024
MAX_MESSAGE: Final = 2048

Lent = Mapping[tuple[str, str], int]  # by queue and accelerator type


@dataclass(frozen=True, slots=True)
class Lines:
    """Who waits in one queue."""

    pending: int = 0
    head: GangRequest | None = None
    why: Refusal | None = None  # None = it has not been answered yet


@dataclass(frozen=True, slots=True)
class Facts:
    """What the whole cluster says of all queues at one moment."""

    quotas: QueueQuotas
    admitted: Mapping[str, int]  # gangs by queue
    lent: Lent
    watts: Mapping[str, float] = field(default_factory=dict)  # of one chip, by accelerator type

    @classmethod
    def of(cls, queues: Queues, watts: Mapping[str, float] = MappingProxyType({})) -> Facts:
        """From what runs now."""
        quotas = QueueQuotas(queues)
        admitted = Counter(gang.queue for gang in queues.running.values())
        return cls(quotas, admitted, lent(queues.queues.values(), quotas), watts)


@dataclass(frozen=True, slots=True)
class Faults:
    """What is wrong with a queue beside its own form."""

    unknown: Sequence[FieldError] = ()  # accelerators that the catalogue does not know
    rivals: tuple[str, tuple[str, ...]] | None = (
        None  # a namespace of which others are the default too, and these
    )
    unseen: str = (
        ""  # why namespaces are not known, whose labels it asks; "" = they are, or will be in a moment
    )


def heads(waiting: Iterable[GangRequest]) -> tuple[Counter[str], dict[str, GangRequest]]:
    """How many gangs wait in each queue, and the first of them."""
    pending: Counter[str] = Counter()
    first: dict[str, GangRequest] = {}
    for request in waiting:
        if request.queue:
            pending[request.queue] += 1
            known = first.get(request.queue)
            if known is None or _order(request) < _order(known):
                first[request.queue] = request
    return pending, first


def lent(queues: Iterable[Queue], quotas: QueueQuotas) -> Lent:
    """Chips of each queue's own that others of its cohort use."""
    left: dict[tuple[str, str], dict[str, int]] = {}  # (cohort, type) → queue → what it leaves in the pool
    borrowed: Counter[tuple[str, str]] = Counter()
    for queue in queues:
        for kind, quota in queue.quotas.items() if queue.cohort else ():
            key, used = (queue.cohort, kind), quotas.used(queue.name, kind)
            borrowed[key] += quotas.borrowed(queue.name, kind)
            rest = min(quota.lendable, max(0, quota.nominal - used))
            left.setdefault(key, {})[queue.name] = rest
    return {
        (name, kind): chips
        for (cohort, kind), rests in left.items()
        for name, chips in _shared_out(borrowed[cohort, kind], rests)
    }


def report(
    entry: QueueEntry,
    generation: int,
    facts: Facts,
    lines: Lines,
    faults: Faults,
    before: AcceleratorQueueStatus,
    now: float,
) -> AcceleratorQueueStatus:
    """The status of a queue; `before` is the one that it has. `now` is Unix time in seconds."""
    kind = QueueCondition.ACTIVE.value
    said = conditions.with_condition(before.conditions, kind, *_verdict(entry, faults), now, generation)
    spec = entry.spec
    return AcceleratorQueueStatus(
        observed_generation=generation,
        conditions=conditions.observed(said, kind, generation),
        pending=lines.pending,
        admitted=facts.admitted.get(entry.name, 0),
        usage=tuple(_usage(entry, facts)),
        share=share_text(facts.quotas.share(entry.name)) if spec is not None and spec.cohort else None,
        head=_head(lines),
    )


def share_text(share: float) -> str:
    """A share as decimal text: `inf` for a queue of weight 0 that borrows."""
    return f"{share:.4f}".rstrip("0").rstrip(".") if share else "0"


def _shared_out(chips: int, rests: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    whole = sum(rests.values())
    chips = min(chips, whole)
    parts = {name: chips * rest // whole if whole else 0 for name, rest in rests.items()}
    over = chips - sum(parts.values())
    for name in sorted(parts):
        more = min(over, rests[name] - parts[name])
        over -= more
        yield name, parts[name] + more


def _usage(entry: QueueEntry, facts: Facts) -> Iterator[QueueUsage]:
    for quota in entry.spec.quotas if entry.spec is not None else ():
        kind = quota.accelerator
        used = facts.quotas.used(entry.name, kind)
        yield QueueUsage(
            accelerator=kind,
            nominal=quota.nominal_quota,
            used=used,
            watts=round(used * facts.watts[kind]) if kind in facts.watts else None,
            borrowed=facts.quotas.borrowed(entry.name, kind),
            lent=facts.lent.get((entry.name, kind), 0),
        )


def _head(lines: Lines) -> QueueHead | None:
    head = lines.head
    if head is None:
        return None
    why = lines.why or Refusal(Reason.QUEUED, "waiting for the next admission round")
    return QueueHead(
        job=f"{head.namespace}/{head.name}"[:128],
        since=rfc3339(head.queued_at),
        reason=str(why.reason)[:MAX_REASON],
        message=why.message[:MAX_MESSAGE],
    )


def _verdict(entry: QueueEntry, faults: Faults) -> tuple[bool, str, str]:
    """Whether it can be used as it stands, with reason and message."""
    if entry.spec is None:
        return False, Reason.INVALID_SPEC.value, entry.fault
    if faults.unseen:
        return False, Reason.NAMESPACES_UNKNOWN.value, faults.unseen
    if faults.rivals is not None:
        namespace, others = faults.rivals
        text = f"queue {', '.join(others)} is the default of namespace {namespace} too: jobs there that name no queue wait"
        return False, Reason.QUEUE_AMBIGUOUS.value, text
    if faults.unknown:
        text = "; ".join(map(str, faults.unknown))
        return False, Reason.UNKNOWN_ACCELERATOR.value, f"{text}; its other quotas hold"
    if entry.spec.namespace_selector is None:
        return True, Reason.QUEUE_ACTIVE.value, "no namespace may use it: it has no namespaceSelector"
    return True, Reason.QUEUE_ACTIVE.value, "gangs of the namespaces that it selects are admitted"


def _order(request: GangRequest) -> tuple[float, float, str]:
    return precedence(request), request.queued_at, request.uid
