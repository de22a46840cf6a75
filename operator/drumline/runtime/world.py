"""The mirrored cluster: every store, the capacity index kept up with them, and what our own writes hide.

A job is only looked at while the mirror shows all that was written for it (see `expectations`); names that
were published count from their answer on, so that publishing never waits for its own echo.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from drumline.api.catalog import Catalog
from drumline.api.meta import APP_MANAGED_BY, GROUP, TRAINING_JOBS
from drumline.core.gang.capacity import Capacity
from drumline.core.gang.departures import Departure, Signals, departure_of
from drumline.core.gang.discovery import is_kube_dns
from drumline.core.gang.projection import project_node, project_pod
from drumline.core.gang.types import Node, Pod, PodPhase
from drumline.runtime.catalogue import Catalogue
from drumline.runtime.device_watch import DeviceWatch
from drumline.runtime.expectations import Expectations
from drumline.runtime.http import Client
from drumline.runtime.http_paths import resource_path
from drumline.runtime.job_memory import JobMemory
from drumline.runtime.leaving import Leaving
from drumline.runtime.pod_events import PodEvents
from drumline.runtime.records import (
    Document,
    JobReader,
    JobRecord,
    OwnedRecord,
    SliceRecord,
    read_endpoints,
    read_owned,
    read_slice,
)
from drumline.runtime.reflector import Reflector
from drumline.runtime.store import Store

Key = tuple[str, str]
Owned = TypeVar("Owned", OwnedRecord, SliceRecord)

OURS = f"{APP_MANAGED_BY}=drumline"
# Kubernetes copies a Service's labels to the slices and endpoints that it makes for it: those are not ours.
OUR_SLICES = f"{OURS},endpointslice.kubernetes.io/managed-by={GROUP}"
OUR_ENDPOINTS = f"{OURS},endpointslice.kubernetes.io/skip-mirror=true"

logger = logging.getLogger(__name__)


class Listener(Protocol):
    """Who is told what changed."""

    def job_changed(self, key: Key, *, urgent: bool) -> None:
        """A job should be looked at; an urgent one at once."""

    def job_gone(self, uid: str) -> None:
        """A job was deleted."""

    def capacity_changed(self) -> None:
        """Something changed that may let a gang in."""


class Neighbour:
    """Another kind whose objects consist of the same things; told what may concern it. This one is nobody."""

    def pod_changed(self, uid: str, old: Pod | None, new: Pod | None) -> None:
        """A pod of this owner came, changed or went."""

    def object_changed(self, resource: str, old: OwnedRecord | SliceRecord | None, new: object) -> None:
        """An object with our label came, changed (`old` is the one that is there now, or was) or went."""

    def node_changed(self, gang: str) -> None:
        """A node that this gang holds came to be fit or unfit for use, or went."""

    def queues_changed(self, namespace: str) -> None:
        """Which queues this namespace ("" = any) may use has changed."""

    def cluster_changed(self, catalog: Catalog | None = None) -> None:
        """Something that all of its objects depend on changed: kube-dns, or the catalogue."""


class World:
    """All reflectors of the operator but those of kinds that stand beside TrainingJobs (`neighbour`)."""

    def __init__(
        self,
        client: Client,
        catalogue: Catalogue,
        expectations: Expectations,
        listener: Listener,
        namespace: str = "",
    ) -> None:
        self.capacity = Capacity(catalogue.topology)
        self.memory: dict[str, JobMemory] = {}  # by job uid
        self.keys: dict[str, Key] = {}  # job uid → key
        self.neighbour = Neighbour()
        self.expectations = expectations
        self.signals = Signals()  # of nodes that are about to go, beside the built-in ones
        self.departing: dict[str, Departure] = {}  # nodes that say they are about to go
        self._kube_dns: set[Key] = set()  # its pods
        self._catalogue = catalogue
        self._reader = JobReader(catalogue.current)
        catalogue.changed = self._on_catalogue
        self._listener = listener
        path = resource_path(TRAINING_JOBS, namespace)
        self.jobs = Reflector(client, path, self._reader.read, self._on_job, store=Store[JobRecord]())
        self.nodes = Reflector(
            client,
            resource_path("nodes"),
            project_node,
            self._on_node,
            store=Store[Node](),
            on_listed=self._nodes_listed,
        )
        self.pods = Reflector(
            client,
            resource_path("pods"),
            self._pod,
            self._on_pod,
            store=Store[Pod]({"job": _job_of, "gang": _gang_of}),
            on_listed=self._pods_listed,
        )
        expectations.blind = self.is_outdated
        self._leaving = Leaving(self.pods.store, self.capacity, expectations, listener.capacity_changed)
        self.priorities = Reflector(client, resource_path("priorityclasses"), _read_priority)
        self.services = ours(client, "services", namespace, read_owned, self._on_service)
        self.revisions = ours(client, "controllerrevisions", namespace, read_owned, self._on_revision)
        self.slices = ours(client, "endpointslices", namespace, read_slice, self._on_slice, OUR_SLICES)
        self.devices = DeviceWatch(client, self.capacity, self.pods.store, listener.capacity_changed)
        self.pod_events = PodEvents(client, namespace, self._on_pod_event)
        self.endpoints = ours(client, "endpoints", namespace, read_endpoints, self._on_slice, OUR_ENDPOINTS)

    @property
    def reflectors(self) -> tuple[Reflector[Any], ...]:
        """Every reflector, jobs last: when they are first seen everything else is there."""
        return (
            *self._catalogue.reflectors,
            self.nodes,
            self.pods,
            self.services,
            self.revisions,
            self.slices,
            self.endpoints,
            self.priorities,
            *self.devices.reflectors,
            self.jobs,
        )

    def remember(self, uid: str) -> JobMemory:
        """The memory of a job, made when there is none."""
        return self.memory.setdefault(uid, JobMemory())

    def forget(self, uid: str) -> None:
        """The job is gone. Its nodes are free once none of its pods may come to be bound to one any more."""
        self.memory.pop(uid, None)
        self.keys.pop(uid, None)
        self._reader.forget(uid)
        self._leaving.add(uid)

    def is_outdated(self) -> bool:
        """Whether pods or nodes are to be listed anew: nothing can be told of them until they are."""
        return self.pods.outdated or self.nodes.outdated

    def is_gone(self, gang: str) -> bool:
        """Whether a gang has no pod that holds a node or may come to hold one, one included that nobody has seen yet."""
        there = any(not pod.terminal for pod in self.pods.store.by("gang", gang).values())
        return not there and not self.expectations.pending(gang.partition("/")[0])

    @property
    def kube_dns(self) -> bool:
        """Whether the cluster has pods of kube-dns."""
        return bool(self._kube_dns)

    def judged(self, record: JobRecord) -> JobRecord:
        """The record by the catalogue in force, see `JobReader.judged`; from now on the store has it."""
        judged = self._reader.judged(record)
        if judged is not record:
            self.jobs.store.put(record.key, judged)
        return judged

    def queues_changed(self, namespace: str = "") -> None:
        """Which queues there are, or which ones a namespace ("" = any) may use, has changed."""
        for key in self.keys.values():
            if namespace in ("", key[0]):
                self._listener.job_changed(key, urgent=False)
        self.neighbour.queues_changed(namespace)
        self._listener.capacity_changed()

    def _on_catalogue(self, catalog: Catalog) -> None:
        self._reader.catalog = catalog
        self.capacity.set_power(self._catalogue.power)
        for key in self.keys.values():
            self._listener.job_changed(key, urgent=False)
        self.neighbour.cluster_changed(catalog)
        self._listener.capacity_changed()

    def _on_job(self, old: JobRecord | None, new: JobRecord | None) -> None:
        record = new or old
        if record is None:
            return
        if new is None:
            self._listener.job_gone(record.meta.uid)
        else:
            self.keys[new.meta.uid] = new.key
        self._listener.job_changed(record.key, urgent=True)

    def _on_node(self, old: Node | None, new: Node | None) -> None:
        if old == new:  # a heartbeat
            return
        if new is not None:
            self.capacity.set_node(new)
        elif old is not None:
            self.capacity.remove_node(old.name)
        self._listener.capacity_changed()
        node = new or old
        if node is not None:
            self._note_departure(node.name, new)
        unfit = new is None or not new.ready or new.unschedulable
        if old is None:
            return
        if unfit or not old.ready or old.unschedulable or (new is not None and new.taints != old.taints):
            self._wake_gangs_on(old.name)

    def _note_departure(self, name: str, node: Node | None) -> None:
        """Keep `departing`. Who waits for nodes has to ask anew, for others than these."""
        found = departure_of(node, self.signals) if node is not None else None
        if found == self.departing.get(name):
            return
        if found is None:
            del self.departing[name]
        else:
            self.departing[name] = found
        self._wake_gangs_on(name)
        for key in self.keys.values():
            self._listener.job_changed(key, urgent=False)

    def _wake_gangs_on(self, node: str) -> None:
        for uid in self.capacity.holders(node):
            if (key := self.keys.get(uid)) is not None:
                self._listener.job_changed(key, urgent=True)
            else:
                self.neighbour.node_changed(uid)

    def _pods_listed(self, version: str) -> None:
        self.expectations.listed(version)
        self._leaving.look()

    def _nodes_listed(self, version: str) -> None:
        """Until then nothing could be told of any pod: who was held back for that is looked at now."""
        self._leaving.look()
        self._listener.capacity_changed()

    def _pod(self, document: Document) -> Pod:
        pod = project_pod(document)
        if not pod.terminal and is_kube_dns(document):
            news = not self._kube_dns
            self._kube_dns.add((pod.namespace, pod.name))
            for key in self.keys.values() if news else ():
                self._listener.job_changed(key, urgent=False)
            if news:
                self.neighbour.cluster_changed()
        return pod

    def _on_pod(self, old: Pod | None, new: Pod | None) -> None:
        if new is not None:
            self.capacity.set_pod(new)
        elif old is not None:
            self.capacity.remove_pod(old.namespace, old.name)
        if self._kube_dns and old is not None and (new is None or new.terminal):
            self._kube_dns.discard((old.namespace, old.name))
        if old is not None and not old.terminal and (new is None or new.terminal):
            self._listener.capacity_changed()
        pod = new or old
        if pod is not None and pod.member is not None:
            self._on_member(pod, old, new)
        self._leaving.look(pod.member.job_uid if pod is not None and pod.member is not None else "")

    def _on_member(self, pod: Pod, old: Pod | None, new: Pod | None) -> None:
        uid = pod.member.job_uid if pod.member is not None else ""
        self.expectations.pod_changed(old, new)
        if new is not None:
            self.devices.pod_seen(new)
        memory = self.memory.get(uid)
        if memory is not None and new is None and (pod.terminal or pod.disruption):
            # a pod that was evicted holds nothing any more: it is as good as failed
            phase = pod.phase if pod.terminal else PodPhase.FAILED
            memory.ended[pod.name] = replace(pod, deleting=True, phase=phase, ready=False)
        key = self.keys.get(uid)
        if key is not None:
            self._listener.job_changed(key, urgent=is_urgent(old, new))
        else:
            self.neighbour.pod_changed(uid, old, new)

    def _on_pod_event(self, namespace: str, name: str) -> None:
        pod = self.pods.store.get(namespace, name)
        if pod is None or pod.member is None or not pod.unprepared:
            return
        if (key := self.keys.get(pod.member.job_uid)) is not None:
            self._listener.job_changed(key, urgent=False)
        else:
            self.neighbour.pod_changed(pod.member.job_uid, pod, pod)

    def _on_revision(self, old: OwnedRecord | None, new: OwnedRecord | None) -> None:
        self.neighbour.object_changed("controllerrevisions", new or old, new)

    def _on_service(self, old: OwnedRecord | None, new: OwnedRecord | None) -> None:
        record = new or old
        self.neighbour.object_changed("services", record, new)
        memory = self.memory.get(record.owner) if record is not None else None
        if memory is not None:
            memory.service = False
        self._repair(record, new)

    def _on_slice(self, old: SliceRecord | None, new: SliceRecord | None) -> None:
        record = new or old
        self.neighbour.object_changed("endpointslices", record, new)
        memory = self.memory.get(record.owner) if record is not None else None
        if memory is not None and record is not None:
            memory.published.pop(record.name, None)
        self._repair(record, new)

    def _repair(self, record: OwnedRecord | SliceRecord | None, new: object) -> None:
        """What a running job needs and somebody deleted is made again; what stood in a job's way is gone."""
        if new is not None or record is None:
            return
        key = self.keys.get(record.owner) or (record.namespace, record.name)
        self._listener.job_changed(key, urgent=False)


def ours(
    client: Client,
    resource: str,
    namespace: str,
    project: Callable[[Document], Owned],
    on_change: Callable[[Owned | None, Owned | None], None] | None = None,
    selector: str = OURS,
) -> Reflector[Owned]:
    """A mirror of what is made for objects of our kinds, found by owner."""
    store: Store[Owned] = Store({"owner": lambda record: record.owner or None})
    path = resource_path(resource, namespace)
    return Reflector(client, path, project, on_change, store=store, label_selector=selector)


def _read_priority(document: Document) -> tuple[int, str]:
    """Value and preemption policy of a PriorityClass."""
    return int(document["value"]), document.get("preemptionPolicy", "")


def _job_of(pod: Pod) -> str | None:
    return pod.member.job_uid if pod.member is not None else None


def _gang_of(pod: Pod) -> str | None:
    return pod.member.gang if pod.member is not None else None


def is_urgent(old: Pod | None, new: Pod | None) -> bool:
    """A pod that is lost or ended is looked at at once; progress may wait until more of it has come."""
    if new is None or (new.deleting and (old is None or not old.deleting)):
        return True
    return new.phase is PodPhase.FAILED or (new.rejected != "" and (old is None or not old.rejected))
