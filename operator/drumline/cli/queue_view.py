"""From the objects of a cluster to its queues: what each may use and uses, who holds it, and who waits in which order.

Quotas, usage and shares are the operator's own words, from the status of each queue. The order of those who wait is
worked out as admission does (`fairness.Line`), with these shares, the operator's patience (`settings`), and what the
gangs' own messages say is done for them (`standing`); it is that of the next round, and a gang that does not fit may be
passed by others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from drumline.api.inference_status import GroupStatus
from drumline.api.meta import ACCELERATOR_QUEUES, INFERENCE_SERVICES, TRAINING_JOBS
from drumline.api.queue import AcceleratorQueueSpec, AcceleratorQueueStatus, QueueUsage
from drumline.api.reasons import ConditionType
from drumline.api.status import Condition
from drumline.cli.gangs import (
    CLASSES,
    NAMESPACES,
    QueueDesk,
    desk_of,
    group_gang,
    groups_of,
    job_request,
    job_view,
    priorities_of,
    waits,
)
from drumline.cli.manifests import Manifest
from drumline.cli.settings import Settings
from drumline.cli.settings import raw as raw_settings
from drumline.core.gang.clock import rfc3339, unix
from drumline.core.gang.fairness import Line, aged
from drumline.core.gang.queue_quota import chips_of
from drumline.core.gang.standing import Standing, standing_of
from drumline.core.gang.types import GangRequest, Refusal
from drumline.core.training import conditions
from drumline.core.training.provisioned import holds_quota
from drumline.core.training.view import View
from drumline.runtime.queue_records import QueueRecord
from drumline.runtime.records import JobReader, JobRecord
from drumline.runtime.service_records import ServiceReader, ServiceRecord

WANTED: Final[Mapping[str, str]] = {
    ACCELERATOR_QUEUES: "",
    NAMESPACES: "",
    CLASSES: "",
    TRAINING_JOBS: "",
    INFERENCE_SERVICES: "",
}


@dataclass(frozen=True, slots=True)
class GangView:
    """A gang that waits in a queue, or holds accelerators of it. `since` in Unix seconds."""

    name: str  # namespace/name, of a group of a service with its role and number
    queue: str  # "" = none
    accelerator: str
    chips: int
    priority: int
    since: float
    reason: str = ""  # why it waits, in CamelCase
    message: str = ""  # … for people
    aged: bool = False  # no priority goes before it any more

    @property
    def standing(self) -> Standing | None:
        """What is done for it while it waits."""
        return standing_of(self.message)


@dataclass(frozen=True, slots=True)
class QueueView:
    """One queue. `spec` is None where it does not hold; `fault` says why."""

    name: str
    spec: AcceleratorQueueSpec | None
    fault: str
    status: AcceleratorQueueStatus
    usage: tuple[QueueUsage, ...] = ()  # before the operator has looked at it, its quotas alone
    holds: tuple[GangView, ...] = ()  # those that have held longest first
    line: tuple[GangView, ...] = ()  # in order

    @property
    def trouble(self) -> Condition | None:
        """The condition that says why it can't be used."""
        return next((c for c in self.status.conditions if c.status == "False"), None)


@dataclass(frozen=True, slots=True)
class QueuesView:
    """All queues, and who waits in which order."""

    queues: tuple[QueueView, ...]
    line: tuple[GangView, ...]  # of all queues and of none, in order
    lost: tuple[GangView, ...]  # whose queue can't be told, so that they wait in none
    now: float
    settings: Settings


@dataclass(slots=True)
class _Found:
    """Gangs as they are read."""

    desk: QueueDesk
    priorities: Mapping[str, int]
    now: float
    aging: float
    holds: list[GangView] = field(default_factory=list)
    lost: list[GangView] = field(default_factory=list)
    asking: dict[str, tuple[GangRequest, GangView]] = field(default_factory=dict)  # by uid

    def ask(self, request: GangRequest, name: str, reason: str, message: str, since: float = 0.0) -> None:
        asked = aged(request, self.now, self.aging)
        told = _gang(asked, name, max(request.queued_at, since), reason, message)
        self.asking[request.uid] = asked, told

    def first(self) -> Iterator[str]:
        """Uids of those that go before everybody."""
        return (u for u, (_, gang) in self.asking.items() if gang.standing is Standing.SERVED_FIRST)


def queues_of(found: Mapping[str, list[Manifest]], settings: Settings, now: float) -> QueuesView:
    """The queues of a cluster whose objects these are, by resource (`WANTED`), at `now` (Unix seconds)."""
    catalog = settings.catalog
    desk = desk_of(found[ACCELERATOR_QUEUES], found[NAMESPACES])
    gangs = _Found(desk, priorities_of(found[CLASSES]), now, settings.aging)
    jobs, services = JobReader(catalog), ServiceReader(catalog)
    for document in found[TRAINING_JOBS]:
        _take_job(gangs, jobs.read(document))
    for document in found[INFERENCE_SERVICES]:
        _take_service(gangs, services.read(document))
    shares = {name: _share(record.status) for name, record in desk.records.items()}
    queues = {name: record.queue for name, record in desk.records.items()}
    asking = [request for request, _ in gangs.asking.values()]
    order = Line(asking, queues, lambda name: shares.get(name, 0.0), gangs.first())
    line = tuple(gangs.asking[request.uid][1] for request in order)
    views = (_queue(desk.records[name], gangs.holds, line) for name in sorted(desk.records))
    return QueuesView(tuple(views), line, tuple(gangs.lost), now, settings)


