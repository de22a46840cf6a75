"""Why a TrainingJob, or a group of an InferenceService, waits, from the objects of its cluster and the very code that admits it.

What only the operator knows, such as what an API server says of a dry run, is in the job's own condition.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from drumline.api.inference_status import GroupStatus
from drumline.api.meta import ACCELERATOR_QUEUES, INFERENCE_SERVICES, TRAINING_JOBS
from drumline.api.queue import QueueingStrategy
from drumline.api.reasons import ConditionType
from drumline.cli.devices import equip
from drumline.cli.explain_lost import Lost, lost_of
from drumline.cli.explain_nodes import NodesWish, wish_of
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
from drumline.cli.placements import OURS, REVISIONS, by_owner, placement_of
from drumline.cli.settings import Settings
from drumline.cli.settings import raw as raw_settings
from drumline.core.gang.backends.base import BUILTIN
from drumline.core.gang.capacity import Capacity
from drumline.core.gang.clock import unix
from drumline.core.gang.explain import Explanation, Holder, explain
from drumline.core.gang.fairness import aged
from drumline.core.gang.projection import project_node, project_pod
from drumline.core.gang.queue_quota import chips_of
from drumline.core.gang.queues import NO_QUEUES, Queues, RunningGang
from drumline.core.gang.standing import Standing, standing_of
from drumline.core.gang.types import GangRequest, Placement, Pod, Refusal
from drumline.core.training import conditions
from drumline.core.training.attempts import admitted_for
from drumline.core.training.backing import backend_of
from drumline.core.training.policies.admission import request_of
from drumline.core.training.provisioned import holds_quota
from drumline.core.training.view import View
from drumline.runtime.records import JobReader, JobRecord
from drumline.runtime.service_records import ServiceReader, ServiceRecord

WANTED: Final[Mapping[str, str]] = {
    "nodes": "",
    "pods": "",
    CLASSES: "",
    ACCELERATOR_QUEUES: "",
    NAMESPACES: "",
    TRAINING_JOBS: "",
    INFERENCE_SERVICES: "",
    REVISIONS: OURS,
}
_DOMAIN: Final = "/"  # that extended resources have


_Group = tuple[str, GangRequest | Lost, str]  # name, what it asks, what the operator says of it


class NotWaitingError(Exception):
    """The job waits for no admission; the message says how it stands."""


@dataclass(frozen=True, slots=True)
class ExplainView:
    """Everything that `explain` shows. `now` in Unix seconds."""

    namespace: str
    name: str
    said: str  # reason and message of the operator's condition; "" before it has looked
    found: Explanation
    now: float
    queue: str = ""  # that it waits in; "" = none
    lost: Lost | None = None  # it stands in no line, since that can't be told
    strict: bool = False  # nobody of its queue passes one that waits
    nodes: NodesWish | None = None  # how it has nodes added that are not there
    aged: bool = False  # no priority goes before it any more
    settings: Settings = field(default_factory=Settings)


def explained(
    found: Mapping[str, list[Manifest]],
    key: tuple[str, str],
    settings: Settings,
    now: float,
) -> ExplainView:
    """Why the job `key` waits. KeyError when it is not among `found` (by resource: `WANTED`), NotWaitingError."""
    site = _Site(found, settings, now)
    view = site.views[key]
    said = conditions.find(view.status, ConditionType.QUOTA_RESERVED)
    backend = site.left_to.get(key, "") if waits(view) or view.live else ""
    if backend or not waits(view):
        raise NotWaitingError(_standing(view, backend))
    text = f"{said.reason}: {said.message}" if said is not None and said.status != "True" else ""
    lost = site.lost.get(key)
    if lost is not None:
        return ExplainView(*key, text, Explanation(lost.refusal, None), now, lost=lost, settings=settings)
    told = _told(site, key, job_request(view), text, settings, now)
    return replace(told, nodes=wish_of(view, told.found))


def explained_service(
    found: Mapping[str, list[Manifest]],
    key: tuple[str, str],
    settings: Settings,
    now: float,
) -> list[ExplainView]:
    """Why each group of the service `key` that waits does so. KeyError and NotWaitingError as of jobs."""
    site = _Site(found, settings, now)
    views = [
        ExplainView(key[0], name, text, Explanation(asks.refusal, None), now, lost=asks, settings=settings)
        if isinstance(asks, Lost)
        else _told(site, (key[0], name), asks, text, settings, now)
        for name, asks, text in site.groups[key]
    ]
    if not views:
        raise NotWaitingError(f"{'/'.join(key)}: no group of this service waits for admission here")
    return views


def _told(
    site: _Site, key: tuple[str, str], request: GangRequest, said: str, settings: Settings, now: float
) -> ExplainView:
    asked = aged(request, now, settings.aging)
    held = [h for h in site.holders if h.uid != request.uid]
    told = explain(asked, site.capacity, site.asking, held, now, site.queues, site.first, site.limits)
    strict, queue = site.strict(request.queue), request.queue
    return ExplainView(*key, said, told, now, queue, strict=strict, aged=asked.aged, settings=settings)


def _standing(view: View, backend: str) -> str:
    name = f"{view.obs.job.namespace}/{view.obs.job.name}"
    if view.obs.spec is None:
        return f"{name} is not valid: {'; '.join(map(str, view.obs.errors))}"
    if backend:
        kinds = (ConditionType.PODS_READY, ConditionType.QUOTA_RESERVED)
        known = (conditions.find(view.status, kind) for kind in kinds)
        said = next((f", which says: {c.message}" for c in known if c is not None and c.status != "True"), "")
        return f"{name} is left to {backend}{said}"
    granted = conditions.find(view.status, ConditionType.QUOTA_RESERVED)
    if holds_quota(view.status) is not None and granted is not None:
        return f"{name} has its quota, and its nodes are asked for: {granted.message}"
    return f"{name} does not wait for admission: it is {view.status.phase or 'new'}"


class _Site:
    """The cluster as admission sees it."""

    def __init__(self, found: Mapping[str, list[Manifest]], settings: Settings, now: float) -> None:
        self.capacity = Capacity(settings.topology, settings.power)
        self._ask_at, self._aging = now, settings.aging
        self.holders: list[Holder] = []
        self.views: dict[tuple[str, str], View] = {}
        self.asking: list[GangRequest] = []
        self.limits: dict[str, float] = {}  # seconds that each of them may run, by uid
        self.first: set[str] = set()  # uids of those for whom others were told to leave
        self.lost: dict[tuple[str, str], Lost] = {}  # jobs whose queue can't be told
        self.groups: dict[tuple[str, str], list[_Group]] = {}  # those that wait, by service
        self.left_to: dict[tuple[str, str], str] = {}  # jobs that another backend admits, and which
        self._running: dict[str, RunningGang] = {}
        self._desk = desk_of(found[ACCELERATOR_QUEUES], found[NAMESPACES])
        self._priorities = priorities_of(found[CLASSES])
        revisions = by_owner(found[REVISIONS])
        for node in found["nodes"]:
            self.capacity.set_node(project_node(node))
        pods = [project_pod(p) for p in found["pods"]]
        for pod in pods:
            self.capacity.set_pod(pod)
        equip(self.capacity, found, pods)
        jobs, services = JobReader(settings.catalog), ServiceReader(settings.catalog)
        for document in found[TRAINING_JOBS]:
            self._take(jobs.read(document), placement_of(document, revisions), now)
        for document in found[INFERENCE_SERVICES]:
            self._take_service(services.read(document))
        self.holders += _groups(pods, self._running, now)

    @property
    def queues(self) -> Queues:
        """The queues, and what runs in them."""
        queues = {name: record.queue for name, record in self._desk.records.items()}
        return Queues(queues, self._running) if queues else NO_QUEUES

    def strict(self, queue: str) -> bool:
        """Whether nobody of that queue passes one that waits."""
        record = self._desk.records.get(queue)
        return record is not None and record.queue.strategy is QueueingStrategy.STRICT_FIFO

    def _take(self, record: JobRecord, placement: Placement | None, now: float) -> None:
        queue = _queue_of(self._desk, record)
        name = queue if isinstance(queue, str) else ""
        view = job_view(record, self._priorities, now, placement, name)
        self.views[record.key] = view
        self.left_to[record.key] = backend = _backend(self._desk, view, name)
        if view.obs.spec is not None and placement is not None:
            self._hold(view, placement)
        elif backend:
            return
        elif (asked := holds_quota(view.status)) is not None:
            self._count(job_request(view), name, unix(asked.since, now))
        elif waits(view) and isinstance(queue, Refusal):
            named = record.spec.queue if record.spec is not None else None
            self.lost[record.key] = lost_of(queue, record.meta, named, self._desk)
        elif waits(view):
            said = conditions.find(view.status, ConditionType.QUOTA_RESERVED)
            self._ask(job_request(view), said.message if said is not None else "")
            limit = _limit(view, self._desk, name)
            if limit is not None:
                self.limits[view.obs.job.uid] = limit

    def _ask(self, request: GangRequest, said: str) -> None:
        self.asking.append(aged(request, self._ask_at, self._aging))
        if standing_of(said) is Standing.SERVED_FIRST:
            self.first.add(request.uid)

    def _hold(self, view: View, placement: Placement) -> None:
        request, meta = request_of(view), view.obs.job
        self.capacity.reserve(request, placement)
        chips = request.workers * max(1, request.chips_per_worker)
        unsaved, name = _unsaved(view, chips), f"{meta.namespace}/{meta.name}"
        limit = _limit(view, self._desk, view.status.queue or "")
        by = None if limit is None else view.now + limit
        self.holders.append(Holder(meta.uid, name, request.priority, chips, unsaved, by))
        if view.status.queue:
            self._running[meta.uid] = RunningGang(
                meta.uid,
                view.status.queue,
                request.accelerator,
                chips_of(request),
                request.priority,
                unix(view.status.admitted_at, view.now),
                view.now - unsaved,
            )

    def _count(self, request: GangRequest, queue: str, since: float) -> None:
        """A gang that has its quota, and whose nodes are asked for."""
        if queue:
            kind, chips = request.accelerator, chips_of(request)
            self._running[request.uid] = RunningGang(request.uid, queue, kind, chips, request.priority, since)

    def _take_service(self, record: ServiceRecord) -> None:
        named = record.spec.queue if record.spec is not None else None
        chosen, meta = self._desk.chosen(record.meta, named), record.meta
        waiting = self.groups.setdefault((meta.namespace, meta.name), [])
        for role, group in groups_of(record):
            queue, name = (
                group.queue or "" if group.nodes else chosen,
                f"{meta.name} ({role} group {group.id})",
            )
            if isinstance(queue, Refusal):
                waiting.append((name, lost_of(queue, meta, named, self._desk), group.message or ""))
                continue
            request = group_gang(record, role, group, self._priorities, queue)
            if request is None:
                continue
            if group.nodes:
                self._hold_group(request, group)
            else:
                self._ask(request, group.message or "")
                waiting.append((name, request, group.message or ""))

    def _hold_group(self, request: GangRequest, group: GroupStatus) -> None:
        self.capacity.reserve(request, Placement(tuple(group.nodes)))
        if request.queue:
            chips, since = chips_of(request), unix(group.started_at, request.queued_at)
            self._running[request.uid] = RunningGang(
                request.uid, request.queue, request.accelerator, chips, request.priority, since
            )


def _queue_of(desk: QueueDesk, record: JobRecord) -> str | Refusal:
    """The queue that a job's accelerators count in, or that it waits in."""
    if record.status.placement is not None or holds_quota(record.status) is not None:
        return record.status.queue or ""
    return desk.chosen(record.meta, record.spec.queue if record.spec is not None else None)


