"""From the mirrored cluster to the observation of one job."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeVar

from drumline.api.meta import WORKER_PRIORITY_CLASS
from drumline.api.orders import ProcessState
from drumline.core.gang.crew import Process
from drumline.core.gang.discovery import ObservedDiscovery, ObservedService, Published
from drumline.core.gang.revision import decode
from drumline.core.gang.types import Granted, Node, Placement, Pod, PodPhase, Refusal
from drumline.core.training.observation import Observation, Settings
from drumline.core.training.policies.failure import has_failed
from drumline.runtime.job_memory import JobMemory
from drumline.runtime.records import JobRecord, OwnedRecord, SliceRecord
from drumline.runtime.store import Store
from drumline.runtime.world import World

Owned = TypeVar("Owned", OwnedRecord, SliceRecord)

NOWHERE: Mapping[int, str] = MappingProxyType({})
NOBODY: Mapping[int, Process] = MappingProxyType({})


def observe(
    world: World,
    record: JobRecord,
    answer: Granted | Refusal | None,
    settings: Settings,
    crew: Mapping[int, Process] = NOBODY,
) -> Observation:
    """Everything a decision about this job may look at. Reads memory only. `crew`: what launchers say."""
    memory = world.remember(record.meta.uid)
    placement = _placement(world, record, memory)
    priority, pod_class = priority_of(
        world, record.spec.priority_class_name if record.spec is not None else None
    )
    pods = _pods(world, record, memory)
    bound = _bound(record, placement, pods, memory)
    places = frozenset((*(placement.nodes if placement is not None else ()), *bound.values())) - {""}
    return Observation(
        job=record.meta,
        spec=record.spec,
        errors=record.errors,
        shape=record.shape,
        roster=record.roster,
        status=record.status,
        catalog=record.catalog,
        pods=pods,
        unhealthy=_unhealthy(world, places),
        nodes=_nodes(world, record, pods, places, crew),
        priority=priority,
        pod_priority_class=pod_class,
        blocked=memory.blocked,
        spares_refused=memory.spares_refused,
        late_refused=memory.late_refused,
        created_attempt=memory.created_attempt,
        crew=crew,
        departing=MappingProxyType(world.departing),
        foreign=memory.foreign | _foreign_service(world, record),
        placement=placement,
        bound=bound,
        revisions={r.name: r.uid for r in _own(world.revisions.store, record)},
        discovery=_discovery(world, record, memory),
        admission=answer,
        wanted=record.wanted,
        settings=settings,
    )


def _placement(world: World, record: JobRecord, memory: JobMemory) -> Placement | None:
    """The placement that the status names; decoded once."""
    written = record.status.placement
    if written is None:
        memory.placement = None
        return None
    name = written.revision
    if memory.placement is not None and memory.placement[0] == name:
        return memory.placement[1]
    found = [
        r.document
        for r in _own(world.revisions.store, record)
        if r.document is not None and (r.name == name or r.name.startswith(f"{name}-c"))
    ]
    if len(found) < written.chunks:
        return None
    placement = decode(found)
    memory.placement = (name, placement)
    return placement


def _own(store: Store[Owned], record: JobRecord) -> list[Owned]:
    """What the job owns. An owner reference reaches no further than its namespace, whoever wrote it."""
    mine = store.by("owner", record.meta.uid).values()
    return [found for found in mine if found.namespace == record.meta.namespace]


def _pods(world: World, record: JobRecord, memory: JobMemory) -> dict[str, Pod]:
    """The job's pods; while an attempt runs also those of it that are gone and that we saw end."""
    space = record.meta.namespace
    mine = world.pods.store.by("job", record.meta.uid).values()
    pods = {p.name: world.pod_events.seen_on(p) for p in mine if p.namespace == space}
    attempts = record.status.attempts
    if memory.ended and attempts and attempts[-1].finished_at is None:
        for name, pod in memory.ended.items():
            if pod.member is not None and pod.member.attempt == record.status.attempt:
                pods.setdefault(name, pod)
    return pods


