"""From the mirrored cluster to the observation of one InferenceService.

What a service owns is in its namespace. Anybody may write its uid into an owner reference in another one, and
until the garbage collector comes that object is none of the service's.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from drumline.api.inference_status import GroupStatus
from drumline.api.meta import WORKER_PRIORITY_CLASS
from drumline.core.gang.discovery import ObservedDiscovery, ObservedService, Published
from drumline.core.gang.types import Granted, Pod, Refusal, Taint
from drumline.core.inference import names
from drumline.core.inference.frozen import last_valid
from drumline.core.inference.observation import Child, Observation, Revision, RoleChild, Settings
from drumline.core.inference.render import read_revision
from drumline.core.inference.signals import Signals
from drumline.runtime.observe import priority_of
from drumline.runtime.queue_book import QueueBook
from drumline.runtime.queue_groups import told
from drumline.runtime.records import OwnedRecord
from drumline.runtime.service_records import ServiceRecord
from drumline.runtime.service_world import CHILDREN, ServiceMemory, ServiceWorld

logger = logging.getLogger(__name__)

Pods = Mapping[tuple[str, int], tuple[Pod, ...]]


@dataclass(frozen=True, slots=True)
class Beside:
    """What an observation takes from elsewhere than the mirror."""

    settings: Settings
    answer: Callable[[str], Granted | Refusal | None] = lambda _gang: None  # of admission, by gang uid
    book: QueueBook | None = None  # None = no queues
    signals: Signals = field(default_factory=Signals)
    now: float = 0.0  # Unix seconds


def observe(world: ServiceWorld, record: ServiceRecord, beside: Beside) -> Observation:
    """Everything a decision about this service may look at. Reads memory only."""
    uid = record.meta.uid
    memory = world.remember(uid)
    pods = _pods(world, record)
    revisions = _revisions(world, record, memory)
    spec = last_valid(record.status, revisions) if record.errors else record.spec
    priority, pod_class = priority_of(world.shared, spec.priority_class_name if spec is not None else None)
    groups = groups_of(record)
    answers = {gang: beside.answer(gang) for gang in groups}
    lost, cordoned, tainted = _unfit(world, groups, pods)
    seen = Observation(
        service=record.meta,
        spec=spec,
        errors=record.errors,
        status=record.status,
        catalog=record.catalog,
        pods=pods,
        revisions=revisions,
        children=_children(world, record),
        role_children={
            r.role: RoleChild(r.uid, r.replicas, r.status, r.generation)
            for r in world.roles.store.by("owner", uid).values()
            if r.namespace == record.meta.namespace
        },
        signals=beside.signals,
        admission={gang: answer for gang, answer in answers.items() if answer is not None},
        lost=lost,
        cordoned=cordoned,
        tainted=tainted,
        priority=priority,
        pod_priority_class=pod_class or WORKER_PRIORITY_CLASS,
        blocked=_blocked(groups, memory),
        foreign=frozenset(memory.foreign),
        refused={what: no.why for what, no in memory.refused.items()},
        withheld=frozenset(what for what, no in memory.refused.items() if not no.due(beside.now)),
        discovery=_discovery(world, record, memory),
        settings=beside.settings,
    )
    return told(beside.book, seen, groups) if beside.book is not None else seen


def groups_of(record: ServiceRecord) -> dict[str, GroupStatus]:
    """The groups in a service's status, by gang uid."""
    uid = record.meta.uid
    return {names.gang_uid(uid, r.name, g.id): g for r in record.status.roles for g in r.groups}


def _pods(world: ServiceWorld, record: ServiceRecord) -> Pods:
    found: dict[tuple[str, int], list[Pod]] = defaultdict(list)
    for pod in world.shared.pods.store.by("job", record.meta.uid).values():
        if pod.member is not None and pod.namespace == record.meta.namespace:
            found[pod.member.role, pod.member.slice].append(pod)
    return {group: tuple(pods) for group, pods in found.items()}


def _unfit(
    world: ServiceWorld, groups: Mapping[str, GroupStatus], pods: Pods
) -> tuple[frozenset[str], frozenset[str], dict[str, tuple[Taint, ...]]]:
    """(lost, cordoned, tainted) of the nodes that its groups have, by placement or by where their pods are."""
    nodes = {n for g in groups.values() for n in g.nodes} | {p.node for ps in pods.values() for p in ps}
    lost, cordoned = set(), set()
    tainted: dict[str, tuple[Taint, ...]] = {}
    for name in nodes - {""}:
        node = world.shared.nodes.store.get("", name)
        if node is None or not node.ready:
            lost.add(name)
            continue
        if node.unschedulable:
            cordoned.add(name)
        if kept_off := tuple(t for t in node.taints if t.effect != "PreferNoSchedule"):
            tainted[name] = kept_off
    return frozenset(lost), frozenset(cordoned), tainted


def _revisions(world: ServiceWorld, service: ServiceRecord, memory: ServiceMemory) -> dict[str, Revision]:
    """By name; each is read once for each of its numbers. One that can't be read is not there."""
    read: dict[tuple[str, int], Revision | None] = {}
    for record in world.owned("controllerrevisions", service.meta):
        key = record.uid, int((record.document or {}).get("revision") or 0)
        read[key] = memory.revisions[key] if key in memory.revisions else _read(record)
    memory.revisions = read
    return {r.name: r for r in read.values() if r is not None}


def _read(record: OwnedRecord) -> Revision | None:
    try:
        return read_revision(record.document or {})
    except (TypeError, ValueError) as error:
        logger.warning("revision %s/%s cannot be read: %s", record.namespace, record.name, error)
        return None


def _children(world: ServiceWorld, record: ServiceRecord) -> dict[str, Child]:
    """All but InferenceRoles, revisions, and the headless Service, which discovery looks after."""
    headless = names.peers(record.meta.name)
    return {
        f"{resource}/{child.name}": Child(child.uid, child.digest)
        for resource in CHILDREN
        for child in world.owned(resource, record.meta)
        if (resource, child.name) != ("services", headless)
    }


def _blocked(groups: Mapping[str, GroupStatus], memory: ServiceMemory) -> dict[str, str]:
    """A refusal holds for the attempt whose pod was refused."""
    return {
        gang: text
        for gang, (attempt, text) in memory.blocked.items()
        if gang in groups and groups[gang].attempt == attempt
    }


def _discovery(world: ServiceWorld, record: ServiceRecord, memory: ServiceMemory) -> ObservedDiscovery:
    uid, shared = record.meta.uid, world.shared
    service = shared.services.store.get(record.meta.namespace, names.peers(record.meta.name))
    # one that a deleted service of this name left behind is waited for by the executor
    ours = service is not None and service.owner == uid
    seen = ObservedService(ours=True, uid=service.uid) if service is not None and ours else None
    if seen is None and memory.peers:
        seen = ObservedService(ours=True)
    slices: dict[str, Published] = {
        s.name: s.published
        for s in shared.slices.store.by("owner", uid).values()
        if s.namespace == record.meta.namespace
    }
    endpoints = [
        s.published
        for s in shared.endpoints.store.by("owner", uid).values()
        if s.namespace == record.meta.namespace
    ]
    return ObservedDiscovery(
        service=seen,
        slices={**slices, **memory.published},
        endpoints=endpoints[0] if endpoints else None,
        last_written_at=memory.last_published_at,
        kube_dns=shared.kube_dns,
    )