def _backend(desk: QueueDesk, view: View, queue: str) -> str:
    """Who admits the job, or did, as the job and its queue say; "" = this operator's own admission."""
    record = desk.records.get(queue)
    asked = view.obs.spec.scheduling.backend if view.obs.spec is not None else None
    of_queue = record.entry.spec.backend if record is not None and record.entry.spec is not None else None
    found = backend_of(view.status) if view.status.placement is not None else asked or of_queue or BUILTIN
    return "" if found == BUILTIN else str(found)


def _unsaved(view: View, chips: int) -> float:
    """Seconds of work of the whole gang that no durable checkpoint covers."""
    goodput, attempts = view.status.goodput, view.status.attempts
    if goodput is not None and goodput.source == "reported":
        return goodput.provisional_ms / 1000 / chips
    began = unix(attempts[-1].started_at, view.now) if attempts else view.now
    saved = unix(goodput.last_checkpoint_at, began) if goodput is not None else began
    return max(0.0, view.now - max(began, saved))


def _limit(view: View, desk: QueueDesk, queue: str) -> float | None:
    """Seconds that a job may run yet, in all its attempts to come; None = there is no limit."""
    record = desk.records.get(queue)
    spec = record.entry.spec if record is not None else None
    known = (view.spec.active_deadline_seconds, spec.max_run_seconds if spec is not None else None)
    limit = min((n for n in known if n is not None), default=None)
    return None if limit is None else limit - admitted_for(view.status, view.now)