def _share(status: AcceleratorQueueStatus) -> float:
    try:
        return float(status.share or 0.0)
    except ValueError:
        return 0.0


def _queue(record: QueueRecord, holds: Iterable[GangView], line: Iterable[GangView]) -> QueueView:
    own = sorted((g for g in holds if g.queue == record.name), key=lambda g: (g.since, g.name))
    waiting = tuple(g for g in line if g.queue == record.name)
    entry = record.entry
    usage = tuple(_usage(entry.spec, record.status))
    return QueueView(record.name, entry.spec, entry.fault, record.status, usage, tuple(own), waiting)


def _usage(spec: AcceleratorQueueSpec | None, status: AcceleratorQueueStatus) -> Iterator[QueueUsage]:
    known = {usage.accelerator: usage for usage in status.usage}
    for quota in spec.quotas if spec is not None else ():
        fresh = QueueUsage(accelerator=quota.accelerator, nominal=quota.nominal_quota)
        yield known.pop(quota.accelerator, fresh)
    yield from known.values()


def _take_job(found: _Found, record: JobRecord) -> None:
    named = record.spec.queue if record.spec is not None else None
    asked = holds_quota(record.status)
    held = record.status.queue if record.status.placement is not None or asked is not None else None
    chosen = held or found.desk.chosen(record.meta, named)
    view = job_view(record, found.priorities, found.now, queue=chosen if isinstance(chosen, str) else "")
    name = f"{record.meta.namespace}/{record.meta.name}"
    if view.obs.spec is None:
        return
    request = job_request(view)
    if held:
        since = record.status.admitted_at if asked is None else asked.since
        found.holds.append(_gang(request, name, unix(since, found.now)))
    elif waits(view) and isinstance(chosen, Refusal):
        found.lost.append(_gang(request, name, request.queued_at, chosen.reason, chosen.message))
    elif waits(view):
        left = unix(record.status.attempts[-1].finished_at) if record.status.attempts else 0.0
        found.ask(request, name, *_said(view), since=left)  # one that was preempted has an older place


def _said(view: View) -> tuple[str, str]:
    known = conditions.find(view.status, ConditionType.QUOTA_RESERVED)
    return (known.reason, known.message) if known is not None else ("", "")


def _take_service(found: _Found, record: ServiceRecord) -> None:
    chosen = found.desk.chosen(record.meta, record.spec.queue if record.spec is not None else None)
    for role, group in groups_of(record):
        queue = group.queue or "" if group.nodes else chosen if isinstance(chosen, str) else ""
        request = group_gang(record, role, group, found.priorities, queue)
        if request is not None:
            _take_group(found, request, chosen, role, group)


def _take_group(
    found: _Found, request: GangRequest, chosen: str | Refusal, role: str, group: GroupStatus
) -> None:
    name = f"{request.namespace}/{request.name} ({role} group {group.id})"
    if group.nodes:
        if request.queue:
            found.holds.append(_gang(request, name, unix(group.started_at, request.queued_at)))
    elif isinstance(chosen, Refusal):
        found.lost.append(_gang(request, name, request.queued_at, chosen.reason, chosen.message))
    else:
        reason, _, message = (group.message or "").partition(": ")
        found.ask(request, name, reason, message)


def _gang(request: GangRequest, name: str, since: float, reason: str = "", message: str = "") -> GangView:
    asks = request.queue, request.accelerator, chips_of(request), request.priority
    return GangView(name, *asks, since, reason, message, request.aged)


def raw(view: QueuesView, name: str | None = None) -> dict[str, Any]:
    """The view as data, in names of the wire; of one queue only where it is named."""
    found: dict[str, Any] = {"queues": [_raw_queue(q) for q in view.queues if name in (None, q.name)]}
    found["settings"] = raw_settings(view.settings)
    if name is None:
        found["line"] = [_raw_gang(g, "waitingSince") for g in view.line]
        found["withoutQueue"] = [_raw_gang(g, "waitingSince") for g in view.lost]
    return found


def _raw_queue(queue: QueueView) -> dict[str, Any]:
    spec, status = queue.spec, queue.status
    return {
        "name": queue.name,
        "fault": queue.fault or None,
        "cohort": spec.cohort if spec is not None else None,
        "weight": spec.fair_sharing.weight if spec is not None else None,
        "share": status.share,
        "conditions": [c.to_json() for c in status.conditions],
        "accelerators": [u.to_json() for u in queue.usage],
        "holds": [_raw_gang(g, "admittedAt") for g in queue.holds],
        "line": [_raw_gang(g, "waitingSince") for g in queue.line],
    }


def _raw_gang(gang: GangView, since: str) -> dict[str, Any]:
    why: dict[str, Any] = {"reason": gang.reason, "message": gang.message} if gang.reason else {}
    if gang.standing is not None:
        why["standing"] = gang.standing.value
    if gang.aged:
        why["aged"] = True
    return {
        "name": gang.name,
        "queue": gang.queue or None,
        "accelerator": gang.accelerator,
        "chips": gang.chips,
        "priority": gang.priority,
        since: rfc3339(gang.since),
        **why,
    }
