"""AcceleratorQueues from a file, and the queue of each job of a trace."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from pydantic import ValidationError

from drumline.api.meta import GROUP
from drumline.api.queue import AcceleratorQueueSpec
from drumline.api.wire import field_errors
from drumline.cli.manifests import InputError, Manifest, read_documents
from drumline.core.gang.queues import Queue, queue_of
from drumline.core.sim.trace import Row, TraceError

KIND = "AcceleratorQueue"


@dataclass(frozen=True, slots=True)
class QueueFile:
    """Queues by name; `default` takes jobs that name none, "" = they are in none and have no quota."""

    queues: Mapping[str, Queue]
    default: str = ""

    def assigned(self, rows: Iterable[Row]) -> list[Row]:
        """The rows with their queues. TraceError for a queue that there is not."""
        found = [replace(row, queue=row.queue or self.default) for row in rows]
        odd = next((row for row in found if row.queue and row.queue not in self.queues), None)
        if odd is not None:
            known = ", ".join(self.queues)
            raise TraceError(f"{odd.where}: queue: given {odd.queue!r}; allowed: {known}")
        return found


def read_queues(path: str) -> QueueFile:
    """The AcceleratorQueues of a file: documents, or a v1.List. InputError."""
    specs = dict(_spec(path, manifest) for manifest in _manifests(path))
    if not specs:
        raise InputError(f"{path}: no {KIND}.{GROUP} in it")
    defaults = [name for name, spec in specs.items() if spec.default]
    if len(defaults) > 1:
        raise InputError(f"{path}: default: given {' and '.join(defaults)}; allowed: one")
    queues = {name: queue_of(name, spec) for name, spec in specs.items()}
    return QueueFile(queues, *defaults)


def _manifests(path: str) -> Iterator[Manifest]:
    for document in read_documents(path):
        items = document.get("items") if isinstance(document, dict) else None
        for item in items if isinstance(items, list) else [document]:
            group = str(item.get("apiVersion", "")).partition("/")[0] if isinstance(item, dict) else ""
            if group == GROUP and item.get("kind") == KIND:
                yield item


def _spec(path: str, manifest: Manifest) -> tuple[str, AcceleratorQueueSpec]:
    name = str((manifest.get("metadata") or {}).get("name") or "")
    if not name:
        raise InputError(f"{path}: an {KIND} without metadata.name")
    try:
        return name, AcceleratorQueueSpec.model_validate(manifest.get("spec") or {})
    except ValidationError as error:
        problems = "; ".join(map(str, field_errors(error, AcceleratorQueueSpec, prefix="spec")))
        raise InputError(f"{path}: {name}: {problems}") from error