def _groups(pods: Iterable[Pod], known: Mapping[str, RunningGang], now: float) -> Iterator[Holder]:
    """The groups of InferenceServices, which hold nodes by their pods."""
    found: dict[str, list[Pod]] = {}
    for pod in pods:
        if pod.member is not None and pod.member.group and pod.node and not pod.terminal:
            found.setdefault(pod.member.gang, []).append(pod)
    for gang, members in found.items():
        member = members[0].member
        if member is None:
            continue
        chips = sum(n for p in members for name, n in p.requests if _DOMAIN in name)
        name = f"{members[0].namespace}/{member.job} ({member.role} group {member.slice})"
        priority = known[gang].priority if gang in known else 0
        yield Holder(gang, name, priority, max(1, chips), now - min(p.created_at for p in members))


def raw(view: ExplainView) -> dict[str, Any]:
    """The view as data, in names of the wire."""
    found = view.found
    return {
        "namespace": view.namespace,
        "name": view.name,
        "condition": view.said,
        "inLine": view.lost is None,
        "fitsNow": found.refusal is None,
        "reason": found.refusal.reason if found.refusal is not None else None,
        "message": found.refusal.message if found.refusal is not None else None,
        "never": found.ever.message if found.ever is not None else None,
        "ahead": list(found.ahead),
        "aged": view.aged,
        "settings": raw_settings(view.settings),
        "queue": view.queue or None,
        "preempts": [_raw_holder(h) for h in found.victims],
        "wouldHaveToEnd": [_raw_holder(h) for h in found.leavers],
        "waitsFor": found.behind or None,
        "roomNow": view.lost is None and found.room is None,
        "preemptsFrom": found.preempts_at,
        "wouldPreempt": [_raw_holder(h) for h in found.later],
        "latest": found.by,
        "withoutDeadline": list(found.endless),
        "asksForNodes": None if view.nodes is None else view.nodes.raw(),
    }


def raw_service(key: tuple[str, str], views: Iterable[ExplainView]) -> dict[str, Any]:
    """The groups of a service that wait, as data."""
    return {"namespace": key[0], "name": key[1], "groups": [raw(view) for view in views]}


def _raw_holder(holder: Holder) -> dict[str, Any]:
    return {
        "name": holder.name,
        "accelerators": holder.chips,
        "priority": holder.priority,
        "unsavedSeconds": round(holder.unsaved_seconds),
    }