def _bound(
    record: JobRecord, placement: Placement | None, pods: Mapping[str, Pod], memory: JobMemory
) -> Mapping[int, str]:
    """Where pods that are pinned to no node were bound; remembered, since one that is gone says nothing any more."""
    if placement is None or record.roster is None or not placement.unpinned:
        return NOWHERE
    attempt, nodes = record.status.attempt, placement.nodes
    known = memory.bound[1] if memory.bound[0] == attempt else {}
    found = record.roster.of_attempt(pods, attempt)
    now = {i: p.node for i, p in found.items() if p.bound and i < len(nodes) and not nodes[i]}
    memory.bound = attempt, {**known, **now}
    return memory.bound[1]


def _unhealthy(world: World, places: frozenset[str]) -> frozenset[str]:
    bad = set()
    for name in places:
        node = world.nodes.store.get("", name)
        if node is None or not node.ready or node.unschedulable:
            bad.add(name)
    return frozenset(bad)


def _nodes(
    world: World,
    record: JobRecord,
    pods: Mapping[str, Pod],
    places: frozenset[str],
    crew: Mapping[int, Process],
) -> dict[str, Node]:
    """What may tell why pods failed, their nodes; and where an attempt may have to end or begin, all of its nodes."""
    attempts, number = record.status.attempts, record.status.attempt
    # this runs at every decision, over pods that are nearly all well: what is rare is asked first
    troubled = [
        pod
        for pod in pods.values()
        if (pod.deleting or pod.waiting or pod.phase is PodPhase.FAILED)
        and pod.member is not None
        and pod.member.attempt == number
    ]
    names = {pod.node for pod in troubled}
    names |= {pod.node for pod in pods.values() if pod.deleting}  # of any attempt: whether it is gone
    begins = not attempts or attempts[-1].finished_at is not None
    ends = any(has_failed(pod) for pod in troubled) or any(
        p.state is ProcessState.ENDED for p in crew.values()
    )
    if places and (begins or ends or any(pod.restarted for pod in pods.values())):
        names |= places
    found = ((name, world.nodes.store.get("", name)) for name in names - {""})
    return {name: node for name, node in found if node is not None}


def priority_of(world: World, name: str | None) -> tuple[int | None, str]:
    """(value, the class that the pods carry): a class that may evict others is never handed to a pod."""
    if not name:
        return 0, WORKER_PRIORITY_CLASS
    found = world.priorities.store.get("", name)
    if found is None:
        return None, WORKER_PRIORITY_CLASS
    value, preemption = found
    return value, name if preemption == "Never" else WORKER_PRIORITY_CLASS


def _discovery(world: World, record: JobRecord, memory: JobMemory) -> ObservedDiscovery:
    uid, name = record.meta.uid, record.meta.name
    service = world.services.store.get(record.meta.namespace, name)
    # one that a deleted job of this name left behind is waited for by the executor
    ours = service is not None and service.owner == uid
    seen = ObservedService(ours=True, uid=service.uid) if service is not None and ours else None
    if seen is None and memory.service:
        seen = ObservedService(ours=True)
    slices: dict[str, Published] = {s.name: s.published for s in _own(world.slices.store, record)}
    endpoints = [s.published for s in _own(world.endpoints.store, record)]
    return ObservedDiscovery(
        service=seen,
        slices={**slices, **memory.published},
        endpoints=endpoints[0] if endpoints else None,
        last_written_at=memory.last_published_at,
        kube_dns=world.kube_dns,
    )


def _foreign_service(world: World, record: JobRecord) -> frozenset[str]:
    """A Service with the job's name and our label that is neither ours nor a predecessor's."""
    service = world.services.store.get(record.meta.namespace, record.meta.name)
    if service is None or service.owner:
        return frozenset()
    return frozenset({f"services/{service.name}"})
