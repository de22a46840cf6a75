"""The gangs of a cluster, read from its objects as the operator reads them: who waits, who holds, in which queue."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from drumline.api.backend import Backend
from drumline.api.inference_status import GroupPhase, GroupStatus
from drumline.api.meta import LABEL_QUEUE
from drumline.api.reasons import ConditionType
from drumline.cli.manifests import Manifest
from drumline.core.gang.clock import unix
from drumline.core.gang.meta import ObjectMeta
from drumline.core.gang.queue_choice import Entries, choose
from drumline.core.gang.types import GangRequest, Placement, Refusal
from drumline.core.inference.render import group_request
from drumline.core.training import conditions
from drumline.core.training.observation import Observation
from drumline.core.training.policies.admission import asked_of
from drumline.core.training.view import View
from drumline.runtime.queue_records import QueueRecord, read_namespace, read_queue
from drumline.runtime.records import JobRecord
from drumline.runtime.service_records import ServiceRecord

CLASSES: Final = "priorityclasses"
NAMESPACES: Final = "namespaces"

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class QueueDesk:
    """Which queues there are, and which one a gang waits in."""

    records: Mapping[str, QueueRecord] = field(default_factory=dict)  # by name
    namespaces: Mapping[str, Labels] = field(default_factory=dict)  # labels by name

    @property
    def entries(self) -> Entries:
        """The queues as choosing one looks at them."""
        return {name: record.entry for name, record in self.records.items()}

    def chosen(self, meta: ObjectMeta, named: str | None) -> str | Refusal:
        """The queue of a gang whose owner names that one in its spec; "" for none, or why it can't be told."""
        label = meta.labels.get(LABEL_QUEUE)
        return choose(named, label, meta.namespace, self.namespaces.get(meta.namespace), self.entries)


def desk_of(queues: Iterable[Manifest], namespaces: Iterable[Manifest]) -> QueueDesk:
    """From raw AcceleratorQueues and Namespaces."""
    records = [read_queue(document) for document in queues]
    spaces = [read_namespace(document) for document in namespaces]
    return QueueDesk({r.name: r for r in records}, {n.name: n.labels for n in spaces})


def priorities_of(classes: Iterable[Manifest]) -> dict[str, int]:
    """Values of PriorityClasses by name."""
    return {c["metadata"]["name"]: int(c.get("value", 0)) for c in classes}


def job_view(
    record: JobRecord,
    priorities: Mapping[str, int],
    now: float,
    placement: Placement | None = None,
    queue: str = "",
) -> View:
    """What decisions about a job look at, as far as the API tells."""
    name = record.spec.priority_class_name if record.spec is not None else None
    observation = Observation(
        job=record.meta,
        spec=record.spec,
        errors=record.errors,
        shape=record.shape,
        roster=record.roster,
        status=record.status,
        catalog=record.catalog,
        pods={},
        priority=priorities.get(name) if name else 0,
        placement=placement,
        queue=queue,
    )
    return View(observation, now, record.status)


def waits(view: View) -> bool:
    """Whether a job waits for admission."""
    if view.obs.spec is None or conditions.is_finished(view.status) or view.spec.suspend:
        return False
    return not conditions.is_true(view.status, ConditionType.QUOTA_RESERVED)


def job_request(view: View) -> GangRequest:
    """What a job asks of admission, in its queue."""
    return replace(asked_of(view), queue=view.obs.queue)


def groups_of(record: ServiceRecord) -> Iterator[tuple[str, GroupStatus]]:
    """Groups of a service that hold a place of this operator's, or wait for one, with their roles."""
    spec = record.spec
    roles = {role.name for role in spec.roles} if spec is not None else set()
    elsewhere = spec is not None and spec.scheduling.backend not in (None, Backend.BUILTIN)
    for role in record.status.roles:
        for group in role.groups if role.name in roles else ():
            if group.backend is not None or (elsewhere and not group.nodes):
                continue
            if group.nodes or (group.phase is GroupPhase.WAITING and group.draining_since is None):
                yield role.name, group


def group_gang(
    record: ServiceRecord, role: str, group: GroupStatus, priorities: Mapping[str, int], queue: str
) -> GangRequest | None:
    """What a group asks, or asked, of admission; None where the spec and the catalogue don't tell."""
    if record.spec is None:
        return None
    name = record.spec.priority_class_name
    queued_at = unix(group.queued_at, unix(group.started_at, record.meta.created_at))
    try:
        request = group_request(
            record.meta,
            record.spec,
            role,
            group,
            record.catalog,
            queued_at=queued_at,
            priority=priorities.get(name, 0) if name else 0,
        )
    except (KeyError, IndexError, ValueError):
        return None
    return replace(request, queue=queue)
