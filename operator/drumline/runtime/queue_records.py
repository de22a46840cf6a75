"""What the reflectors keep of AcceleratorQueues, and of namespaces, which queues select by their labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from drumline.api.queue import AcceleratorQueueStatus
from drumline.api.validation_queue import parse_queue
from drumline.core.gang.queue_choice import QueueEntry
from drumline.core.gang.queues import Queue, queue_of

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class QueueRecord:
    """An AcceleratorQueue as it stands in the API."""

    uid: str
    generation: int
    entry: QueueEntry
    queue: Queue  # without quotas where the spec does not hold
    status: AcceleratorQueueStatus

    @property
    def name(self) -> str:
        """Of the queue."""
        return self.entry.name


@dataclass(frozen=True, slots=True)
class NamespaceRecord:
    """A namespace."""

    name: str
    labels: Mapping[str, str]


def read_queue(document: Document) -> QueueRecord:
    """The record of an AcceleratorQueue. A spec that does not hold gives a fault, never an exception."""
    metadata = document["metadata"]
    name = metadata["name"]
    spec, errors = parse_queue(document.get("spec") or {})
    return QueueRecord(
        metadata["uid"],
        metadata.get("generation", 1),
        QueueEntry(name, spec, "; ".join(map(str, errors))),
        queue_of(name, spec) if spec is not None else Queue(name),
        AcceleratorQueueStatus.model_validate(document.get("status") or {}),
    )


def read_namespace(document: Document) -> NamespaceRecord:
    """The record of a Namespace."""
    metadata = document["metadata"]
    return NamespaceRecord(metadata["name"], metadata.get("labels") or {})
