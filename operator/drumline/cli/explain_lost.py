"""A job whose queue can't be told stands in no line: why, and what would change that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from drumline.api.meta import LABEL_QUEUE
from drumline.api.reasons import Reason
from drumline.cli.gangs import QueueDesk
from drumline.core.gang.meta import ObjectMeta
from drumline.core.gang.types import Refusal

NAMED: Final = 8  # queues in a message


@dataclass(frozen=True, slots=True)
class Lost:
    """A gang that is in no line."""

    refusal: Refusal  # why its queue can't be told
    change: str = ""  # what would give it a queue


def lost_of(refusal: Refusal, meta: ObjectMeta, named: str | None, desk: QueueDesk) -> Lost:
    """What is to be said of a gang whose owner names that queue in its spec, and whose queue can't be told."""
    asked = named or meta.labels.get(LABEL_QUEUE) or ""
    return Lost(refusal, ", or ".join(_ways(refusal.reason, asked, meta.namespace, desk)))


def _ways(reason: str, asked: str, namespace: str, desk: QueueDesk) -> Iterator[str]:
    if reason == Reason.QUEUE_NOT_FOUND:
        yield f"create AcceleratorQueue {asked}"
    elif reason == Reason.QUEUE_NOT_ALLOWED:
        yield f"have the namespaceSelector of AcceleratorQueue {asked} select namespace {namespace}"
    elif reason == Reason.QUEUE_INVALID:
        yield f"correct AcceleratorQueue {asked}"
    elif reason == Reason.QUEUE_AMBIGUOUS and not asked:
        yield "leave the namespace one default queue"
    elif reason != Reason.QUEUE_AMBIGUOUS:
        yield "wait until the operator knows the namespace's labels"
        return
    yield f"name a queue in spec.queue that is for namespace {namespace}: {_usable(namespace, desk)}"


def _usable(namespace: str, desk: QueueDesk) -> str:
    labels = desk.namespaces.get(namespace, {})
    names = sorted(entry.name for entry in desk.entries.values() if entry.selects(labels))
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{', '.join(names[:NAMED])}{more}" if names else "there is none"
